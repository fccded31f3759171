"""Ctrl-C and a polite kill while models are at work: the first one stops them in order, the second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from time import monotonic

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_SECONDS = 0.1
"""Signals this close to the first are the first: what is sent to the whole process group (`timeout`, `kill %1`) comes
by itself and through the parent process. No finger is as quick."""


class Interrupts:
    """Turns Ctrl-C and a polite kill into `cancel`; a second one ends the process at once.

    At once, without freeing anything: what was written is on the disk, and the first signal may be at the freeing now.
    The handlers stay to the end of the run, which is the last thing the process does.
    """

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.exit_code: int | None = None
        """128 and the signal's number, where one came."""
        self._came = 0.0
        for number in _SIGNALS:
            signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: object) -> None:
        if self.exit_code is not None:
            if monotonic() - self._came < _ONE_SECONDS:
                return
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the status line hides the cursor
            os._exit(128 + number)
        self.exit_code, self._came = 128 + number, monotonic()
        self.cancel.set()

    def ignore(self) -> None:
        """Take no more notice: all is done, and what is pressed now must not change the exit code."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
