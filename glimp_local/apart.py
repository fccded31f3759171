"""Modules of this package run in a process of their own, so that llama.cpp can end only that one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Ending(NamedTuple):
    """What became of a process."""

    output: bytes
    how: str
    """How it ended, in words."""
    last_words: str
    """The last line of its standard error."""
    signal: str | None
    """The name of the signal that ended it; None if none did."""
    timed_out: bool

    @property
    def words(self) -> str:
        """How it ended, and its last words."""
        return f"{self.how}: {self.last_words}" if self.last_words else self.how


def run(module: str, *arguments: str, seconds: float) -> Ending:
    """Run a module of this package, for at most so many seconds. Never raises for what becomes of it.

    The child finds the packages where this process does, whatever that was started as, and nothing else in this folder.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        return Ending(error.stdout or b"", f"there was no result in {seconds:g} seconds", "", None, timed_out=True)
    code = done.returncode
    name = signal.Signals(-code).name if code < 0 else None
    how = f"ended by {name}" if name else f"ended with the code {code:#x}"
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return Ending(done.stdout, how, last, name, timed_out=False)
