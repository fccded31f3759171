"""Ctrl-C and a polite kill while models are at work: the first one stops them in order, the second one at once.

with Interrupts() as interrupts, load(request, cancel=interrupts.cancel) as pair:
...
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from time import monotonic
from typing import Self

from glimp_local.errors import CancelledError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_SECONDS = 0.1
"""Signals this close to the first are the first: what is sent to the whole process group (`timeout`, `kill %1`) comes
by itself and through the parent process. No finger is as quick."""


class Interrupts:
    """Turns Ctrl-C and a polite kill into `cancel`; a second one ends the process at once.

    At once, without freeing anything: what was written is on the disk, and the first signal may be at the freeing now.
    A CancelledError that leaves the context gets the exit code of the signal. After it, signals are ignored: the run is
    the last thing the process does, and what is pressed then must not change the exit code.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, CancelledError):
            error.exit_code = self.exit_code or error.exit_code
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
