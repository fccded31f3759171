"""HTTP to one server: calls and streams that can be cancelled at any moment, and errors in words.

Connections live in a thread of the client's own, so that whoever waits for a reply can stop waiting: a cancel or a
`close` ends the connection at once, in whatever state it is. Promises: a connection is opened to the client's address
and nowhere else (no redirect is followed, no proxy used), and its key stands in no error. Knows nothing of models.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import httpx2
import msgspec

from glimp_local.engines.remote.address import Address
from glimp_local.engines.remote.troubles import Troubles
from glimp_local.errors import CancelledError, ServerError

CONNECT_SECONDS = 10.0
"""Longest time for a connection to be made."""
_LOOK_SECONDS = 0.05
"""Between two looks whether a cancel has come."""
_CLOSE_SECONDS = 5.0
"""For all connections to end."""
_MOST_BYTES = 2**26
"""Of one reply, and of one line of a stream."""
_MOST_WAITING = 100_000
"""Objects of a stream that nobody has read."""

_T = TypeVar("_T")
_NEVER = threading.Event()
_END = object()


class Client:
    """Speaks to one server. Threads may share it. Closing it ends all connections; safe to call twice."""

    def __init__(self, address: Address, key: str | None, *, timeout: float) -> None:
        self.address = address
        self._key = key
        self._timeout = timeout
        self._troubles = Troubles(address.place, key, timeout=timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._http: httpx2.AsyncClient | None = None
        self._lock = threading.Lock()
        self._closed = False

    def get(self, path: str, *, cancel: threading.Event = _NEVER) -> Any:
        """Return the JSON at a path; raises ServerError, and CancelledError if `cancel` is set meanwhile."""
        return self._wait(self._call("GET", path, None), cancel)

    def post(self, path: str, body: dict[str, Any], *, cancel: threading.Event = _NEVER) -> Any:
        """Send JSON and return the reply's; raises what `get` raises."""
        return self._wait(self._call("POST", path, body), cancel)

    def stream(self, path: str, body: dict[str, Any], *, cancel: threading.Event) -> Stream:
        """Send JSON and return the objects of the reply, as they come."""
        items: SimpleQueue[Any] = SimpleQueue()
        return Stream(items, self._submit(self._pump(path, body, items.put, items.qsize)), cancel)

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = None
        if loop is None or thread is None:
            return
        with contextlib.suppress(TimeoutError, FutureCancelledError):
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(_CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_SECONDS)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    # In the client's own thread.

    def _submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        with self._lock:
            if self._closed:
                work.close()
                raise ServerError("the pair has been closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name=f"glimp-{self.address.place}", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, _T], cancel: threading.Event) -> _T:
        future = self._submit(work)
        try:
            while True:
                try:
                    return future.result(_LOOK_SECONDS)
                except TimeoutError:
                    if cancel.is_set():
                        raise CancelledError(f"cancelled while waiting for {self.address.place}") from None
                except FutureCancelledError:
                    raise ServerError("the pair has been closed") from None
        finally:
            future.cancel()

    def _opened(self) -> httpx2.AsyncClient:
        if self._http is None:
            headers = {"accept-encoding": "identity", "user-agent": "glimp-local"}
            if self._key is not None:
                headers["authorization"] = f"Bearer {self._key}"
            self._http = httpx2.AsyncClient(
                headers=headers,
                timeout=httpx2.Timeout(self._timeout, connect=CONNECT_SECONDS, pool=None),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
                verify=ssl.create_default_context() if self.address.is_encrypted else False,
                trust_env=False,  # a proxy is an address that the user did not set here
            )
        return self._http

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            content = await self._content(method, path, body)
        except ServerError as error:
            if error.why != "lost":
                raise
            content = await self._content(method, path, body)  # these requests change nothing: once more is safe
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise self._troubles.error(f"its reply to {path} is no JSON", "unknown") from error

    async def _content(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        async with self._reply(method, path, body) as response:
            return await _whole(response)

    async def _pump(
        self, path: str, body: dict[str, Any], put: Callable[[Any], None], waiting: Callable[[], int]
    ) -> None:
        """Put the objects of a streamed reply into a queue, and its end, or what ended it."""
        try:
            async with self._reply("POST", path, body) as response:
                async for line in _lines(response):
                    data = line.removeprefix(b"data:").strip() if not line.startswith(b"error:") else line[6:].strip()
                    if data == b"[DONE]":
                        break
                    found = msgspec.json.decode(data)
                    if isinstance(found, dict) and found.get("error"):
                        put(self._troubles.of_reply(400, data))
                        return
                    if waiting() > _MOST_WAITING:
                        put(self._troubles.error("it sends faster than is read", "refused"))
                        return
                    put(found)
            put(_END)
        except ServerError as error:
            put(error)
        except msgspec.DecodeError:
            put(self._troubles.error("a line of its reply is no JSON", "refused"))
        except Exception as error:  # noqa: BLE001 - whoever reads the stream has to hear of it
            put(self._troubles.error(f"something unforeseen happened ({type(error).__name__}: {error})", "refused"))

    @contextlib.asynccontextmanager
    async def _reply(self, method: str, path: str, body: dict[str, Any] | None) -> AsyncIterator[httpx2.Response]:
        """Open a reply, and a second time if a connection that was kept turns out to be dead."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if content is not None else {}
        http = self._opened()
        is_last_try = False
        while True:
            request = http.build_request(method, self.address.url + path, content=content, headers=headers)
            try:
                response = await http.send(request, stream=True)
                break
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError) as error:
                if is_last_try:
                    raise self._troubles.of_connection(error) from error
                is_last_try = True
            except httpx2.HTTPError as error:
                raise self._troubles.of_connection(error) from error
        try:
            if response.status_code != httpx2.codes.OK:
                raise self._troubles.of_reply(response.status_code, await _whole(response))
            yield response
        except httpx2.HTTPError as error:
            raise self._troubles.of_connection(error) from error
        finally:
            await response.aclose()


class Stream:
    """The objects of one streamed reply. Whoever reads them closes it."""

    def __init__(self, items: SimpleQueue[Any], task: Future[None], cancel: threading.Event) -> None:
        self._items = items
        self._task = task
        self._cancel = cancel

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        """Return the next object; raises ServerError, and CancelledError if the cancel is set meanwhile."""
        while not self._cancel.is_set():
            try:
                item = self._items.get(timeout=_LOOK_SECONDS)
            except Empty:
                if self._task.done() and self._items.empty():  # the client was closed
                    raise ServerError("the pair has been closed") from None
                continue
            if item is _END:
                raise StopIteration
            if isinstance(item, ServerError):
                raise item
            return item
        self.close()
        raise CancelledError("cancelled while waiting for a server")

    def close(self) -> None:
        """End the connection: the server stops writing."""
        self._task.cancel()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _whole(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > _MOST_BYTES:
            raise httpx2.RemoteProtocolError("the reply has no end")
    return bytes(content)


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield the lines of a stream that hold something; comments, which are signs of life, are none."""
    held = bytearray()
    async for part in response.aiter_bytes():
        held += part
        if b"\n" not in part:
            if len(held) > _MOST_BYTES:
                raise httpx2.RemoteProtocolError("a line of the reply has no end")
            continue
        *lines, rest = held.split(b"\n")
        held = bytearray(rest)
        for line in lines:
            if line.startswith((b"data:", b"error:", b"{")):
                yield bytes(line)
