"""Saved conversations as Markdown, as JSON, and in a line each.

What is written is what was said, byte by byte: whoever shows it on a terminal makes it harmless.
"""

from __future__ import annotations

import msgspec

from glimp_local import units
from glimp_local.records import caches
from glimp_local.records.saved import SavedSession, Unreadable
from glimp_local.runs import Step


def as_markdown(session: SavedSession, *, thoughts: bool = False) -> str:
    """Return a conversation as Markdown; steps of a thought are headed by the letter of the model that wrote them."""
    blocks = [f"# {session.title or spelled(session.id)}", f"*{session.header.pair}, {session.created}*"]
    if session.system is not None:
        blocks.append("**System message**\n\n" + _quoted(session.system.strip()))
    for turn in session.turns:
        blocks.append(f"## {turn.asked.strip()}")
        versions = session.tree.siblings(turn)
        if len(versions) > 1:
            blocks.append(f"*version {versions.index(turn) + 1} of {len(versions)}*")
        if thoughts:
            blocks += [
                f"> **{step.model[0].upper()}**{_entropy(step)}\n>\n" + _quoted(step.text.strip())
                for step in turn.steps
                if step.part == "thought" and step.text.strip()
            ]
        blocks.append(turn.answer or "*no answer*")
    return "\n\n".join(blocks) + "\n"


def as_json(session: SavedSession, *, thoughts: bool = False) -> str:
    """Give a conversation as one JSON object; with `thoughts`, each turn has its steps."""
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
        "pair": session.header.pair,
        "created": session.created,
        "system": session.system,
        "turns": turns,
        "damage": session.damage,
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def summary(found: SavedSession | Unreadable) -> bytes:
    """Return a line of JSON: id, pair, creation, number of turns, title, file, size of kept caches, damage.

    Of one of which nothing can be restored, pair and creation are null.
    """
    value: dict[str, object] = {"id": spelled(found.id)}
    if isinstance(found, SavedSession):
        value |= {"pair": found.header.pair, "created": found.created}
        value |= {"turns": len(found.turns), "title": found.title}
    else:
        value |= {"pair": None, "created": None, "turns": 0, "title": ""}
    value |= {"file": spelled(str(found.path)), "cache_bytes": caches.kept_bytes(found.path), "damage": found.damage}
    return msgspec.json.encode(value)


def row(found: SavedSession | Unreadable) -> str:
    """Return a line for a person to read."""
    kept = caches.kept_bytes(found.path)
    size = units.file_size(kept) if kept else ""
    pair, turns, title = "", 0, "(cannot be restored)"
    if isinstance(found, SavedSession):
        pair, turns, title = found.header.pair, len(found.turns), found.title
    return f"{spelled(found.id)}  {pair:20}  {turns:3}  {size:>8}  {title}"


def spelled(name: str) -> str:
    """Return the name of a file as text: the system allows bytes in it that are none."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _entropy(step: Step) -> str:
    return "" if step.entropy_nats is None else f" {step.entropy_nats:.2f} nats"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
