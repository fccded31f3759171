"""Lines written to a file as they come: each is handed to the system at once, and none is lost to a full disk.

A process that is killed costs at most the line it was writing. Knows nothing about what the lines say, nor about where
the file is: that is the matter of whoever opens it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import FileIO
from select import select
from typing import Any

from glimp_local.events import encode


class LineWriter:
    """Appends records to a file as lines of JSON.

    `opened` is called for each writing and returns the file, without a buffer, to be left when it is done. `end` is
    where the lines go, `before` what must stand before them, and `size` what the file holds: if that is more, what is
    behind `end` is written over. If writing fails, `error` says why, and what could not be written is written with the
    next record, once it can be. Nothing that another program has written meanwhile is written over: that is an `error`,
    too.
    """

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[FileIO]],
        *,
        end: int = 0,
        size: int | None = None,
        before: bytes = b"",
    ) -> None:
        self.opened = opened
        self.end = end
        """Bytes of the file that are whole lines."""
        self.error: OSError | None = None
        self.unwritten = before
        """What comes next: lines that were put, or that could not be written."""
        self._size = end if size is None else size

    def put(self, record: Any) -> None:
        """Add a line that is to be written with the next one."""
        self.unwritten += encode(record) + b"\n"

    def write(self, record: Any) -> None:
        """Write a line, behind all that is unwritten; `error` says whether it could be done."""
        self.put(record)
        self.flush()

    def flush(self) -> None:
        """Write what is unwritten; `error` says whether it could be done."""
        try:
            with self.opened() as file:
                self._append(file)
        except OSError as error:
            self.error = error
        else:
            self.error = None

    def drop(self) -> None:
        """Let what could not be written be lost; the part of it that is in the file is written over."""
        self.unwritten = b""

    def _append(self, file: FileIO) -> None:
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if is_regular:
            self._go_to_end(file)
        rest, written = memoryview(self.unwritten), 0
        try:
            while written < len(rest):
                taken = file.write(rest[written:])
                if taken is None:  # a pipe that is full, and was set not to block
                    select([], [file], [])
                written += taken or 0
        finally:
            if is_regular:
                self._size = self.end + written
            else:  # what a pipe or a device has taken cannot be written over
                self.unwritten = bytes(rest[written:])
        self.end += len(rest)
        self.unwritten = b""

    def _go_to_end(self, file: FileIO) -> None:
        """Go behind the last whole line, and take away what a full disk has cut short."""
        size = os.fstat(file.fileno()).st_size
        if size != self._size:
            raise OSError(errno.EBUSY, "another program has changed the file, and nothing of it is written over")
        file.seek(self.end)
        if size > self.end:
            file.truncate()
