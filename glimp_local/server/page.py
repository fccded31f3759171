"""The page at `GET /`: a chat in the browser over the public endpoints.

Its files lie in `page/` beside this module and are served under fixed names, each read once: no path of a request ever
reaches the file system. The page holds no secret, so that it loads without the key, which it asks for.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES: Final = (
    "index.html",
    "page.css",
    "icon.svg",
    *("page.js", "api.js", "asking.js", "chat.js", "composer.js", "dom.js", "key.js", "kept.js"),
    *("markdown.js", "inline.js", "reply.js", "steps.js", "turn.js", "words.js"),
)
PATHS: Final = {"/" if name == "index.html" else f"/page/{name}": name for name in _FILES}
"""Where each file is served."""

# All that the page uses is its own: nothing inline, nothing from elsewhere, and no other page shows it in a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept by browsers, and asked for again: an update shows at once
}


class _File(NamedTuple):
    content: bytes
    headers: dict[str, str]

    @classmethod
    def read(cls, name: str) -> _File:
        content = files("glimp_local.server").joinpath("page", name).read_bytes()
        kind = _TYPES[name[name.rindex(".") :]]
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8", "ETag": tag})


def routes() -> list[BaseRoute]:
    """Make the routes of the page's files."""
    return [_route(path, _File.read(name)) for path, name in PATHS.items()]


def _route(path: str, file: _File) -> Route:
    async def send(request: Request) -> Response:
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if known & {file.headers["ETag"], "*"}:
            return Response(status_code=304, headers=file.headers)
        return Response(file.content, headers=file.headers)

    return Route(path, send)
