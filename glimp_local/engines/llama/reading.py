"""Reading ahead: what one engine does in a thread of its own, while another one writes.

Promises that two threads never use the engine: whoever needs it calls `stop`, which waits for the batch that is being
computed. Knows nothing of tokens or llama.cpp; what reads looks at `stopping` between two batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from glimp_local.engines.llama import binding
from glimp_local.errors import GlimpError


class ReadingAhead:
    """The thread in which one engine reads ahead, and the account of its work.

    It stays the same thread from one reading to the next: each one that computes gets a team of threads of its own.
    """

    def __init__(self, name: str) -> None:
        self.tokens, self.seconds = 0, 0.0
        """Read so far, and the time it took."""
        self.stopping = threading.Event()
        """Set while somebody waits for the end of a reading."""
        self.has_begun = False
        """Has a reading begun that nobody has stopped or waited for, though it may have ended by itself?"""
        self._name = name
        self._reading: Future[None] | None = None
        self._reader: int | None = None  # the thread
        self._pool: ThreadPoolExecutor | None = None

    def start(self, read: Callable[[], object], fed: Callable[[], int]) -> None:
        """Call `read` in the thread; `fed` returns the tokens that the engine was fed in all.

        A GlimpError is logged: it comes again when the same is asked for in the foreground. Any other error comes out
        of `stop`.
        """
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix=f"glimp {self._name}")
        self._reading = self._pool.submit(self._run, read, fed)
        self.has_begun = True

    def _run(self, read: Callable[[], object], fed: Callable[[], int]) -> None:
        self._reader, start, before = threading.get_ident(), perf_counter(), fed()
        try:
            read()
        except GlimpError as error:
            binding.log.debug("%s reads no further ahead: %s", self._name, error)
        finally:
            self.tokens += fed() - before
            self.seconds += perf_counter() - start

    @property
    def is_reading(self) -> bool:
        """Is it reading now?"""
        reading = self._reading  # another thread may stop it meanwhile
        return reading is not None and not reading.done()

    def stop(self) -> None:
        """Stop the reading behind the batch that is being computed; what was read stays. Does nothing in its thread."""
        if self._reading is None or threading.get_ident() == self._reader:
            return
        reading, self._reading, self.has_begun = self._reading, None, False
        self.stopping.set()
        try:
            reading.result()
        finally:
            self.stopping.clear()

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
