"""The endpoints of the server, as a Starlette application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import time
from typing import Any

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
from glimp_local.routing import MODELS
from glimp_local.server import failures, names, page, wire
from glimp_local.server.answers import Answers
from glimp_local.server.bodies import read
from glimp_local.server.guard import Guard, origins_of
from glimp_local.server.hand import Hand
from glimp_local.server.options import ServerOptions
from glimp_local.server.pairs import Pairs
from glimp_local.server.streams import GONE, as_json

_MOST_BYTES = 8 * 2**20
"""Largest body of a request."""


class Server:
    """The endpoints over pairs."""

    def __init__(self, pairs: Pairs, options: ServerOptions) -> None:
        self._pairs = pairs
        self._line = pairs.line
        self._options = options
        self._answers = Answers(pairs, options)
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
            *self._answers.routes(),
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
        return as_json({"status": "ok"})

    async def models(self, _request: Request) -> Response:
        """List the ids."""
        await self._pairs.first.start()
        data = [self._described(id_, hand) for name, hand in self._pairs.items() for id_ in _ids(name, hand)]
        return as_json({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """Describe one id."""
        name = request.path_params["name"]
        hand = self._pairs.of(name)
        if hand is self._pairs.first:
            await hand.start()
        return as_json(self._described(name, hand))

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

    async def tokenize(self, request: Request) -> Response:
        """Split a text into tokens."""
        asked = read(await request.body(), TokenizeBody)
        hand = self._pairs.of(asked.model)
        ready = await hand.start()
        policy = names.settings_of(asked.model, ready).policy
        model = policy if policy == "small" or policy == "large" else None  # noqa: PLR1714 - the type checker follows it
        return as_json({"tokens": await hand.tokenize(asked.content, model)})

    async def props(self, _request: Request) -> Response:
        """Report what llama-server reports, as far as it applies."""
        ready = await self._pairs.first.start()
        return as_json(
            {
                "default_generation_settings": {"n_ctx": _context(ready)},
                "total_slots": self._pairs.first.parallel,
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
            running=self._line.running,
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


class TokenizeBody(msgspec.Struct):
    """A text to be split."""

    content: str
    model: str | None = None


def _ids(name: str, hand: Hand) -> list[str]:
    """Name the ids of a pair; before it is loaded, both models are supposed to be there."""
    ready = hand.known
    return names.ids_of(name, MODELS) if ready is None else names.listed(ready)


def _context(ready: wire.Ready) -> int:
    return min(model.context for model in ready.models.values())
