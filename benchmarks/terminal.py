"""A program in a pseudo-terminal, looked at from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import psutil

_SECONDS = 60
_USUALLY_ON = {b"7", b"25"}
"""Modes that a terminal begins with: long lines wrap, the cursor is shown."""


class Terminal:
    """Runs a command with a terminal of its own; keyword arguments are those of `subprocess.Popen`.

    With `jobs` the terminal controls the command, as it does a shell: Ctrl-C and Ctrl-Z are signals then.
    """

    def __init__(
        self, command: list[str], *, rows: int = 30, columns: int = 100, jobs: bool = False, **more: Any
    ) -> None:
        self.drawn = b""
        """All that came out."""
        self._outside, self._inside = pty.openpty()
        fcntl.ioctl(self._inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._before = termios.tcgetattr(self._inside)
        if jobs:
            more["preexec_fn"] = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = self.start(command, **more)

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        """Start another command on the same terminal."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._inside)
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more.pop("env", {})
        for size in ("COLUMNS", "LINES"):  # who runs tests in parallel sets them, and they count more than the terminal
            environment.pop(size, None)
        settings: dict[str, Any] = streams | {"env": environment, "start_new_session": True} | more
        return subprocess.Popen(command, **settings)  # noqa: S603 - what it is for

    def until(self, condition: Callable[[], object], *, every: float = 0.01) -> float:
        """Draw until something comes true, looked at every so many seconds; give the time when it did."""
        end, look = monotonic() + _SECONDS, 0.0
        while True:
            self._read(every)
            if monotonic() >= look:
                look = monotonic() + every
                if condition():
                    return monotonic()
            if monotonic() > end:
                raise TimeoutError(f"nothing came within {_SECONDS} s; last drawn: {self.drawn[-500:]!r}")

    def shows(self, text: str) -> float:
        """Wait for a text to be drawn; give the time."""
        return self.until(lambda: text.encode() in self.drawn)

    def type(self, text: str) -> float:
        """Press keys; give the time."""
        os.write(self._outside, text.encode())
        return monotonic()

    def end(self) -> int:
        """Wait for the end of the program; give its exit code."""
        self.until(lambda: self.process.poll() is not None)
        while self._read(0):
            pass
        assert self.process.returncode is not None
        return self.process.returncode

    def child(self) -> psutil.Process:
        """Wait for the process that does the work of `glimp`, and return it."""
        process = psutil.Process(self.process.pid)
        self.until(process.children, every=0.001)
        return process.children()[0]

    def hang_up(self) -> None:
        """Take the terminal away from the program."""
        os.close(self._outside)
        self._outside = -1

    def close(self) -> None:
        """Kill the program, if it still runs, with its children, and take the terminal away."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._outside >= 0:
            os.close(self._outside)
        os.close(self._inside)

    @property
    def is_as_before(self) -> bool:
        """Is whatever was switched on off again (screen, mouse, keys), and are its settings as they were?"""
        switched = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", self.drawn))
        is_switched_back = all(way == (b"h" if mode in _USUALLY_ON else b"l") for mode, way in switched.items())
        keys = re.findall(rb"\x1b\[(>\d+|<)u", self.drawn)  # kitty's keyboard protocol
        return is_switched_back and keys[-1:] in ([], [b"<"]) and termios.tcgetattr(self._inside) == self._before

    def _read(self, seconds: float) -> bool:
        if not select.select([self._outside], [], [], seconds)[0]:
            return False
        self.drawn += os.read(self._outside, 1 << 16)
        return True
