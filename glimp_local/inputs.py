"""Reading what a user names, up to a limit: a device, a pipe that never ends or a wrong file fills no memory."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from glimp_local import units
from glimp_local.errors import UsageError

_CHUNK = 2**20


def path_of(text: str) -> Path:
    """Return the path that a user names, `~` spelt out; raises UsageError for a home folder that does not exist."""
    if "\0" in text:
        raise UsageError(f"{text!r}: no path holds a null character", hint="give the path of a file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text!r}: {error}", hint="give the whole path") from error


def read_limited(
    source: Path | BinaryIO, limit_bytes: int, what: str, *, hint: str = "check that it is the right file"
) -> bytes:
    """Return all bytes of a file or a stream that may have `limit_bytes` at most; `what` names it in the message.

    A regular file that is larger is refused by its size; of anything else no more than the limit is read. Raises
    UsageError for one that is larger, and OSError where it cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return read_limited(stream, limit_bytes, what, hint=hint)
    if _size(source) > limit_bytes:
        raise _too_large(what, limit_bytes, hint)
    read = BytesIO()
    while chunk := source.read(min(_CHUNK, limit_bytes + 1 - read.tell())):
        read.write(chunk)
        if read.tell() > limit_bytes:
            raise _too_large(what, limit_bytes, hint)
    return read.getvalue()


def _size(stream: BinaryIO) -> int:
    """Return the size of a regular file; 0 for whatever only reading measures."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream in memory
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _too_large(what: str, limit_bytes: int, hint: str) -> UsageError:
    return UsageError(f"{what} is larger than {units.file_size(limit_bytes)}, the most that is read", hint=hint)


def exists(path: str | Path) -> bool:
    """Return whether a file is there; of a name that the system refuses, none is."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for such a name
