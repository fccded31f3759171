"""A TCP relay in front of a server, which loses connections, delays and falls silent when a test says so.

It copies bytes and knows HTTP only as far as a stream's events end with an empty line and a server that still loads
its model answers 503. What a test sets holds from then on for all connections, those that are open included.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import threading
import warnings
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

_Result = TypeVar("_Result")

LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
"""What llama-server answers while it loads; it closes the connection then."""
_READ_BYTES = 65536
_EVENT_END = b"\n\n"
_SECONDS = 10.0


class _Ended(Exception):  # noqa: N818 - no error: what a connection is told
    """The connection is to be closed."""


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, in order if the other side lets it: it may neither read what is left nor say goodbye."""
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 0.2)
    writer.transport.abort()


class _Connection:
    """Both directions between one client and the server."""

    def __init__(self, relay: Relay, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._relay = relay
        self._reader, self.writer = client
        self.sent_bytes = 0
        """To the client, since it connected."""
        self._cut: Cut | None = None
        self._cut_bytes = self._cut_events = 0
        self._tail = b""

    async def run(self) -> None:
        with suppress(OSError, _Ended):
            if self._relay.is_loading:
                await self._say_loading()
                return
            reader, writer = await asyncio.open_connection(*self._relay.target)
            try:
                down = asyncio.ensure_future(self._copy(reader, self._to_client))
                up = asyncio.ensure_future(self._copy(self._reader, _sender(writer)))
                done, waiting = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*done, *waiting, return_exceptions=True)
            finally:
                await _close(writer)

    async def _say_loading(self) -> None:
        head = await self._reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await self._reader.readexactly(int(line.partition(b":")[2]))
        body = json.dumps(LOADING).encode()
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        self.writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await self.writer.drain()

    async def _copy(self, reader: asyncio.StreamReader, send: Any) -> None:
        """Pass on what comes, each piece as late as the relay's delay wants, until one side ends."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            data = b"begin"
            while data:
                try:
                    data = await reader.read(_READ_BYTES)
                except OSError:
                    data = b""
                pieces.put_nowait((loop.time() + self._relay.delay_seconds, data))

        reading = asyncio.ensure_future(read())
        try:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._relay.passing.wait()
                if not data:
                    return
                await send(data)
        finally:
            reading.cancel()

    async def _to_client(self, data: bytes) -> None:
        cut = self._relay.next_cut
        if cut is not self._cut:
            self._cut, self._cut_bytes, self._cut_events, self._tail = cut, 0, 0, b""
        allowed = len(data) if cut is None else self._allowed(cut, data)
        self.sent_bytes += allowed
        if allowed:
            self.writer.write(data[:allowed])
            await self.writer.drain()
        if cut is not None and cut.is_reached(self._cut_bytes, self._cut_events):
            cut.times -= 1
            if not cut.times:
                self._relay.next_cut = None
            raise _Ended

    def _allowed(self, cut: Cut, data: bytes) -> int:
        """Count the bytes of a piece that stand before the cut."""
        for at in range(len(data)):
            if cut.is_reached(self._cut_bytes, self._cut_events):
                return at
            self._cut_bytes += 1
            self._tail = (self._tail + data[at : at + 1])[-len(_EVENT_END) :]
            self._cut_events += self._tail == _EVENT_END
        return len(data)


class Cut:
    """Where connections end: behind the first N bytes or events to the client, the next `times` times."""

    def __init__(self, *, size_bytes: int | None, events: int | None, times: int) -> None:
        self._bytes, self._events, self.times = size_bytes, events, times

    def is_reached(self, size_bytes: int, events: int) -> bool:
        return (self._bytes is not None and size_bytes >= self._bytes) or (
            self._events is not None and events >= self._events
        )


def _sender(writer: asyncio.StreamWriter) -> Any:
    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return send


class Relay:
    """A relay to `target` (a URL, or host:port) on a port of its own; a context manager.

    With `tls` the relay speaks TLS to its clients, and its `url` begins with https; the server is still asked in plain.
    """

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        parts = urlsplit(target if "//" in target else f"//{target}")
        assert parts.hostname is not None
        assert parts.port is not None
        self.target = parts.hostname, parts.port
        self.delay_seconds = 0.0
        """Each piece is late by this much, each way: half a round trip. Connecting is not delayed."""
        self.is_loading = False
        """Answer every request with 503, as llama-server does while it loads its model."""
        self.accepted = 0
        """Connections so far."""
        self.next_cut: Cut | None = None
        self.passing = asyncio.Event()
        self.passing.set()
        self._tls = tls
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self.port = port
        self.listen()

    @property
    def url(self) -> str:
        """Its base, as clients are given it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    @property
    def sent_bytes(self) -> int:
        """Bytes to the clients over connections that are open now."""
        return sum(connection.sent_bytes for connection in self._connections)

    def cut(self, *, reset: bool = False) -> int:
        """End all connections now, on both sides, and return how many: in order, or (`reset`) with a TCP reset."""
        return self._do(self._end_all(reset=reset))

    def cut_after(self, *, size_bytes: int | None = None, events: int | None = None, times: int = 1) -> None:
        """End a connection behind exactly this many more bytes, or events of a stream, to its client.

        Each connection counts for itself from now on; after `times` of them the relay passes everything on again.
        """
        cut = Cut(size_bytes=size_bytes, events=events, times=times)
        self._call(lambda: setattr(self, "next_cut", cut))

    def refuse(self) -> None:
        """Refuse new connections, as a machine does on which nothing listens; open ones stay."""
        self._do(self._stop_listening())

    def listen(self) -> None:
        """Accept connections (again), on the same port."""
        self._do(self._listen())

    def silence(self) -> None:
        """Pass nothing on, either way, as a cut cable would; connections are accepted and stay open."""
        self._call(self.passing.clear)

    def speak(self) -> None:
        """Pass everything on again, what was held back included."""
        self._call(self.passing.set)

    def load_for(self, seconds: float) -> None:
        """Answer that the model is loading for this long, and then pass everything on."""
        self.is_loading = True
        self._call(lambda: self._loop.call_later(seconds, setattr, self, "is_loading", False))

    def close(self) -> None:
        """End everything, the thread included."""
        self._do(self._finish())
        self._call(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()
        # asyncio leaves a connection open that was just being made when its task was cancelled. It is collected here,
        # and not in the middle of some other test, which would be blamed for it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # In the relay's thread.

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _finish(self) -> None:
        await self._stop_listening()
        # A connection that was just accepted, or whose client refuses the certificate, belongs to nobody yet.
        await asyncio.sleep(0.02 if self._tls is None else 0.5)
        await self._end_all(reset=False)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(self, (reader, writer))
        self._connections.add(connection)
        self._tasks.add(task)
        try:
            with suppress(asyncio.CancelledError, asyncio.IncompleteReadError):
                await connection.run()
        finally:
            await _close(writer)
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _end_all(self, *, reset: bool) -> int:
        ended = list(self._connections)
        if reset:
            for connection in ended:
                own: socket.socket = connection.writer.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in ended:
            with suppress(OSError):
                await connection.writer.wait_closed()
        return len(ended)

    # From other threads.

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    def _call(self, work: Any) -> None:
        done: Future[None] = Future()

        def call() -> None:
            work()
            done.set_result(None)

        self._loop.call_soon_threadsafe(call)
        done.result(_SECONDS)
