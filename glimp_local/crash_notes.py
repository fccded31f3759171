"""What a process that may crash notes down for its parent, which tells the user once it has.

`glimp` computes in a child process; its parent holds the other end of the pipe (cli/supervisor.py). In a process
without such a parent, a program that uses this package, `note` does nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal

Subject = Literal["doing", "kept", "said", "screen", "server"]
"""What it was doing ("loading x.gguf"), what is kept of the work, and where; what llama.cpp said when it gave up; is
the terminal in the chat's hands? Which RPC servers compute layers? The last note of a subject counts."""

_BYTES = 500
"""A note is at most this long: up to 512 bytes, a pipe takes a write of any thread as a whole."""

_pipe: int | None = None


def open_to(pipe: int) -> None:
    """Send notes into a pipe from now on. It must not block: a note that finds it full is lost."""
    global _pipe  # noqa: PLW0603 - one process, one parent
    _pipe = pipe


def has_reader() -> bool:
    """Is there a parent that reads the notes?"""
    return _pipe is not None


def note(subject: Subject, text: str) -> None:
    """Note something down; any thread may do so."""
    if _pipe is not None:
        line = f"{subject}\t{' '.join(text.split())}".encode("utf-8", "replace")
        with suppress(OSError):
            os.write(_pipe, line[:_BYTES] + b"\n")


def read_notes(pipe: int) -> dict[str, str]:
    """Return the notes that are in a pipe that does not block, the last one of each subject."""
    read = b""
    with suppress(BlockingIOError):
        while some := os.read(pipe, 1 << 16):
            read += some
    lines = (line.partition("\t") for line in read.decode("utf-8", "replace").splitlines())
    return {subject: text for subject, _, text in lines}
