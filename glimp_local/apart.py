"""Modules of this package run in processes of their own, so that whatever happens there ends only those."""

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


def command(module: str) -> list[str]:
    """Return the command that runs a module of this package in a process of its own."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """Return the environment for it.

    It finds packages where this process does, however this one was started, and nothing else in the working directory.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}


def ending(code: int) -> str:
    """Describe how a process ended, from its exit code."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the code {code:#x}"


def run(module: str, *arguments: str, seconds: float) -> Ending:
    """Run a module of this package for at most `seconds`; never raises for what becomes of it."""
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            [*command(module), *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Ending(error.stdout or b"", f"there was no result in {seconds:g} seconds", "", None, timed_out=True)
    except OSError as error:
        return Ending(b"", f"it could not be started: {error.strerror}", "", None, timed_out=False)
    code = done.returncode
    name = signal.Signals(-code).name if code < 0 else None
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return Ending(done.stdout, ending(code), last, name, timed_out=False)
