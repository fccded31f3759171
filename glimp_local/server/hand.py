"""Requests to one pair: starts a worker, gives it those whose turn it is, and starts another one when it has crashed.

A request that is left, because its client has gone, is stopped before its next token; one that waits begins then.
Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from time import monotonic
from typing import Literal, Protocol

from glimp_local.errors import ServerError
from glimp_local.events import AnyEvent, Finished
from glimp_local.load import LoadRequest
from glimp_local.routing import Model
from glimp_local.server import wire
from glimp_local.server.line import EndingError, Line, Places
from glimp_local.server.process import LoadError, RequestError, Worker

_log = logging.getLogger(__name__)

_HANG_SECONDS = 60.0
"""A batch of a long prompt on a slow machine takes less."""


class Run:
    """One request on its way: it waits for its turn, and then its events come. Iterate over it once, and close it.

    Raises what went wrong: EndingError, LoadError, RequestError, CrashError, or what making the request raised. What a
    reader has not read yet is kept for it, so that one who is slow holds up nobody.
    """

    def __init__(self) -> None:
        self._events: asyncio.Queue[AnyEvent | Exception | Literal["ping"] | None] = asyncio.Queue()
        self._put_at = asyncio.get_running_loop().time()
        self._pings_seconds = 0.0
        self._worker: Worker | None = None
        self._number = 0
        self.task: asyncio.Task[None]
        """Waits, and puts the events here."""

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> AnyEvent:
        while (event := await self._next()) == "ping":
            pass
        return event

    async def _next(self) -> AnyEvent | Literal["ping"]:
        event = await self._events.get()
        if event is None:
            raise StopAsyncIteration
        if isinstance(event, Exception):
            raise event
        return event

    async def with_pings(self, every_seconds: float) -> AsyncGenerator[AnyEvent | Literal["ping"], None]:
        """Yield the events, and a ping whenever none came for a while; raises like iterating over it.

        One timer for the whole run: a time limit for each token would cost more than all else that is done for it.
        """
        self._pings_seconds = every_seconds
        self._ping()
        with suppress(StopAsyncIteration):
            while True:
                yield await self._next()

    def _ping(self) -> None:
        loop = asyncio.get_running_loop()
        if self._events.empty() and loop.time() - self._put_at >= self._pings_seconds:
            self._events.put_nowait("ping")
            self._put_at = loop.time()
        if not self.task.done():
            loop.call_later(self._pings_seconds, self._ping)

    def begin(self, worker: Worker, number: int) -> None:
        """Note that its turn has come, and what the worker knows it by."""
        self._worker, self._number = worker, number

    def put(self, event: AnyEvent | Exception | None) -> None:
        """Have an event read; an error, or None, is the last."""
        self._events.put_nowait(event)
        self._put_at = asyncio.get_running_loop().time()

    def cancel(self) -> None:
        """Have the run end before its next token."""
        self._tell(wire.Cancel(self._number))

    def answer_now(self) -> None:
        """End the thought before its next token."""
        self._tell(wire.AnswerNow(self._number))

    def force(self, model: Model) -> None:
        """Let a model write the next step."""
        self._tell(wire.Force(self._number, model))

    def _tell(self, command: wire.Command) -> None:
        if self._worker is not None and not self.task.done():
            self._worker.send(command)

    @property
    def is_under_way(self) -> bool:
        """Has the worker begun with it, and not come to its end?"""
        return self._worker is not None and not self.task.done()

    def close(self) -> None:
        """Stop what is not over: before its next token if it has begun, at once if it waits.

        A worker that then says nothing for a minute hangs in a computation, and is killed.
        """
        if self._worker is None:
            self.task.cancel()
        elif self.is_under_way:
            self.cancel()
            asyncio.get_running_loop().call_later(_HANG_SECONDS, self._end_if_silent, self._worker, self._worker.said)

    def _end_if_silent(self, worker: Worker, said: int) -> None:
        if not self.task.done() and worker.said == said:
            _log.error("the process that computes hangs, and is ended")
            worker.kill()


class Neighbourhood(Protocol):
    """The other pairs of a server, as one of them sees them."""

    @property
    def mapped_bytes(self) -> int:
        """Pages of their files that they need."""
        ...

    async def make_room(self) -> bool:
        """Unload the one that was not used for the longest time; return False if there is none."""
        ...


class Hand:
    """Holds the worker of one pair. `is_elsewhere` says that this machine computes none of its models."""

    def __init__(
        self,
        request: LoadRequest,
        line: Line,
        neighbours: Neighbourhood | None = None,
        *,
        is_elsewhere: bool = False,
    ) -> None:
        self._request = request
        self._line = line
        self._neighbours = neighbours
        self._worker: Worker | None = None
        self._ready: wire.Ready | None = None
        self._loading: asyncio.Task[wire.Ready] | None = None
        self._runs: set[Run] = set()
        self._is_elsewhere = is_elsewhere
        self._own = Places()
        self.crashes = 0
        """How often a worker ended by itself."""
        self.used = 0.0
        """When it was used last, on the monotonic clock."""

    @property
    def known(self) -> wire.Ready | None:
        """The pair as it was loaded last; None before that."""
        return self._ready

    @property
    def ready(self) -> wire.Ready | None:
        """The pair, while it is loaded."""
        worker = self._worker
        return self._ready if worker is not None and worker.was_ready and not worker.has_ended else None

    @property
    def places(self) -> Places:
        """Where its requests wait."""
        return self._own if self._is_elsewhere else self._line.here

    @property
    def parallel(self) -> int:
        """Requests that it answers at the same time; 1 before it was loaded."""
        most = 1 if self._ready is None else self._ready.parallel
        return min(most, self._line.most_parallel or most)

    @property
    def kept(self) -> tuple[int, int]:
        """Conversations that are kept in memory beside the last one, and the bytes that they take."""
        worker = self._worker
        return (0, 0) if worker is None or worker.has_ended else (worker.kept, worker.kept_bytes)

    @property
    def is_busy(self) -> bool:
        """Is it being loaded, or does it answer a request, or have one waiting?"""
        return bool(self._runs) or (self._loading is not None and not self._loading.done())

    @property
    def is_unloaded(self) -> bool:
        """Was it loaded, and made room for another one?"""
        return self._ready is not None and self._worker is None

    async def unload(self) -> None:
        """Free the pair; the next request loads it again."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    async def start(self) -> wire.Ready:
        """Load the pair, if that has not been done; raises LoadError or CrashError if it cannot be loaded."""
        if (ready := self.ready) is not None:
            return ready
        if self._line.is_ending:
            raise EndingError
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)  # a client that leaves does not stop the loading

    def load_again(self) -> str:
        """Load the pair again if its worker has crashed; return in words why it is not ready."""
        loading = self._loading
        if self._line.is_ending:
            return str(EndingError())
        if loading is None or (loading.done() and not loading.cancelled() and loading.exception() is None):
            self._loading = asyncio.create_task(self._load())
        elif loading.done() and not loading.cancelled():
            error = loading.exception()
            if isinstance(error, LoadError) and error.kind == ServerError.__name__:  # it may be there again
                self._loading = asyncio.create_task(self._load())
            return f"the pair could not be loaded: {error}"
        return "the pair is being loaded"

    async def _load(self) -> wire.Ready:
        if self._worker is not None and self._worker.was_ready:
            self.crashes += 1
        others = self._neighbours
        mapped = 0 if others is None else others.mapped_bytes
        self._worker = worker = await Worker.start(wire.Load(self._request, mapped))
        while isinstance(report := await worker.loaded(), wire.Short):
            was_made = others is not None and await others.make_room()
            worker.send(wire.Room(was_made, 0 if others is None else others.mapped_bytes))
        if isinstance(report, wire.Failed):
            raise LoadError(report)
        if not isinstance(report, wire.Ready):
            raise await worker.crash()
        self._ready, worker.was_ready = report, True
        self._is_elsewhere = not report.computes_here
        self._own.set_most(self.parallel)
        return report

    def run(self, make: Callable[[wire.Ready], wire.Ask]) -> Run:
        """Have a request answered when its turn comes; `make` makes it for the pair, as soon as that is known.

        Raises BusyError at once if too many are waiting, and what `make` raises if the pair is known already.
        """
        self._line.check(self.places)
        ask = None if self._ready is None else make(self._ready)
        run = Run()
        run.task = asyncio.create_task(self._answer(run, make, ask))
        self._runs.add(run)
        run.task.add_done_callback(lambda _: self._runs.discard(run))
        return run

    async def _answer(self, run: Run, make: Callable[[wire.Ready], wire.Ask], ask: wire.Ask | None) -> None:
        try:
            async with self._line.turn(self.places):
                await self._compute(run, make, ask)
        except asyncio.CancelledError:
            self._line.metrics.left()
            raise
        except Exception as error:  # noqa: BLE001 - raised where the events are read
            run.put(error)
        else:
            run.put(None)

    async def _compute(self, run: Run, make: Callable[[wire.Ready], wire.Ask], ask: wire.Ask | None) -> None:
        if self._line.is_ending:
            raise EndingError
        ready = await self.start()
        if self._line.is_ending:
            raise EndingError
        self.used = monotonic()
        worker = self._worker
        assert worker is not None
        done = await self._follow(run, worker, ask or make(ready))
        if done is None:
            raise await worker.crash()
        worker.kept, worker.kept_bytes = done.kept, done.kept_bytes
        if done.is_outdated and self._worker is worker:
            self._worker = None  # the next request loads the pair again; those that this worker has come to their ends
        if self._worker is not worker and not worker.is_at_work:
            await worker.close()
        if done.failed is not None:
            if self._line.is_ending:  # it was cancelled before it had begun
                raise EndingError
            raise RequestError(done.failed)

    async def _follow(self, run: Run, worker: Worker, ask: wire.Ask) -> wire.Done | None:
        """Have a worker answer, and return how that ended; None if the worker did."""
        number = worker.begin(ask)
        run.begin(worker, number)
        try:
            while isinstance(report := await worker.report(number), wire.Happened):
                if isinstance(report.event, Finished):
                    self._line.metrics.add(report.event.stats, report.event.finish_reason)
                run.put(report.event)
        finally:
            worker.end(number)
        return report

    def cancel(self) -> None:
        """Have what is being answered end before its next token."""
        for run in self._runs:
            run.cancel()

    async def tokenize(self, text: str, model: Model | None) -> tuple[int, ...]:
        """Split a text into tokens of a model; raises what `start` raises, and CrashError if the worker ends."""
        await self.start()
        assert self._worker is not None
        return await self._worker.tokenize(text, model)

    async def close(self) -> None:
        """Cancel what is running and end the worker."""
        if self._worker is not None:
            if self.ready is None:
                self._worker.kill()  # it hears nothing while it loads
            await self._worker.close()
        await asyncio.gather(*(run.task for run in self._runs), return_exceptions=True)
