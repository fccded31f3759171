"""Reading ahead: a server reads the transcript while another model writes, one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter

from glimp_local.engines.remote.writing import Writing

_LOOK_SECONDS = 0.02


class ReadAhead:
    """At most one request at a time that has a server read, in a thread of its own."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        """Ends the request."""
        self._thread: threading.Thread | None = None
        self._writing: Writing | None = None

    @property
    def is_sent(self) -> bool:
        """Is the server at it, or was it?"""
        return self._writing is not None

    def sent(self, writing: Writing) -> None:
        """Note what was asked for."""
        self._writing = writing

    @property
    def is_reading(self) -> bool:
        """Is a request under way?"""
        return self._thread is not None and self._thread.is_alive()

    def start(self, read: Callable[[], None]) -> None:
        """Begin a request; `read` is called in the thread."""
        self.cancel = threading.Event()  # the last one may end a thread still
        self._writing = None
        self._thread = threading.Thread(target=read, name="glimp-read-ahead", daemon=True)
        self._thread.start()

    def wait(self, cancel: threading.Event) -> float:
        """Wait for the request, which a cancel ends; return the seconds that took."""
        if self._thread is None:
            return 0.0
        start = perf_counter()
        while self._thread.is_alive():
            if cancel.is_set():
                self.cancel.set()
            self._thread.join(_LOOK_SECONDS)
        self._thread = None
        return perf_counter() - start

    def abandon(self) -> None:
        """End the request without waiting for that."""
        self.cancel.set()
        if self._writing is not None:
            self._writing.close()

    def stop(self) -> None:
        """End the request."""
        self.cancel.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
