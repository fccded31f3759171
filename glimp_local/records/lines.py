"""The lines of the files that glimp writes: what each holds, and what is wrong with one that is damaged.

One JSON object a line, which says by its `type` what it is: an event, the header of a conversation, a bench's run.
Whoever reads such a file gets its records and its problems in order, and a bad line costs nothing but itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent
from glimp_local.runs import Solution

VERSION = 2
"""Of a conversation's file."""
_BENCH_VERSION = 1
"""Of conversations and benches: what a newer glimp has written is not read."""
MOST_BYTES = 1 << 30
"""No file of ours is larger."""
LINE_BYTES = 1 << 25
"""Nor is a line: a question and a step are no longer than a context."""
_HOPELESS_LINES = 1000
"""After this many lines without a record it is another kind of file."""
_REASON_LENGTH = 120


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """The first line of a conversation, and any line from which on its pair, name or step numbers are others."""

    version: int
    created: str
    """ISO 8601, UTC."""
    pair: str
    small: str | None = None
    """The file of the small model, where the pair was given by its files."""
    large: str | None = None
    small_url: str | None = None
    """The server of the small model, if it was given beside the pair or in place of a file."""
    large_url: str | None = None
    title: str | None = None
    """The name that the user gave it here; empty if it was taken away again, None if it is the one it had."""


class BenchRun(msgspec.Struct, frozen=True, tag_field="type", tag="run"):
    """What is needed of a run in a bench's runs.jsonl."""

    problem: str
    arm: str
    repeat: int
    correct: bool
    solution: Solution
    question: str | None = None


class BenchHeader(msgspec.Struct, frozen=True, tag_field="type", tag="bench"):
    """The first line of a bench."""

    version: int = _BENCH_VERSION


class BenchLooks(msgspec.Struct, frozen=True, tag_field="type", tag="looks"):
    """What else a bench notes down, which is no run."""


class Problem(msgspec.Struct, frozen=True):
    """A line that was not understood."""

    line: int
    """Counted from 1."""
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class NoFileError(UsageError):
    """What is no file that glimp could have written; the message says what "it" is."""


class DamagedError(ValueError):
    """A line that holds no record; the message says why."""


Record = AnyEvent | Header | BenchRun | BenchHeader | BenchLooks | Solution


class _Kind(msgspec.Struct):
    type: str | None = None


_KIND = msgspec.json.Decoder(_Kind)
_TYPED: msgspec.json.Decoder[Record] = msgspec.json.Decoder(AnyEvent | Header | BenchRun | BenchHeader | BenchLooks)
_SOLUTION = msgspec.json.Decoder(Solution)
_TYPES = frozenset(
    struct.__struct_config__.tag for struct in (*AnyEvent.__args__, Header, BenchRun, BenchHeader, BenchLooks)
)


def decode(line: bytes) -> Record:
    """Decode one line; raises DamagedError, which says what is wrong with it."""
    try:
        return _TYPED.decode(line)
    except RecursionError:
        raise DamagedError("it is nested too deep") from None
    except ValueError as error:
        return _untyped(line, error)


def _untyped(line: bytes, error: ValueError) -> Record:
    """Read a line that is of none of the types: the object of `--json` has none."""
    try:
        kind = _KIND.decode(line).type
        if kind is None:
            return _SOLUTION.decode(line)
    except RecursionError:
        raise DamagedError("it is nested too deep") from None
    except ValueError as other:
        error = other
    else:
        if kind not in _TYPES:
            raise DamagedError(f"this glimp knows no {_short(kind)!r}") from None
    if not _is_utf8(line):
        raise DamagedError("it is not UTF-8 text") from None
    raise DamagedError(_short(str(error))) from None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short(text: str) -> str:
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def is_cut(line: bytes) -> bool:
    """Is this the beginning of a line, as a killed process leaves it, and not a damaged one?"""
    # What ends behind the point or the exponent of a number is whole with one digit more.
    return any(_is_truncated(line + more) for more in (b"", b"0"))


def _is_truncated(line: bytes) -> bool:
    try:
        _TYPED.decode(line)
    except ValueError as error:
        return "truncated" in str(error)
    except RecursionError:
        return False
    return False


def read(file: IO[bytes]) -> Iterator[tuple[int, Record | Problem]]:
    """Read a file line by line: the number of each, and what it holds or what is wrong with it.

    Blank lines are left out, and so is a last one that a killed process cut short. No more than MOST_BYTES are read:
    the file may be a device.
    """
    number, readable, left = 0, False, MOST_BYTES
    while line := file.readline(min(LINE_BYTES, left) + 1):
        number += 1
        left -= len(line)
        found: Record | Problem
        is_long = len(line) > LINE_BYTES
        while is_long and not line.endswith(b"\n") and (line := file.readline(min(LINE_BYTES, left) + 1)):
            left -= len(line)
        if left < 0:
            yield number, Problem(number, f"the file is larger than {MOST_BYTES:,} bytes, and the rest is not read")
            return
        if is_long:
            found = Problem(number, f"it is longer than {LINE_BYTES:,} bytes")
        else:
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                found = decode(line)
            except DamagedError as error:
                if not line.endswith(b"\n") and is_cut(line):
                    return
                found = Problem(number, str(error))
        readable = readable or not isinstance(found, Problem)
        yield number, found
        if not readable and number >= _HOPELESS_LINES:
            return


def refuse_newer(record: Record | Problem, name: str) -> None:
    """Raise UsageError for the header of a file, called `name`, that a newer glimp has written."""
    most = VERSION if isinstance(record, Header) else _BENCH_VERSION
    if isinstance(record, Header | BenchHeader) and record.version > most:
        what = f"version {record.version}, and this one reads version {most}"
        raise UsageError(f"{name} was written by a newer glimp ({what})", hint="update glimp-local")


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read. Raises NoFileError where it is none that glimp could have written, and OSError.

    A pipe or a device is not opened: reading it may never end.
    """
    _check(path.stat())
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _check(about: os.stat_result) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise NoFileError("it is a folder")
    if not stat.S_ISREG(about.st_mode):
        raise NoFileError("it is a pipe or a device, and no file")
    if about.st_size > MOST_BYTES:
        raise NoFileError(f"it is larger than {MOST_BYTES:,} bytes")


def append_at(path: Path) -> tuple[int, bytes]:
    """Find where more lines go in a file: the byte, and what must stand before them.

    A last line that was cut short is written over. What is damaged there is kept: it may be all that is left of
    something. Raises OSError and NoFileError like `open_file`.
    """
    with open_file(path) as file:
        end = at = file.seek(0, os.SEEK_END)
        tail, size = b"", 1 << 16
        while at and b"\n" not in tail and len(tail) <= LINE_BYTES:
            at, size = max(0, end - size), 4 * size
            file.seek(at)
            tail = file.read(end - at)
    whole, newline, rest = tail.rpartition(b"\n")
    if not rest:
        return end, b""
    if (newline or at == 0) and is_cut(rest):
        return at + len(whole) + len(newline), b""
    return end, b"\n"
