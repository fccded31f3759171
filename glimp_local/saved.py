"""Conversations on the disk: one file each in the platform's data folder, one event a line, written as it happens.

The first line is a `Header`; the events follow as the session told them, but for `Text`, which the finished steps hold.
So every finished step is on the disk before the next one begins, and a killed process costs the step being written.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import platformdirs

from glimp_local.errors import UsageError
from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    FinishReason,
    Rewound,
    Started,
    Step,
    StepEnded,
    TakenBack,
    Text,
    ThoughtEnd,
    ThoughtEnded,
    decode_events,
    encode,
)
from glimp_local.routing import Model

_VERSION = 1
_TITLE_LENGTH = 60
_SUFFIX = ".jsonl"


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """The first line of a file."""

    version: int
    created: str
    """ISO 8601, UTC."""
    pair: str
    small: str | None = None
    """The file of the small model, where the pair was given by its files."""
    large: str | None = None


@dataclass
class SavedTurn:
    """A question and what was written to it."""

    question: str
    steps: list[Step] = field(default_factory=list)
    answer: str = ""
    thought_end: ThoughtEnd | None = None
    finish: FinishReason | None = None
    """None where the process ended in the middle."""

    @property
    def thought(self) -> str:
        """The text of the thought."""
        return "".join(step.text for step in self.steps if step.part == "thought")


@dataclass
class SavedSession:
    """A conversation read back."""

    id: str
    path: Path
    header: Header
    turns: list[SavedTurn]

    @property
    def title(self) -> str:
        """The first question's first line, shortened."""
        first = self.turns[0].question.strip().splitlines()[0] if self.turns else ""
        return first if len(first) <= _TITLE_LENGTH else first[: _TITLE_LENGTH - 1] + "…"

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Questions that have an answer, with it, but for the last turn, which a session takes up as it is."""
        return [(turn.question, turn.answer) for turn in self.turns[:-1] if turn.answer]


class SessionLog:
    """Writes a conversation's events to its file, which begins to exist with the first of them.

    When writing fails (a full disk), `error` says why, and the conversation goes on unsaved.
    """

    def __init__(
        self, pair: str, files: Mapping[Model, Path] | None = None, *, going_on: SavedSession | None = None
    ) -> None:
        self.id = going_on.id if going_on else f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.path = going_on.path if going_on else folder() / (self.id + _SUFFIX)
        self.error: OSError | None = None
        self._pair = pair
        self._files = {model: str(path.resolve()) for model, path in (files or {}).items()}
        self._new = going_on is None
        # Behind the last whole line: one cut short by a killed process is written over.
        self._end = going_on.path.read_bytes().rfind(b"\n") + 1 if going_on else 0

    def write(self, event: AnyEvent) -> None:
        """Add an event; `Text` is left to the step that ends with it."""
        if self.error is not None or isinstance(event, Text):
            return
        lines = encode(event) + b"\n"
        try:
            if self._new:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                header = Header(_VERSION, datetime.now(UTC).isoformat(timespec="seconds"), self._pair, **self._files)
                lines = encode(header) + b"\n" + lines
            with self.path.open("r+b" if self.path.exists() else "xb", buffering=0) as file:
                file.seek(self._end)
                file.truncate()
                while lines:
                    lines = lines[file.write(lines) :]
                self._end = file.tell()
            self._new = False
        except OSError as error:
            self.error = error


def folder() -> Path:
    """Give the folder of the saved conversations; it need not exist."""
    return platformdirs.user_data_path("glimp", appauthor=False) / "sessions"


def saved_sessions() -> Iterator[SavedSession]:
    """Read all conversations, the one written to last first; files that are none are left out."""
    for path in sorted(folder().glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            yield read(path)
        except UsageError:
            continue


def find(id_: str | None = None) -> SavedSession:
    """Read the conversation whose id begins like this, or the last one; UsageError says where there is none or two."""
    if id_ is None:
        for session in saved_sessions():
            return session
        raise UsageError("no conversation was saved yet", hint="begin one with: glimp chat")
    paths = [path for path in folder().glob(f"*{_SUFFIX}") if path.stem.startswith(id_)]
    if len(paths) != 1:
        what = f"{len(paths)} saved conversations begin" if paths else "no saved conversation begins"
        raise UsageError(f"{what} with {id_!r}", hint="their ids: glimp sessions list")
    return read(paths[0])


def read(path: Path) -> SavedSession:
    """Read one file; a last line cut short by a killed process is left out. Raises UsageError where it is none."""
    try:
        # A line is whole where it ends.
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        header = msgspec.json.decode(lines[0] if lines else b"", type=Header)
        return SavedSession(path.stem, path, header, turns(decode_events(lines[1:])))
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no saved conversation: {error}") from error


def turns(events: Iterable[AnyEvent]) -> list[SavedTurn]:
    """Fold events into turns."""
    found: list[SavedTurn] = []
    for event in events:
        match event:
            case Started(question=question):
                found.append(SavedTurn(question))
            case StepEnded(step):
                found[-1].steps.append(step)
                found[-1].finish = None
            case ThoughtEnded(reason):
                found[-1].thought_end = reason
            case Rewound(index):
                del found[-1].steps[index:]
                found[-1].answer = ""
                if not any(step.part == "answer" for step in found[-1].steps):
                    found[-1].thought_end = None
            case Answer(text):
                found[-1].answer = text
            case Finished(finish_reason=reason):
                found[-1].finish = reason
            case TakenBack():
                found.pop()
            case _:
                pass
    return found


def as_markdown(session: SavedSession, *, thoughts: bool = False) -> str:
    """Give a conversation as Markdown; steps of a thought are headed by the letter of the model that wrote them."""
    blocks = [f"# {session.title or session.id}", f"*{session.header.pair}, {session.header.created}*"]
    for turn in session.turns:
        blocks.append(f"## {turn.question.strip()}")
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
            "question": turn.question,
            "answer": turn.answer,
            "finish_reason": turn.finish,
            **({"steps": turn.steps} if thoughts else {}),
        }
        for turn in session.turns
    ]
    value = {"id": session.id, "pair": session.header.pair, "created": session.header.created, "turns": turns}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def summary(session: SavedSession) -> str:
    """Give a line of JSON: id, pair, when it was begun, how many turns, title, file."""
    value = {
        "id": session.id,
        "pair": session.header.pair,
        "created": session.header.created,
        "turns": len(session.turns),
        "title": session.title,
        "file": str(session.path),
    }
    return msgspec.json.encode(value).decode()


def _entropy(step: Step) -> str:
    return "" if step.entropy_nats is None else f" {step.entropy_nats:.2f} nats"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
