"""Whose turn it is: requests to all pairs of a server wait in one line, each for a place with its pair.

Knows nothing of pairs or workers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from glimp_local.errors import GlimpError
from glimp_local.server.metrics import Metrics

_RETRY_SECONDS = 5
"""What a client is told to wait."""


class BusyError(GlimpError):
    """More requests are waiting than are allowed to."""

    retry_seconds = _RETRY_SECONDS


class EndingError(GlimpError):
    """A request that is not answered to its end because the server ends."""

    def __init__(self) -> None:
        super().__init__("the server is being stopped")


class Places:
    """Requests that can be answered at the same time: one, until it is known that there may be more."""

    def __init__(self) -> None:
        self._most = 1
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Would a request have to wait?"""
        return self._taken >= self._most

    def set_most(self, most: int) -> None:
        """Set how many there are; requests that have a place keep it."""
        self._most = most
        self._give()

    async def take(self) -> None:
        """Wait for a place: first come, first served."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._give()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was given one in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave a place to the next one."""
        self._taken -= 1
        self._give()

    def _give(self) -> None:
        while self._waiting and self._taken < self._most:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else it has left
                self._taken += 1
                waiter.set_result(None)


class Line:
    """Requests in the order in which they came, to whatever pair; `most_waiting` of them may wait.

    Pairs with a model on this machine share one place. `most_parallel` limits the places of each other pair.
    """

    def __init__(self, *, most_waiting: int, metrics: Metrics, most_parallel: int | None = None) -> None:
        self._most_waiting = most_waiting
        self.metrics = metrics
        self.most_parallel = most_parallel
        self.here = Places()
        """The place of all pairs that this machine computes."""
        self.waiting = 0
        """Requests that wait for others."""
        self.running = 0
        """Requests being answered."""
        self.is_ending = False
        """Is the server about to end? Then nothing new is begun."""

    def check(self, places: Places) -> None:
        """Raise BusyError if a request would have to wait, and too many do."""
        if places.is_full and self.waiting >= self._most_waiting:
            raise BusyError(f"{self.waiting:,} requests are waiting already", hint="try again later")

    @asynccontextmanager
    async def turn(self, places: Places) -> AsyncIterator[None]:
        """Wait for one's turn, and have it."""
        began = monotonic()
        self.waiting += 1
        try:
            await places.take()
        finally:
            self.waiting -= 1
            self.metrics.waited(monotonic() - began)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            places.give_back()
