"""The endpoints of the server, as a Starlette application."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from secrets import token_hex
from time import time
from typing import Any
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
from glimp_local.routing import MODELS, Model
from glimp_local.server import failures, names, page, wire
from glimp_local.server.bodies import BodyError, ChatBody, Options, read
from glimp_local.server.chat import ChatReply
from glimp_local.server.completions import CompletionBody, CompletionReply, completion_wanted, prompt_of
from glimp_local.server.guard import Guard, origins_of
from glimp_local.server.hand import BusyError, EndingError, Hand, Run
from glimp_local.server.inputs import ResponseBody, as_chat
from glimp_local.server.pairs import Pairs
from glimp_local.server.reply import Reply
from glimp_local.server.requests import Wanted, wanted
from glimp_local.server.responses import ResponseReply, echoed
from glimp_local.server.streams import GONE, Stream, after, until_gone
from glimp_local.settings import RunSettings

_MOST_BYTES = 8 * 2**20
"""Largest body of a request."""
_PING = b": waiting\n\n"
Check = Callable[[RunSettings, wire.Ready], Wanted]
"""Checks a request against the settings that its model's id stands for, and its pair."""


class ServerOptions(msgspec.Struct, frozen=True):
    """How a server is reached."""

    host: str = "127.0.0.1"
    key: str | None = None
    """What clients have to know; None: nothing."""
    origins: tuple[str, ...] = ()
    """Whose pages may use the server besides this machine's; "*" is any."""
    ping_seconds: float = 10.0
    """A stream is silent no longer than this: a comment is sent while it waits, or a long prompt is read."""
    seed: int | None = None
    """Of requests that bring none."""
    logs_content: bool = False
    """Write what is asked and answered to stderr?"""


