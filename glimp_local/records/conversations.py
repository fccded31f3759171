"""Conversations on the disk: one file each in the platform's data folder, one event a line, written as it happens.

The first line is a `Header`; the events follow as the session told them, but for `Text`, which the finished steps hold.
So every finished step is on the disk before the next one begins, and a killed process costs the step being written.
What is damaged later costs the lines it is in: what can be restored is, and `damage` says what cannot.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

import msgspec
from filelock import Timeout

from glimp_local import private
from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent, FinishReason, Step, Text, ThoughtEnd, answer_of, encode
from glimp_local.locks import Lock
from glimp_local.messages import Message
from glimp_local.paths import data_folder
from glimp_local.records import caches
from glimp_local.records import lines as records
from glimp_local.records.folding import Recording, numbered, runs_of
from glimp_local.records.lines import Header
from glimp_local.routing import Model

_TITLE_LENGTH = 60
_SUFFIX = ".jsonl"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOST_QUESTION = "(the question is lost: its line in the saved conversation is damaged)"


@dataclass
class SavedTurn:
    """A question and what was written to it."""

    question: str
    """LOST_QUESTION where its line is damaged."""
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
    damage: str | None = None
    """What of it could not be restored, in words; None where all is there."""
    state: tuple[int, int] | None = field(default=None, compare=False)
    """Size and time of change of the file that was read: where it has others later, somebody else has written to it."""
    system: str | None = None
    """The message it begins with; None if it has none."""

    @property
    def title(self) -> str:
        """The first question's first line, shortened."""
        lines = self.turns[0].question.strip().splitlines() if self.turns else []
        first = lines[0] if lines else ""
        return first if len(first) <= _TITLE_LENGTH else first[: _TITLE_LENGTH - 1] + "…"

    @property
    def messages(self) -> list[Message]:
        """The system message, and questions that have an answer, with it; a session restores the last turn as it is."""
        found = [] if self.system is None else [Message("system", self.system)]
        for turn in self.turns[:-1]:
            if answer := turn.answer:
                found += [Message("user", turn.question), Message("assistant", answer)]
        return found


@dataclass
class Unreadable:
    """What has the name of a conversation, and nothing of it can be restored."""

    id: str
    path: Path
    damage: str
    """Why, in words."""


class SessionLog:
    """Writes a conversation's events to its file, which begins to exist with the first of them.

    No other process writes to the file or removes it meanwhile; UsageError says where one does already. Where writing
    fails (a full disk), `error` says why, and what could not be written is written with the next event, once it can.
    What is damaged in a file stays there, and what somebody else has written to it meanwhile is not written over.
    """

    def __init__(self, going_on: SavedSession | None = None) -> None:
        self.going_on = going_on
        self.path = going_on.path if going_on else _new_path()
        self.error: OSError | None = None
        self.header = going_on.header if going_on else None
        self._lock = _lock(self.path)
        self._unwritten = b""
        self._end = self._size = 0
        self._is_made = going_on is not None
        # Where steps are missing, the file says from where on they are numbered as they were restored.
        self._head_due = going_on is not None and going_on.damage is not None
        if going_on:
            _hold(self._lock, going_on.id)
            try:
                self._size, changed_at = _state(self.path.stat())
                if going_on.state not in {None, (self._size, changed_at)}:
                    what = f"the conversation {going_on.id} was changed meanwhile"
                    raise UsageError(what, hint="the same command again reads what was added")  # noqa: TRY301
                self._end, self._unwritten = records.append_at(self.path)
                private.make_folder(self.path.parent)
                private.close_to_others(self.path)
            except BaseException:
                self._lock.release()
                raise

    def begin(self, pair: str, files: Mapping[Model, Path]) -> None:
        """Say which pair writes from now on: its name, and its files where it was given by these."""
        paths = {model: str(path.resolve()) for model, path in files.items()}
        header, before = Header(records.VERSION, _now(), pair, **paths), self.header
        if before is None or (before.pair, before.small, before.large) != (pair, header.small, header.large):
            self.head(header)

    def head(self, header: Header) -> None:
        """Say it as another conversation's header does."""
        self.header = msgspec.structs.replace(header, created=_now())
        self._unwritten += encode(self.header) + b"\n"
        self._head_due = False

    @property
    def is_written(self) -> bool:
        """Is there a file?"""
        return self._end > 0

    def write(self, event: AnyEvent) -> None:
        """Add an event; `Text` is left to the step that ends with it."""
        if isinstance(event, Text):
            return
        if self._head_due and self.header is not None:
            self.head(self.header)
        self._unwritten += encode(event) + b"\n"
        self._write()

    def _write(self) -> None:
        try:
            if not self._is_made:
                self._make()
            with self.path.open("r+b", buffering=0) as file:
                self._append(file)
        except OSError as error:
            self.error = error
        else:
            self.error, self._unwritten = None, b""

    def _make(self) -> None:
        """Make the file of a new conversation, under another id where there is one of this."""
        private.make_folder(self.path.parent)
        while not self._is_made:
            try:
                self._lock.acquire()
                private.make_file(self.path, new=True)
                self._is_made = True
            except (FileExistsError, Timeout):
                self._lock.release()
                self.path = _new_path()
                self._lock = _lock(self.path)
            except BaseException:
                self._lock.release()
                raise

    def _append(self, file: FileIO) -> None:
        """Write what is unwritten, in place of what a full disk has cut short; raises OSError."""
        if os.fstat(file.fileno()).st_size != self._size:
            raise OSError(errno.EBUSY, "another program has changed the file, and nothing of it is written over")
        file.seek(self._end)
        file.truncate()
        try:
            rest = memoryview(self._unwritten)
            while rest:
                rest = rest[file.write(rest) :]
        finally:
            self._size = file.tell()
        self._end = self._size

    def close(self) -> None:
        """Write what could not be written before, if that is possible now, and leave the file to others.

        One that a full disk has kept empty is taken away. `error` says whether anything is missing.
        """
        if self.error is not None:
            self._write()
        if self._lock.is_held and not self._end:
            with suppress(OSError):
                if not self.path.stat().st_size:
                    self.path.unlink()
        self._lock.release()


