"""Replies on their way to a client, which may leave at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from glimp_local.errors import GlimpError

_T = TypeVar("_T")
GONE = 499
"""The status for a client that is no longer there; nobody reads it."""


class Stream(StreamingResponse):
    """A stream that is closed at once when its client has gone, so that the next request can begin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the chunks."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            chunks = self.body_iterator
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


async def after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield a chunk that was waited for already, and then the rest."""
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def until_gone(request: Request, work: Awaitable[_T]) -> _T:
    """Wait for work, and give it up with an HTTPException when the client is gone."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            with suppress(asyncio.CancelledError, GlimpError):
                await working
            raise HTTPException(GONE, "the client has gone")
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _gone(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def as_json(value: Any, headers: dict[str, str] | None = None) -> Response:
    """Make a reply of a value."""
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)
