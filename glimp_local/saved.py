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
from filelock import FileLock, Timeout

from glimp_local import caches
from glimp_local.errors import UsageError
from glimp_local.events import (
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
    answer_of,
    encode,
)
from glimp_local.places import data_folder
from glimp_local.routing import Model

_VERSION = 1
_TITLE_LENGTH = 60
_SUFFIX = ".jsonl"


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """The first line of a file, and any line from which on another pair went on."""

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
    thought_end: ThoughtEnd | None = None
    finish: FinishReason | None = None
    """None where the process ended in the middle."""

    @property
    def answer(self) -> str:
        """The text of the answer, as far as it was written."""
        return answer_of(self.steps)

    @property
    def thought(self) -> str:
        """The text of the thought."""
        return "".join(step.text for step in self.steps if step.part == "thought")


@dataclass
class SavedSession:
    """A conversation read back."""

    id: str
    path: Path
    created: str
    """ISO 8601, UTC."""
    header: Header
    """The pair that wrote last."""
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

    No other process writes to the file or removes it meanwhile; UsageError says where one does already. Where writing
    fails (a full disk), `error` says why, and what could not be written is written with the next event, once it can.
    """

    def __init__(self, going_on: SavedSession | None = None) -> None:
        self.going_on = going_on
        id_ = going_on.id if going_on else f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.path = going_on.path if going_on else folder() / (id_ + _SUFFIX)
        self.error: OSError | None = None
        self.header = going_on.header if going_on else None
        self._lock = _lock(self.path)
        self._unwritten = b""
        self._end = 0
        if going_on:
            _hold(self._lock, going_on)
            # Behind the last whole line: one cut short by a killed process is written over.
            self._end = self.path.read_bytes().rfind(b"\n") + 1

    def begin(self, pair: str, files: Mapping[Model, Path]) -> None:
        """Say which pair writes from now on: its name, and its files where it was given by these."""
        paths = {model: str(path.resolve()) for model, path in files.items()}
        header, before = Header(_VERSION, _now(), pair, **paths), self.header
        if before is None or (before.pair, before.small, before.large) != (pair, header.small, header.large):
            self.head(header)

    def head(self, header: Header) -> None:
        """Say it as another conversation's header does."""
        self.header = msgspec.structs.replace(header, created=_now())
        self._unwritten += encode(self.header) + b"\n"

    @property
    def is_written(self) -> bool:
        """Is there a file?"""
        return self._end > 0

    def write(self, event: AnyEvent) -> None:
        """Add an event; `Text` is left to the step that ends with it."""
        if isinstance(event, Text):
            return
        self._unwritten += encode(event) + b"\n"
        try:
            if not self._end:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            with self.path.open("r+b" if self._end else "wb", buffering=0) as file:
                file.seek(self._end)
                file.truncate()
                rest = memoryview(self._unwritten)
                while rest:
                    rest = rest[file.write(rest) :]
                self._end = file.tell()
        except OSError as error:
            self.error = error
        else:
            self.error, self._unwritten = None, b""

    def close(self) -> None:
        """Leave the file to others."""
        self._lock.release()


def remove(session: SavedSession) -> None:
    """Remove a conversation from the disk, its caches, too; UsageError where a chat is writing to it."""
    lock = _lock(session.path)
    _hold(lock, session)
    caches.remove(session.path)
    session.path.unlink()
    Path(lock.lock_file).unlink()
    lock.release()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), blocking=False, thread_local=False)


def _hold(lock: FileLock, session: SavedSession) -> None:
    try:
        lock.acquire()
    except Timeout:
        hint = "go on there, or close it first"
        raise UsageError(f"the conversation {session.id} is open in another glimp chat", hint=hint) from None


def folder() -> Path:
    """Give the folder of the saved conversations; it need not exist."""
    return data_folder() / "sessions"


def ids() -> list[str]:
    """Give the ids of all conversations, the one written to last first; none of them is read."""
    return [path.stem for path in _paths()]


def _paths() -> list[Path]:
    return sorted(folder().glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)


def saved_sessions() -> Iterator[SavedSession]:
    """Read all conversations, the one written to last first; files that are none are left out."""
    for path in _paths():
        try:
            yield read(path)
        except UsageError:
            continue


def find(id_: str | None = None) -> SavedSession:
    """Read the conversation whose id begins or ends so, or the last one; UsageError says where there is none or two."""
    if id_ is None:
        for session in saved_sessions():
            return session
        raise UsageError("no conversation was saved yet", hint="begin one with: glimp chat")
    paths = [path for path in folder().glob(f"*{_SUFFIX}") if path.stem.startswith(id_) or path.stem.endswith(id_)]
    if len(paths) != 1:
        what = f"{len(paths)} saved conversations begin or end" if paths else "no saved conversation begins or ends"
        raise UsageError(f"{what} with {id_!r}", hint="their ids: glimp sessions list")
    return read(paths[0])


def read(path: Path) -> SavedSession:
    """Read one file; a last line cut short by a killed process is left out. Raises UsageError where it is none."""
    decoder = msgspec.json.Decoder(AnyEvent | Header)
    try:
        # A line is whole where it ends.
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        records = [decoder.decode(line) for line in lines]
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no saved conversation: {error}") from error
    headers = [record for record in records if isinstance(record, Header)]
    if not headers or records[0] is not headers[0]:
        raise UsageError(f"{path} is no saved conversation: its first line is another one's")
    events = [record for record in records if not isinstance(record, Header)]
    return SavedSession(path.stem, path, headers[0].created, headers[-1], turns(events))


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
                found[-1].finish = None
                if not any(step.part == "answer" for step in found[-1].steps):
                    found[-1].thought_end = None
            case Finished(finish_reason=reason):
                found[-1].finish = reason
            case TakenBack():
                found.pop()
            case _:
                pass
    return found


def as_markdown(session: SavedSession, *, thoughts: bool = False) -> str:
    """Give a conversation as Markdown; steps of a thought are headed by the letter of the model that wrote them."""
    blocks = [f"# {session.title or session.id}", f"*{session.header.pair}, {session.created}*"]
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
    value = {"id": session.id, "pair": session.header.pair, "created": session.created, "turns": turns}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def summary(session: SavedSession) -> str:
    """Give a line of JSON: id, pair, when it was begun, how many turns, title, file, size of the kept caches."""
    value = {
        "id": session.id,
        "pair": session.header.pair,
        "created": session.created,
        "turns": len(session.turns),
        "title": session.title,
        "file": str(session.path),
        "cache_bytes": caches.kept_bytes(session.path),
    }
    return msgspec.json.encode(value).decode()


def _entropy(step: Step) -> str:
    return "" if step.entropy_nats is None else f" {step.entropy_nats:.2f} nats"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