def remove(found: SavedSession | Unreadable) -> None:
    """Remove a conversation from the disk, its caches, too; UsageError where a chat is writing to it, and OSError.

    Of a link, the link is removed.
    """
    if found.path.is_dir() and not found.path.is_symlink():
        raise UsageError(f"{found.path} is a folder", hint="glimp removes none: have a look, and remove it yourself")
    lock = _lock(found.path)
    _hold(lock, found.id)
    try:
        caches.remove(found.path)
        found.path.unlink()
    finally:
        lock.release()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_path() -> Path:
    return folder() / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}{_SUFFIX}"


def _lock(path: Path) -> Lock:
    # A file has one lock by all its names; it lies here, also of a file that a link finds elsewhere.
    return Lock(path.parent / (Path(os.path.realpath(path)).stem + ".lock"))


def _state(about: os.stat_result) -> tuple[int, int]:
    return about.st_size, about.st_mtime_ns


def _hold(lock: Lock, id_: str) -> None:
    try:
        lock.acquire()
    except Timeout:
        hint = "go on there, or close it first"
        raise UsageError(f"the conversation {id_} is open in another glimp chat", hint=hint) from None


def folder() -> Path:
    """Give the folder of the saved conversations; it need not exist."""
    return data_folder() / "sessions"


def ids() -> list[str]:
    """Give the ids of all conversations, the one written to last first; none of them is read. Raises OSError."""
    return [path.stem for path in _paths() if not path.is_dir()]