class Server:
    """The endpoints over pairs."""

    def __init__(self, pairs: Pairs, options: ServerOptions) -> None:
        self._pairs = pairs
        self._line = pairs.line
        self._options = options
        self._runs: dict[str, tuple[Reply, Run]] = {}
        self._began = int(time())
        self.metrics = pairs.line.metrics

    def app(self) -> Starlette:
        """Make the application."""
        options = self._options
        origins = origins_of(options.origins)
        routes = [
            Route("/health", self.health),
            Route("/v1/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/responses", self.respond, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/chat/completions/control", self.control, methods=["POST"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/props", self.props),
            Route("/metrics", self.show_metrics),
            *page.routes(),
        ]
        middleware = [
            Middleware(
                CORSMiddleware,
                allow_origin_regex=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "x-glimp-pair", "x-glimp-policy"],
            ),
            Middleware(Guard, host=options.host, key=options.key, origins=origins, most_bytes=_MOST_BYTES),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            HTTPException: self._http_error,
            GlimpError: self._error,
            ClientDisconnect: self._left,
            Exception: self._unexpected,
        }
        return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)

    async def load(self) -> wire.Ready:
        """Load the first pair; raises what `Hand.start` raises."""
        return await self._pairs.first.start()

    async def close(self) -> None:
        """Free all pairs."""
        await self._pairs.close()

    def stop(self) -> None:
        """Have what is being written end before its next token. Callable from a signal handler."""
        self._line.is_ending = True
        for hand in self._pairs:
            asyncio.get_running_loop().call_soon_threadsafe(hand.cancel)

    # Endpoints.

    async def health(self, _request: Request) -> Response:
        """Say whether a request would be answered at once."""
        first = self._pairs.first
        if first.ready is None and not first.is_unloaded:
            what = first.load_again()
            return failures.failure(503, what, kind="unavailable_error", code="loading")
        return _json({"status": "ok"})

    async def models(self, _request: Request) -> Response:
        """List the ids."""
        await self._pairs.first.start()
        data = [self._described(id_, hand) for name, hand in self._pairs.items() for id_ in _ids(name, hand)]
        return _json({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """Describe one id."""
        name = request.path_params["name"]
        hand = self._pairs.of(name)
        if hand is self._pairs.first:
            await hand.start()
        return _json(self._described(name, hand))

    def _described(self, name: str, hand: Hand) -> dict[str, Any]:
        described = {"id": name, "object": "model", "created": self._began, "owned_by": "glimp"}
        ready, is_loaded = hand.known, hand.ready is not None
        if ready is None:  # nothing is known of a pair before it is loaded
            return {**described, "glimp": {"loaded": is_loaded}}
        settings = names.settings_of(name, ready)
        shown = {name: getattr(settings, name) for name in ("policy", "threshold", "share", "answer_by")}
        models = {model: msgspec.to_builtins(served) for model, served in ready.models.items()}
        return {
            **described,
            "meta": {"n_ctx": _context(ready), "n_ctx_train": min(m.trained_context for m in ready.models.values())},
            "glimp": {"loaded": is_loaded, **shown, "thinks": ready.thinks, "models": models},
        }

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        body = read(await request.body(), ChatBody)
        return await self._reply(request, body, ChatReply(f"chatcmpl-{token_hex(12)}"), partial(wanted, body))

    async def respond(self, request: Request) -> Response:
        """Answer a conversation, as OpenAI's Responses do."""
        body = read(await request.body(), ResponseBody)
        reply = ResponseReply(f"resp_{token_hex(12)}", echoed(body))
        return await self._reply(request, body, reply, partial(wanted, as_chat(body)))

    async def complete(self, request: Request) -> Response:
        """Continue a text."""
        body = read(await request.body(), CompletionBody)
        reply = CompletionReply(f"cmpl-{token_hex(12)}", echoes=prompt_of(body) if body.echo else "")
        return await self._reply(request, body, reply, partial(completion_wanted, body))

    async def _reply(self, request: Request, body: Options, reply: Reply, check: Check) -> Response:
        hand = self._pairs.of(body.model)
        if body.glimp and body.glimp.wait is False and (hand.ready is None or self._line.is_running):
            raise BusyError("the pair is in use, or being loaded", hint="leave glimp.wait out to wait for it")

        def make(ready: wire.Ready) -> wire.Ask:
            asked = check(names.settings_of(body.model, ready), ready)
            reply.begin(body.model or ready.pair, asked)
            return self._ask(asked)

        run = hand.run(make)
        if body.stream:
            chunks = self._stream(reply, run)
            first = await until_gone(request, anext(chunks))  # what is refused gets a status of its own
            headers = _headers(reply, hand) | {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return Stream(after(first, chunks), media_type="text/event-stream", headers=headers)
        await until_gone(request, self._answer(reply, run))
        return _json(reply.whole(), _headers(reply, hand))

    def _log(self, reply: Reply) -> None:
        """Write what was asked and answered to stderr, if that is wanted."""
        if self._options.logs_content and reply.policy is not None:
            said = {"thought": reply.thought, "answer": reply.content, "tool_calls": reply.calls}
            line = {"id": reply.id, "model": reply.model, "messages": reply.asked.messages, **said}
            sys.stderr.write(json.dumps(msgspec.to_builtins(line)) + "\n")  # ASCII: it steers no terminal
            sys.stderr.flush()

    def _ask(self, asked: Wanted) -> wire.Ask:
        return wire.Ask(
            asked.messages,
            asked.settings,
            self._options.seed if asked.seed is None else asked.seed,
            anyway=asked.anyway,
            tools=asked.tools,
            constraint=asked.constraint,
            opening=asked.opening,
            is_raw=asked.is_raw,
        )

    async def _answer(self, reply: Reply, run: Run) -> None:
        with self._named(reply, run):
            async for event in run:
                for _ in reply.objects(event):
                    pass
                _check(event, reply, run)

    async def _stream(self, reply: Reply, run: Run) -> AsyncGenerator[bytes, None]:
        """Yield a reply as server-sent events. What fails behind the first chunk is sent as one."""
        begun = False
        try:
            with self._named(reply, run):
                async with aclosing(run.with_pings(self._options.ping_seconds)) as events:
                    async for event in events:
                        begun = begun or event == "ping" or isinstance(event, Started)
                        if event == "ping":
                            yield _PING
                            continue
                        for value in reply.objects(event):
                            yield reply.encode(value)
                        _check(event, reply, run)
        except GlimpError as error:
            if not begun:
                raise
            self.metrics.failed += 1
            for value in reply.failed(failures.described(error)[1]):
                yield reply.encode(value)
        else:
            for value in reply.last():
                yield reply.encode(value)
        if reply.ends_with:
            yield reply.ends_with

    @contextmanager
    def _named(self, reply: Reply, run: Run) -> Iterator[None]:
        """Let `control` find the run by the reply's id, and close it in the end."""
        self._runs[reply.id] = reply, run
        try:
            yield
        finally:
            del self._runs[reply.id]
            run.close()
            self._log(reply)

    async def control(self, request: Request) -> Response:
        """End the thought of a reply that is being written, or let a model write its next step."""
        asked = read(await request.body(), Control)
        reply, run = self._runs.get(asked.id, (None, None))
        if reply is None or run is None or not run.is_under_way:
            raise BodyError(f"id: no reply {asked.id[:100]!r} is being written", param="id")
        if asked.action == "reasoning_end":
            run.answer_now()
            return _json({"success": True})
        model: Model = "small" if asked.action == "force_small" else "large"
        if reply.policy in MODELS and reply.policy != model:
            raise BodyError(f"action: the {reply.policy} model alone writes this reply", param="action")
        run.force(model)
        return _json({"success": True})

    async def tokenize(self, request: Request) -> Response:
        """Split a text into tokens."""
        asked = read(await request.body(), TokenizeBody)
        hand = self._pairs.of(asked.model)
        ready = await hand.start()
        policy = names.settings_of(asked.model, ready).policy
        model = policy if policy == "small" or policy == "large" else None  # noqa: PLR1714 - the type checker follows it
        return _json({"tokens": await hand.tokenize(asked.content, model)})

    async def props(self, _request: Request) -> Response:
        """Report what llama-server reports, as far as it applies."""
        ready = await self._pairs.first.start()
        return _json(
            {
                "default_generation_settings": {"n_ctx": _context(ready)},
                "total_slots": 1,
                "model_alias": ready.pair,
                "build_info": f"glimp-{__version__}",
                "glimp": {
                    "settings": msgspec.to_builtins(ready.settings),
                    "notices": ready.notices,
                    "example": ready.example,
                },
            }
        )

    async def show_metrics(self, _request: Request) -> Response:
        """Report counters in Prometheus's text format."""
        text = self.metrics.text(
            waiting=self._line.waiting,
            running=int(self._line.is_running),
            loaded=sum(hand.ready is not None for hand in self._pairs),
            crashes=sum(hand.crashes for hand in self._pairs),
            kept=(sum(hand.kept[0] for hand in self._pairs), sum(hand.kept[1] for hand in self._pairs)),
        )
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


def _check(event: AnyEvent, reply: Reply, run: Run) -> None:
    """End a run whose answer came to a stop text; raises GlimpError if it did not come to an end of its own."""
    if isinstance(event, Text) and reply.has_stopped:
        run.cancel()
    elif isinstance(event, Finished) and event.finish_reason == "cancelled" and not reply.has_stopped:
        raise EndingError
    elif isinstance(event, Finished) and event.finish_reason == "failed":
        raise GlimpError("llama.cpp could not continue the reply")


def _headers(reply: Reply, hand: Hand) -> dict[str, str]:
    headers = {"x-request-id": reply.id}
    if (ready := hand.known) is not None and reply.policy is not None:
        headers |= {"x-glimp-pair": quote(ready.pair, safe=" +/:=."), "x-glimp-policy": reply.policy}
    return headers


def _ids(name: str, hand: Hand) -> list[str]:
    """Name the ids of a pair; before it is loaded, both models are supposed to be there."""
    ready = hand.known
    return names.ids_of(name, MODELS) if ready is None else names.listed(ready)


def _context(ready: wire.Ready) -> int:
    return min(model.context for model in ready.models.values())


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)
