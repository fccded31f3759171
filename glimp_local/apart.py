"""Modules of this package run in processes of their own, so that whatever happens there ends only those."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from glimp_local.errors import CancelledError

_CRASHES = {
    getattr(signal, name, None) for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
}
ON_WINDOWS = os.name == "nt"
_WINDOWS_EXCEPTION, _WINDOWS_ABORT = 0xC0000000, 3
_LOOK_SECONDS = 0.05
"""How often `cancel` is looked at."""


class Ending(NamedTuple):
    """What became of a process."""

    output: bytes
    how: str
    """How it ended, in words."""
    last_words: str
    """The last line of its standard error."""
    crashed: bool
    """Did it end itself by what only a crash does? Somebody else's signal is none."""
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
    if code >= 0:
        return f"ended with the code {code:#x}"
    return f"ended by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"


def run(module: str, *arguments: str, seconds: float, cancel: threading.Event | None = None) -> Ending:
    """Run a module of this package for at most `seconds`; raises CancelledError if `cancel` is set meanwhile.

    It raises for nothing else. Ctrl-C at the terminal is for this process, which ends that one.
    """
    end = monotonic() + seconds
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*command(module), *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Ending(b"", f"it could not be started: {error.strerror}", "", crashed=False, timed_out=False)
    with process:
        try:
            while True:
                try:
                    output, says = process.communicate(timeout=_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired as error:
                    if cancel is not None and cancel.is_set():
                        raise CancelledError("cancelled while llama.cpp was tried out") from None
                    if monotonic() > end:
                        words = f"there was no result in {seconds:g} seconds"
                        return Ending(error.stdout or b"", words, "", crashed=False, timed_out=True)
        finally:
            process.kill()
    code = process.returncode
    crashed = -code in _CRASHES or (ON_WINDOWS and (code >= _WINDOWS_EXCEPTION or code == _WINDOWS_ABORT))
    last = says.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return Ending(output, ending(code), last, crashed=crashed, timed_out=False)
