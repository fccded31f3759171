"""HTTP to one server: calls and streams that can be cancelled at any moment, and errors in words.

Connections live in a thread of the client's own, so that whoever waits for a reply can stop waiting: a cancel or a
`close` ends the connection at once, in whatever state it is. Promises: a connection is opened to the client's address
and nowhere else (no redirect is followed, no proxy used), and its key stands in no error. Knows nothing of models.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
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
from glimp_local.errors import CancelledError, ServerError, ServerTrouble
from glimp_local.text import one_line

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
_MOST_REASON = 300
"""Characters of a server's own words that are shown."""

_T = TypeVar("_T")
_NEVER = threading.Event()
_END = object()
_UNKNOWN = {400, 404, 405, 501}
"""What servers answer that do not know a path."""
_GATEWAYS = {502, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_FULL_WORDS = ("maximum context length", "context size", "context length", "input_tokens")


class Client:
    """Speaks to one server. Threads may share it. Closing it ends all connections; safe to call twice."""

    def __init__(self, address: Address, key: str | None, *, timeout: float) -> None:
        self.address = address
        self._key = key
        self._timeout = timeout
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
            raise self._error(f"its reply to {path} is no JSON", "unknown") from error

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
                        put(self._refusal(400, data))
                        return
                    if waiting() > _MOST_WAITING:
                        put(self._error("it sends faster than is read", "refused"))
                        return
                    put(found)
            put(_END)
        except ServerError as error:
            put(error)
        except msgspec.DecodeError:
            put(self._error("a line of its reply is no JSON", "refused"))
        except Exception as error:  # noqa: BLE001 - whoever reads the stream has to hear of it
            put(self._error(f"something unforeseen happened ({type(error).__name__}: {error})", "refused"))

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
                    raise self._trouble(error) from error
                is_last_try = True
            except httpx2.HTTPError as error:
                raise self._trouble(error) from error
        try:
            if response.status_code != httpx2.codes.OK:
                raise self._refusal(response.status_code, await _whole(response))
            yield response
        except httpx2.HTTPError as error:
            raise self._trouble(error) from error
        finally:
            await response.aclose()

    # Errors.

    def _error(self, words: str, why: ServerTrouble, hint: str | None = None) -> ServerError:
        return ServerError(f"{self.address.place}: {words}", hint=hint, why=why)

    def _scrubbed(self, content: bytes) -> bytes:
        """Return a reply without the key, however it is spelled there."""
        if self._key is None:
            return content
        return content.replace(self._key.encode(), b"***").replace(msgspec.json.encode(self._key)[1:-1], b"***")

    def _trouble(self, error: httpx2.HTTPError) -> ServerError:
        cause: BaseException | None = error
        while cause is not None:
            if (found := self._cause(cause)) is not None:
                return found
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectTimeout):
            return self._error("does not answer", "unreachable", "is the machine on, and the port open?")
        if isinstance(error, httpx2.ConnectError):
            return self._error(f"cannot be reached: {_reason(error)}", "unreachable", "check the address")
        if isinstance(error, httpx2.TimeoutException):
            return self._error(
                f"no sign of life for {self._timeout:g} seconds", "silent", "give it more with `timeout`"
            )
        return self._error(f"the connection was lost ({_reason(error)})", "lost")

    def _cause(self, cause: BaseException) -> ServerError | None:
        """Return the error that the system, or TLS, gives for a connection that could not be made."""
        match cause:
            case ssl.SSLError():
                return self._tls(cause)
            case socket.gaierror():
                return self._error("there is no machine of this name", "unreachable", "check the address")
            case ConnectionRefusedError():
                return self._error("nothing listens there", "unreachable", "is the server running, on this port?")
        return None

    def _tls(self, error: ssl.SSLError) -> ServerError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._error(
                f"its certificate cannot be trusted: {error.verify_message}",
                "refused",
                "name the authority's certificate in the environment variable SSL_CERT_FILE",
            )
        return self._error(
            f"no encrypted connection ({error.reason or error})", "refused", "does it speak https? else use http://"
        )

    def _refusal(self, status: int, content: bytes) -> ServerError:
        """Return the error that a reply is."""
        words, kind = _words(self._scrubbed(content))
        text = f"{words} {kind}".lower()
        if status in {401, 403}:
            hint = "set key_env, or key_file" if self._key is None else "check the key"
            return self._error("it asks for a key" if self._key is None else "it refuses the key", "key", hint)
        if status == httpx2.codes.SERVICE_UNAVAILABLE:
            return self._error("it is still loading its model", "loading", "try again in a moment")
        if status == httpx2.codes.BAD_REQUEST and any(one in text for one in _FULL_WORDS):
            return self._error(words, "full")
        if status in _GATEWAYS:
            return self._error(f"the gateway before it cannot reach it (status {status})", "lost")
        if status in _REDIRECTS:
            return self._error("it sends elsewhere, and no redirect is followed", "refused", "set that address as url")
        why: ServerTrouble = "unknown" if status in _UNKNOWN else "refused"
        return self._error(f"{words or 'no reason given'} (status {status})", why)


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


def _words(content: bytes) -> tuple[str, str]:
    """Return a server's reason, and what kind of error it calls it."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return one_line(content[:_MOST_REASON].decode("utf-8", "replace")), ""
    kind = ""
    for key in ("error", "detail", "message"):
        if isinstance(found, dict) and key in found:
            kind = f"{kind} {found.get('type', '')} {found.get('param', '')}"
            found = found[key]
    return one_line(str(found))[:_MOST_REASON], kind


def _reason(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
