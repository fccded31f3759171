"""A program in a pseudo-terminal, looked at from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Callable
from time import monotonic
from typing import Any

_SECONDS = 60


class Terminal:
    """Runs a command with a terminal of its own; keyword arguments are those of `subprocess.Popen`."""

    def __init__(self, command: list[str], *, rows: int = 30, columns: int = 100, **more: Any) -> None:
        self.drawn = b""
        """All that came out."""
        self._outside, self._inside = pty.openpty()
        fcntl.ioctl(self._inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._before = termios.tcgetattr(self._inside)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._inside)
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more.pop("env", {})
        self.process = subprocess.Popen(command, **(streams | more), env=environment, start_new_session=True)  # noqa: S603 - what it is for

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

    def close(self) -> None:
        """Kill the program, if it still runs, and take the terminal away."""
        self.process.kill()
        self.process.wait()
        os.close(self._outside)
        os.close(self._inside)

    @property
    def is_as_before(self) -> bool:
        """Is the terminal back on its first screen, its mouse left alone, its modes as they were?"""
        switched = [self.drawn.rfind(b"\x1b[?" + mode) for mode in (b"1049h", b"1049l", b"1000h", b"1000l")]
        modes = termios.tcgetattr(self._inside)
        return switched[0] < switched[1] and switched[2] < switched[3] and modes == self._before

    def _read(self, seconds: float) -> bool:
        if not select.select([self._outside], [], [], seconds)[0]:
            return False
        self.drawn += os.read(self._outside, 1 << 16)
        return True