def _paths() -> list[Path]:
    """Give what has the name of a conversation, whatever it is, what was written to last first; raises OSError."""
    try:
        # Names that begin with a dot are notes of file managers.
        found = [entry for entry in os.scandir(folder()) if entry.name.endswith(_SUFFIX) and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    return [Path(entry) for entry in sorted(found, key=_written_at, reverse=True)]


def _written_at(entry: os.DirEntry[str]) -> float:
    for follows in (True, False):
        with suppress(OSError):  # a link to nothing; or it was removed just now
            return entry.stat(follow_symlinks=follows).st_mtime
    return 0


def scan() -> Iterator[SavedSession | Unreadable]:
    """Read all conversations, the one written to last first; raises OSError where their folder cannot be read.

    The folder is closed to others, whoever has made it.
    """
    private.close_to_others(folder())
    for path in _paths():
        try:
            yield read(path)
        except _UnreadableError as error:
            if os.path.lexists(path):  # and not just now removed by another process
                yield Unreadable(path.stem, path, error.reason)


def saved_sessions() -> Iterator[SavedSession]:
    """Read all conversations of which something can be restored, the one written to last first."""
    return (found for found in scan() if isinstance(found, SavedSession))


def find(id_: str | None = None, tell: Callable[[str], object] = lambda _: None) -> SavedSession:
    """Read the conversation whose id begins or ends so, or the last one; UsageError says where there is none or two.

    `tell` gets a sentence where it, or a later one that is passed over, is damaged.
    """
    if id_ is not None:
        session = read(named(id_))
        if said := in_words([session]):
            tell(said)
        return session
    passed_over: list[SavedSession | Unreadable] = []
    for found in scan():
        if isinstance(found, SavedSession):
            if said := in_words([*passed_over, found]):
                tell(said)
            return found
        passed_over.append(found)
    if passed_over:
        raise UsageError(in_words(passed_over), hint="to remove one: glimp sessions rm ID, with the whole id")
    raise UsageError("no conversation was saved yet", hint="begin one with: glimp chat")


def find_to_remove(id_: str, *, in_full: bool = False) -> SavedSession | Unreadable:
    """Find one like `find`; one of which nothing can be restored has to be named in full, and with `in_full` each."""
    path = named(id_)
    if in_full and path.stem != id_:
        what = f"{id_!r} is a part of an id, and nobody is asked whether it is the right one"
        raise UsageError(what, hint=f"name it in full to remove it: glimp sessions rm {path.stem}")
    try:
        return read(path)
    except _UnreadableError as error:
        if path.stem != id_:
            raise UsageError(str(error), hint=f"name it in full to remove it: glimp sessions rm {path.stem}") from error
        return Unreadable(path.stem, path, error.reason)


def named(id_: str) -> Path:
    """Find the file of the conversation whose id begins or ends so; UsageError says where there is none or two."""
    if not id_:
        raise UsageError("an empty id names no conversation", hint="their ids: glimp sessions list")
    paths = [path for path in _paths() if path.stem.startswith(id_) or path.stem.endswith(id_)]
    paths = [path for path in paths if path.stem == id_] or paths
    if len(paths) != 1:
        what = f"{len(paths)} saved conversations begin or end" if paths else "no saved conversation begins or ends"
        raise UsageError(f"{what} with {id_!r}", hint="their ids: glimp sessions list")
    return paths[0]


class _UnreadableError(UsageError):
    """Nothing of a file can be restored."""

    def __init__(self, path: Path, reason: str, hint: str | None = None) -> None:
        what = f"the conversation {path.stem} cannot be restored: {reason}"
        super().__init__(what, hint=hint or f"to remove it: glimp sessions rm {path.stem}")
        self.reason = reason


def read(path: Path) -> SavedSession:
    """Read one file; what is damaged in it is left out, and `damage` says so.

    A last line cut short by a killed process is left out, too. Raises UsageError where nothing can be restored.
    """
    try:
        with records.open_file(path) as file:
            state = _state(os.fstat(file.fileno()))
            found = runs_of(file, "it")
    except OSError as error:
        raise _UnreadableError(path, error.strerror or str(error)) from error
    except UsageError as error:
        raise _UnreadableError(path, str(error), error.hint) from error
    if not found.runs and (found.damaged or not found.headers):
        raise _UnreadableError(path, str(found.first or "it holds no line of a conversation"))
    header = _header(path, found, state)
    turns = [
        SavedTurn(
            LOST_QUESTION if run.question is None else run.question, numbered(run.steps), run.thought_end, run.finish
        )
        for run in found.runs
    ]
    created = found.headers[0].created if found.headers else header.created
    system = next((run.system for run in found.runs if run.system is not None), None)
    return SavedSession(path.stem, path, created, header, turns, _damage(found), state, system)


def _header(path: Path, found: Recording, state: tuple[int, int]) -> Header:
    """Return the last header, or what stands for it where it is damaged: the last question says who was asked."""
    pair = next((run.pair for run in reversed(found.runs) if run.pair), None)
    if found.headers and (not found.damaged or pair in {None, found.headers[-1].pair}):
        return found.headers[-1]
    try:
        created = datetime.strptime(path.stem[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the user has given it another name
        created = _EPOCH
        with suppress(OverflowError):  # a file's time may be one that no calendar knows
            created += timedelta(microseconds=state[1] // 1000)
    return Header(records.VERSION, created.isoformat(timespec="seconds"), pair or "")


def _damage(found: Recording) -> str | None:
    """Say in words what is damaged."""
    if not found.damaged and found.headers:
        return None
    whole = sum(not run.damaged for run in found.runs)
    return f"{whole} of {len(found.runs)} turns restored ({found.first or 'the line that names the pair is missing'})"


def in_words(found: Iterable[SavedSession | Unreadable]) -> str:
    """Say in one sentence which conversations are damaged; nothing where none is."""
    damaged, lost = [], []
    for each in found:
        if isinstance(each, Unreadable):
            lost.append(f"{each.id}, {each.damage}")
        elif each.damage is not None:
            damaged.append(f"{each.id}, {each.damage}")
    parts = []
    if damaged:
        parts.append(f"{_many(damaged)} {'is' if len(damaged) == 1 else 'are'} damaged: {'; '.join(damaged)}")
    if lost:
        parts.append(f"{_many(lost)} cannot be restored: {'; '.join(lost)}")
    return ". ".join(parts)


def _many(found: list[str]) -> str:
    return f"{len(found)} conversation{'' if len(found) == 1 else 's'}"
