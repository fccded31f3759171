"""The runs of a bench on the disk: one JSON line each, written when it is finished, so that a bench can go on.

The first line says what was measured and how; runs of other settings do not go into the same file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import msgspec
from filelock import FileLock, Timeout

from glimp_local.errors import GlimpError, UsageError
from glimp_local.models.identity import is_of_before
from glimp_local.records.writer import LineWriter
from glimp_local.runs import Solution

FILE = "runs.jsonl"
_LOCK = ".lock"
_VERSION = 1


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="bench"):
    """What was measured and how: the first line."""

    settings: dict[str, Any]
    """Whatever changes what is written or how fast: files, how they are loaded, sampling, budgets, seed, machine."""
    history_nats: tuple[float, ...]
    """The entropies that were stored for the pair when the bench began: what `share` starts from."""
    threshold_nats: float
    """The pair's threshold when the bench began: what `share` starts from where few are stored, and looks go by."""
    version: int = _VERSION


class Run(msgspec.Struct, frozen=True, tag_field="type", tag="run"):
    """One problem solved under one arm."""

    problem: str
    """The problem's id."""
    question: str
    """Its text."""
    answer: str
    """Its reference result."""
    arm: str
    repeat: int
    correct: bool
    given: str | None
    """The result found in the answer."""
    note: str | None
    """What the grader has to say."""
    seconds: float
    """Wall time from the question to the end; scoring steps (`specreason`) included. One run at a time began with empty
    caches; those of a bench with several at once (`parallel` in the header) shared the servers, with warm caches."""
    solution: Solution


class Look(msgspec.Struct, frozen=True):
    """Both models at one glimpse."""

    entropy_nats: float
    """Of the small model's distribution."""
    agrees: bool
    """Would both begin the step with the same token?"""


class Looks(msgspec.Struct, frozen=True, tag_field="type", tag="looks"):
    """Both models at every glimpse of one run, which was not timed."""

    problem: str
    repeat: int
    looks: tuple[Look, ...]


Record = Run | Looks
Key = tuple[str, str, int]
"""Problem, arm and repeat; the arm of `Looks` is LOOKS."""
LOOKS = "looks"


def key(record: Record) -> Key:
    """Give what tells a record from all others."""
    return record.problem, record.arm if isinstance(record, Run) else LOOKS, record.repeat


class RunLog:
    """The runs in a folder: those found there, and those added. A context manager; no other bench may write meanwhile.

    Raises UsageError where the folder holds runs of other settings, or other files.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.path = folder / FILE
        self.header = header
        self._records: dict[Key, Record] = {}
        self._lock = FileLock(folder / _LOCK, blocking=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and any(path.name != _LOCK for path in folder.iterdir()):
                raise UsageError(
                    f"{folder} holds other files: a report would be written over them", hint="choose another --output"
                )
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"another bench is writing to {folder}", hint="wait for it, or choose another --output"
            ) from None
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", hint="choose another --output") from error
        try:
            whole = self._read() if self.path.exists() else b""
            # A line is whole where it ends: what a killed process left of one is written over.
            self._file = self.path.open("r+b" if whole else "wb", buffering=0)
            self._file.truncate(len(whole))
            self._lines = LineWriter(lambda: nullcontext(self._file), end=len(whole))
            if not whole:
                self._write(header)
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> bytes:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.splitlines() or [b""]
        if not content or (not whole and content.startswith(b'{"type":"bench"')):
            return b""
        try:
            found = msgspec.json.decode(first, type=Header)
            records = [msgspec.json.decode(line, type=Record) for line in lines]
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, another shape, no UTF-8
            raise UsageError(
                f"{self.path} does not hold the runs of a bench: {error}", hint="choose another --output"
            ) from error
        if not lines:
            return b""  # nothing was run yet: any settings will do
        if found.version != _VERSION:
            raise UsageError(
                f"the runs in {self.path} are of version {found.version}, and this glimp reads version {_VERSION}",
                hint="choose another --output",
            )
        wanted = msgspec.json.decode(msgspec.json.encode(self.header.settings))
        # An earlier glimp, which did not write these, knew no other way.
        former = {"instruction for choices": wanted.get("instruction for choices"), "parallel": 1}
        settings = former | found.settings
        if differences := [name for name in wanted if settings.get(name) != wanted[name]]:
            name = differences[0]
            if all(other.endswith(" file") and is_of_before(found.settings.get(other)) for other in differences):
                raise UsageError(
                    f"the runs in {self.path} were made by an earlier glimp, which told model files apart in another "
                    "way: whether they are of the same models cannot be told",
                    hint="choose another --output; the runs that are there stay",
                )
            raise UsageError(
                f"the runs in {self.path} were made with another {name}: {_say(found.settings.get(name))}, not "
                f"{_say(wanted[name])}",
                hint="choose another --output, or the settings of those runs",
            )
        self.header = found
        self._records = {key(record): record for record in records}
        return whole

    def add(self, record: Record) -> None:
        """Write a record to the disk; raises GlimpError where that fails (those before it are safe)."""
        self._write(record)
        self._records[key(record)] = record

    def _write(self, value: Header | Record) -> None:
        self._lines.write(value)
        if (error := self._lines.error) is not None:
            self._lines.drop()  # it will be run again
            raise GlimpError(
                f"{self.path} cannot be written: {error.strerror}; the runs before this one are there",
                hint="make room and give the same command again: it goes on",
            ) from error

    def run(self, problem: str, arm: str, repeat: int) -> Run | None:
        """Give a finished run."""
        found = self._records.get((problem, arm, repeat))
        return found if isinstance(found, Run) else None

    def looks(self, problem: str, repeat: int) -> Looks | None:
        """Give the looks at a problem."""
        found = self._records.get((problem, LOOKS, repeat))
        return found if isinstance(found, Looks) else None

    def __contains__(self, what: Key) -> bool:
        return what in self._records

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def close(self) -> None:
        """Leave the file to others."""
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _say(value: object) -> str:
    return "none" if value is None else repr(value)
