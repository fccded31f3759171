"""How a server is reached, and what it does with what is asked."""

from __future__ import annotations

import msgspec


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
