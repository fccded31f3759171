"""The endpoints of the server, as a Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from secrets import token_hex
from time import monotonic, time
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from glimp_local import __version__
from glimp_local.errors import GlimpError
from glimp_local.events import AnyEvent, Finished, Started, Text
from glimp_local.server import failures, names, wire
from glimp_local.server.chat import Reply
from glimp_local.server.guard import LOCAL_ORIGINS, Guard
from glimp_local.server.hand import EndingError, Hand, Run
from glimp_local.server.metrics import Metrics
from glimp_local.server.requests import BodyError, Wanted, read_chat, wanted
from glimp_local.server.streams import GONE, Stream, after, until_gone, with_pings

_T = TypeVar("_T")
_MOST_BYTES = 8 * 2**20
"""Largest body of a request."""
_PING_SECONDS = 10.0
"""A stream is silent no longer than this: a comment is sent while a long prompt is read."""
_PING = b": reading\n\n"
_DONE = b"data: [DONE]\n\n"


class ServerOptions(msgspec.Struct, frozen=True):
    """How a server is reached."""

    host: str = "127.0.0.1"
    key: str | None = None
    """What clients have to know; None: nothing."""
    origins: str = LOCAL_ORIGINS
    """A regular expression of the origins whose pages may read replies."""
    ping_seconds: float = _PING_SECONDS
    seed: int | None = None
    """Of requests that bring none."""


class Server:
    """The endpoints over one pair."""

    def __init__(self, hand: Hand, options: ServerOptions) -> None:
        self._hand = hand
        self._options = options
        self._runs: dict[str, Run] = {}
        self._began = int(time())
        self.metrics = Metrics()

    def app(self) -> Starlette:
        """Make the application."""
        options = self._options
        routes = [
            Route("/health", self.health),
            Route("/v1/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/chat/completions/control", self.control, methods=["POST"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/props", self.props),
            Route("/metrics", self.show_metrics),
        ]
        middleware = [
            Middleware(
                CORSMiddleware,
                allow_origin_regex=options.origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "x-glimp-pair", "x-glimp-policy"],
            ),
            Middleware(Guard, host=options.host, key=options.key, origins=options.origins, most_bytes=_MOST_BYTES),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            HTTPException: self._http_error,
            GlimpError: self._error,
            ClientDisconnect: self._left,
            Exception: self._unexpected,
        }
        return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)

    async def load(self) -> wire.Ready:
        """Load the pair; raises what `Hand.start` raises."""
        return await self._hand.start()

    async def close(self) -> None:
        """Free the pair."""
        await self._hand.close()

    def stop(self) -> None:
        """Have what is being written end before its next token. Callable from a signal handler."""
        self._hand.is_ending = True
        asyncio.get_running_loop().call_soon_threadsafe(self._hand.cancel)

    # Endpoints.

    async def health(self, _request: Request) -> Response:
        """Say whether a request would be answered at once."""
        if self._hand.ready is None:
            what = self._hand.load_again()
            return failures.failure(503, what, kind="unavailable_error", code="loading")
        return _json({"status": "ok"})

    async def models(self, _request: Request) -> Response:
        """List the ids."""
        ready = await self._hand.start()
        return _json({"object": "list", "data": [self._described(name, ready) for name in names.listed(ready)]})

    async def model(self, request: Request) -> Response:
        """Describe one id."""
        ready, name = await self._hand.start(), request.path_params["name"]
        names.settings_of(name, ready)
        return _json(self._described(name, ready))

    def _described(self, name: str, ready: wire.Ready) -> dict[str, Any]:
        settings = names.settings_of(name, ready)
        shown = {name: getattr(settings, name) for name in ("policy", "threshold", "share", "answer_by")}
        models = {model: msgspec.to_builtins(served) for model, served in ready.models.items()}
        return {
            "id": name,
            "object": "model",
            "created": self._began,
            "owned_by": "glimp",
            "meta": {"n_ctx": _context(ready), "n_ctx_train": min(m.trained_context for m in ready.models.values())},
            "glimp": {**shown, "thinks": ready.thinks, "models": models},
        }

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        body = read_chat(await request.body())
        ready = await self._hand.start()
        name = body.model or ready.pair
        asked = wanted(body, names.settings_of(body.model, ready), thinks=ready.thinks, system=ready.system)
        id_ = f"chatcmpl-{token_hex(12)}"
        headers = {
            "x-request-id": id_,
            "x-glimp-pair": quote(ready.pair, safe=" +/:=."),
            "x-glimp-policy": asked.settings.policy,
        }
        reply = Reply(id_, name, asked)
        if asked.streams:
            headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            chunks = self._stream(reply, asked)
            first = await until_gone(request, anext(chunks))  # what is refused gets a status of its own
            return Stream(after(first, chunks), media_type="text/event-stream", headers=headers)
        await until_gone(request, self._answer(reply, asked))
        return _json(reply.whole(), headers)

    async def _answer(self, reply: Reply, asked: Wanted) -> None:
        async with self._run(reply, asked) as run:
            async for event in run:
                for _ in reply.deltas(event):
                    pass
                self._took(event, reply, run)

    async def _stream(self, reply: Reply, asked: Wanted) -> AsyncGenerator[bytes, None]:
        """Yield a reply as server-sent events. What fails behind the first chunk is sent as one."""
        begun = False
        try:
            async with (
                self._run(reply, asked) as run,
                aclosing(with_pings(run, self._options.ping_seconds)) as events,
            ):
                async for event in events:
                    begun = begun or event is None or isinstance(event, Started)
                    if event is None:
                        yield _PING
                        continue
                    for chunk in reply.deltas(event):
                        yield _event(chunk)
                    self._took(event, reply, run)
        except GlimpError as error:
            if not begun:
                raise
            yield _event(failures.described(error)[1])
        else:
            for chunk in reply.last_chunks():
                yield _event(chunk)
        yield _DONE

    @asynccontextmanager
    async def _run(self, reply: Reply, asked: Wanted) -> AsyncIterator[Run]:
        """Have the worker answer; the reply's id names the run for `control` meanwhile."""
        began, id_ = monotonic(), reply.id
        seed = self._options.seed if asked.seed is None else asked.seed
        async with self._hand.run(wire.Ask(asked.messages, asked.settings, seed, anyway=asked.anyway)) as run:
            self.metrics.waited(monotonic() - began)
            self._runs[id_] = run
            try:
                yield run
            finally:
                del self._runs[id_]

    def _took(self, event: AnyEvent, reply: Reply, run: Run) -> None:
        """End a run whose answer came to a stop text, and count one that is over; raises GlimpError if it failed."""
        if isinstance(event, Text) and reply.has_stopped:
            run.cancel()
        if not isinstance(event, Finished):
            return
        self.metrics.add(event.stats, event.finish_reason)
        if event.finish_reason == "cancelled" and not reply.has_stopped:
            raise EndingError
        if event.finish_reason == "failed":
            raise GlimpError("llama.cpp could not continue the reply")

    async def control(self, request: Request) -> Response:
        """End the thought of a reply that is being written, or let a model write its next step."""
        asked = _decode(await request.body(), Control)
        run = self._runs.get(asked.id)
        if run is None:
            raise BodyError(f"id: no reply {asked.id[:100]!r} is being written", param="id")
        if asked.action == "reasoning_end":
            run.answer_now()
        else:
            run.force("small" if asked.action == "force_small" else "large")
        return _json({"success": True})

    async def tokenize(self, request: Request) -> Response:
        """Split a text into tokens."""
        asked = _decode(await request.body(), TokenizeBody)
        ready = await self._hand.start()
        policy = names.settings_of(asked.model, ready).policy
        model = policy if policy == "small" or policy == "large" else None  # noqa: PLR1714 - the type checker follows it
        return _json({"tokens": await self._hand.tokenize(asked.content, model)})

    async def props(self, _request: Request) -> Response:
        """Report what llama-server reports, as far as it applies."""
        ready = await self._hand.start()
        return _json(
            {
                "default_generation_settings": {"n_ctx": _context(ready)},
                "total_slots": 1,
                "model_alias": ready.pair,
                "build_info": f"glimp-{__version__}",
                "glimp": {"settings": msgspec.to_builtins(ready.settings), "notices": ready.notices},
            }
        )

    async def show_metrics(self, _request: Request) -> Response:
        """Report counters in Prometheus's text format."""
        hand = self._hand
        running = int(hand.is_running)
        text = self.metrics.text(waiting=hand.waiting, running=running, crashes=hand.crashes, kept=hand.kept)
        return Response(text, media_type="text/plain; version=0.0.4")

    # Errors.

    async def _http_error(self, request: Request, error: HTTPException) -> Response:
        if error.status_code == GONE:
            return Response(status_code=GONE)
        what = f"{request.method} {request.url.path}"
        message = f"there is no {what}" if error.status_code == 404 else f"{what}: {error.detail}"  # noqa: PLR2004 - HTTP
        code = "not_found" if error.status_code == 404 else "http_error"  # noqa: PLR2004 - HTTP
        return failures.failure(error.status_code, message, code=code, headers=error.headers)

    async def _error(self, _request: Request, error: GlimpError) -> Response:
        self.metrics.failed += 1
        return failures.response(error)

    async def _left(self, _request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=GONE)

    async def _unexpected(self, _request: Request, error: Exception) -> Response:
        self.metrics.failed += 1
        return failures.failure(500, f"unexpected error: {error!r}", kind="server_error", code="internal_error")


class Control(msgspec.Struct):
    """What is to happen to a reply."""

    id: str
    action: str

    def __post_init__(self) -> None:
        """Refuse an action that there is not."""
        actions = ("reasoning_end", "force_small", "force_large")
        if self.action not in actions:
            raise ValueError(f"action: one of {', '.join(actions)}")


class TokenizeBody(msgspec.Struct):
    """A text to be split."""

    content: str
    model: str | None = None


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(str(error)) from error


def _context(ready: wire.Ready) -> int:
    return min(model.context for model in ready.models.values())


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


def _event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
