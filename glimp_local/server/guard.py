"""What stands in front of the endpoints: who may ask, from where, and how much.

A server on loopback can be reached by every page that a browser shows, under a name that its owner makes up (DNS
rebinding): so the Host header has to name this machine, and other origins read no replies. Whoever else may reach the
server needs the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from ipaddress import ip_address
from socket import gethostname
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glimp_local.server import page
from glimp_local.server.failures import failure

_OPEN = {"/health", "/v1/health", *page.PATHS}
"""Paths that need no key."""
LOCAL_ORIGINS = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
"""The origins whose pages may read replies."""


def origins_of(more: Sequence[str]) -> str:
    """Return a regular expression of this machine's origins and `more` of them; "*" is any."""
    return ".*" if "*" in more else "|".join([LOCAL_ORIGINS, *(re.escape(origin.rstrip("/")) for origin in more)])


def is_loopback(host: str) -> bool:
    """Can this address be reached from this machine alone?"""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """Middleware that refuses what must not reach the endpoints.

    `host` is the address that the server listens on, `key` is what a client has to know (None: nothing), `origins` is a
    regular expression of those whose pages may ask, `most_bytes` is the largest body. Without a key the Host header has
    to name this machine: by `host`, as localhost, or, if it can be reached from others, by any address.
    """

    def __init__(self, app: ASGIApp, *, host: str, key: str | None, origins: str, most_bytes: int) -> None:
        self._app = app
        self._hosts = {"localhost", "127.0.0.1", "[::1]", host.lower(), gethostname().lower()}
        self._takes_addresses = not is_loopback(host)
        self._origins = re.compile(origins)
        self._digest = None if key is None else _digest(key.encode("utf-8", "surrogateescape"))
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, send)
            return
        left = self._most_bytes

        async def receive_within() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLargeError
            return message

        try:
            await self._app(scope, receive_within, send)
        except TooLargeError:
            await self._too_large()(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Any:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdecimal() else host
        if self._digest is None:
            if not (name in self._hosts or (self._takes_addresses and _is_address(name))):
                return failure(
                    403,
                    f"this server answers to {', '.join(sorted(self._hosts))}, not to {host[:100]!r}",
                    code="forbidden",
                )
            origin = headers.get(b"origin", b"").decode("latin-1")
            # This server's own page, by the name just checked.
            is_own = origin.lower() in {f"http://{host}", f"https://{host}"}
            if origin and not is_own and not self._origins.fullmatch(origin) and scope["method"] != "OPTIONS":
                return failure(403, f"pages of {origin[:100]!r} may not use this server", code="forbidden")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most_bytes:
            return self._too_large()
        if self._digest is None or scope["path"] in _OPEN or scope["method"] == "OPTIONS":
            return None
        kind, _, key = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            key = headers.get(b"x-api-key", b"")
        if hmac.compare_digest(_digest(key), self._digest):
            return None
        return failure(401, "the API key is missing or wrong", kind="authentication_error", code="invalid_api_key")

    def _too_large(self) -> Any:
        return failure(413, f"the body is larger than {self._most_bytes:,} bytes", code="body_too_large")


class TooLargeError(Exception):
    """A body that is larger than allowed, and did not say so."""


def _digest(key: bytes) -> bytes:
    """Hash a key, so that comparing takes the same time whatever it is."""
    return hashlib.sha256(key.strip()).digest()
