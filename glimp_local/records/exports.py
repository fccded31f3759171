"""Saved conversations as Markdown, as JSON, as a page for a browser, and in a line of JSON each.

What is written is what was said, byte by byte: whoever shows it on a terminal makes it harmless.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from glimp_local.errors import UsageError
from glimp_local.records import caches
from glimp_local.records.attached import texts_in, with_chips
from glimp_local.records.listing import Entry
from glimp_local.records.saved import SavedSession, Unreadable, short
from glimp_local.runs import Step
from glimp_local.tree import Tree

Format = Literal["markdown", "json", "html"]
SUFFIXES: dict[Format, str] = {"markdown": ".md", "json": ".json", "html": ".html"}


def export(session: SavedSession, kind: Format, *, thoughts: bool = False) -> str:
    """Return a conversation in one of the formats; a page has the thoughts in any case."""
    if kind == "html":
        return as_html(session)
    return (as_markdown if kind == "markdown" else as_json)(session, thoughts=thoughts)


def as_markdown(session: SavedSession, *, thoughts: bool = False, shown: Callable[[str], str] = str) -> str:
    """Return a conversation as Markdown; steps of a thought are headed by the letter of the model that wrote them.

    `shown` is how a text that a model wrote is put down. A conversation that was given no name begins with its first
    question, which is its title.
    """
    title = session.name or ("" if session.title else spelled(session.id))
    blocks = [f"# {title}"] if title else []
    blocks.append(f"*{session.header.pair}, {session.created}*")
    if session.system is not None:
        blocks.append("**System message**\n\n" + _quoted(session.system.strip()))
    return "\n\n".join([*blocks, turns_as_markdown(session.tree, thoughts=thoughts, shown=shown)]).rstrip("\n") + "\n"


def turns_as_markdown(tree: Tree, *, thoughts: bool = False, shown: Callable[[str], str] = str) -> str:
    """Return questions and answers as Markdown, each question as a heading."""
    blocks = []
    for turn in tree.runs:
        blocks += [f"## {with_chips(turn.asked).strip()}", *map(_fenced, texts_in(turn.asked))]
        versions = tree.siblings(turn)
        if len(versions) > 1:
            blocks.append(f"*version {versions.index(turn) + 1} of {len(versions)}*")
        if thoughts:
            blocks += [
                f"> **{step.model[0].upper()}**{_entropy(step)}\n>\n" + _quoted(shown(step.text).strip())
                for step in turn.steps
                if step.part == "thought" and step.text.strip()
            ]
        blocks.append(shown(turn.answer) or "*no answer*")
    return "\n\n".join(blocks)


def _fenced(text: str) -> str:
    """Return a file's text as a block of code: no line of it is the conversation's."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def as_json(session: SavedSession, *, thoughts: bool = False) -> str:
    """Return a conversation as one JSON object; with `thoughts`, each turn has its steps."""
    turns = [
        {
            "question": turn.asked,
            "answer": turn.answer,
            "finish_reason": turn.finish,
            "versions": len(session.tree.siblings(turn)),
            **({"steps": turn.steps} if thoughts else {}),
        }
        for turn in session.turns
    ]
    value = {
        "id": spelled(session.id),
        "title": session.title,
        "pair": session.header.pair,
        "created": session.created,
        "system": session.system,
        "turns": turns,
        "damage": session.damage,
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def as_html(session: SavedSession) -> str:
    """Return a conversation as the page of `glimp trace --html`; raises UsageError if nothing was asked in it."""
    from glimp_local.records.trace_page import page  # noqa: PLC0415 - Jinja2 is needed for nothing else here

    if not session.turns:
        raise UsageError("nothing was asked in it yet, so there is no page to write")
    return page(list(enumerate(session.turns, 1)), None, title=session.title, system=session.system)


def write_new(path: Path, text: str, *, what: str | None = None) -> None:
    """Write a text into a new file, which an error calls `what`.

    Raises UsageError if there is one already, or if it cannot be written.
    """
    what = what or str(path)
    try:
        file = path.open("x", encoding="utf-8", errors="replace")
    except FileExistsError as error:
        raise UsageError(f"{what}: it exists", hint="choose another name, or remove it first") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null in it
        raise _unwritable(what, error) from error
    try:
        with file:
            file.write(text)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(what, error) from error
        raise


def _unwritable(what: str, error: OSError | ValueError) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(f"{what}: cannot be written: {reason}", hint="choose a file in a folder you may write to")


def summary(found: SavedSession | Unreadable) -> bytes:
    """Return a line of JSON: id, pair, times, number of turns, title, file, sizes, damage.

    Of one of which nothing can be restored, pair and creation are null.
    """
    is_read, entry = isinstance(found, SavedSession), Entry.of(found)
    written = None
    with suppress(OverflowError, ValueError, OSError):  # a file's time may be one that no calendar knows
        written = datetime.fromtimestamp(int(entry.written), UTC).isoformat()
    cache_bytes = caches.kept_bytes(found.path)
    value: dict[str, object] = {
        "id": spelled(found.id),
        "pair": entry.pair if is_read else None,
        "created": found.created if isinstance(found, SavedSession) else None,
        "written": written,
        "turns": entry.turns,
        "title": short(entry.title),
        "file": spelled(str(found.path)),
        "file_bytes": entry.size_bytes - cache_bytes,
        "cache_bytes": cache_bytes,
        "damage": found.damage,
    }
    return msgspec.json.encode(value)


def spelled(name: str) -> str:
    """Return the name of a file as text: the system allows bytes in it that are none."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _entropy(step: Step) -> str:
    return "" if step.entropy_nats is None else f" {step.entropy_nats:.2f} nats"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
