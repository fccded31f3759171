"""The HTTP server under the endpoints: from a bound socket to the signal that ends it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from glimp_local.server.app import Server
from glimp_local.server.wire import Ready

_END_SECONDS = 10
"""Replies that are being sent when a signal comes get this long."""
_LONGEST_HEAD = 64 * 1024
"""Bytes of the headers of a request."""


async def serve(
    server: Server, listener: socket.socket, *, on_ready: Callable[[Ready], None], shows_requests: bool
) -> int | None:
    """Serve until a signal comes, and return its number; `on_ready` hears when the pair is loaded.

    Raises GlimpError if the pair cannot be loaded.
    """
    access = logging.getLogger("uvicorn.access")
    if shows_requests:
        access.addHandler(logging.StreamHandler())
        access.setLevel(logging.INFO)
    web = _Web(
        uvicorn.Config(
            server.app(),
            log_config=None,
            access_log=shows_requests,
            server_header=False,
            timeout_graceful_shutdown=_END_SECONDS,
            h11_max_incomplete_event_size=_LONGEST_HEAD,
        ),
        server,
    )
    serving, loading = asyncio.create_task(web.serve(sockets=[listener])), asyncio.create_task(server.load())
    try:
        await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not serving.done() and web.stopped_by is None:
            on_ready(loading.result())
        await serving
    finally:
        loading.cancel()
        web.should_exit = True
        await serving
        await server.close()
    return web.stopped_by


class _Web(uvicorn.Server):
    """Stops what is being written as soon as a signal comes, so that the replies come to their ends."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._server = server
        self.stopped_by: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame
        if self.stopped_by is not None:
            self.force_exit = True  # a second one waits for nobody
        self.stopped_by, self.should_exit = self.stopped_by or sig, True
        self._server.stop()
