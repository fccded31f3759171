"""A Hugging Face hub on this machine: its protocol as far as downloads go, and the faults of real networks.

As there, the hub answers with a redirect to another host, which has the bytes; that one must never see the token.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
"""What "main" is."""
TOKEN = "hf_" + "secret" * 6
_PIECE = 2**16
MILLION = 1_000_000


class Content:
    """The bytes of a file: a block over and over, so that a large one takes no memory."""

    def __init__(self, block: bytes, size_bytes: int | None = None) -> None:
        self._block = block
        self.size_bytes = len(block) if size_bytes is None else size_bytes
        hashed = hashlib.sha256()
        for piece in self.pieces(0):
            hashed.update(piece)
        self.sha256 = hashed.hexdigest()

    def pieces(self, start: int) -> Iterator[bytes]:
        while start < self.size_bytes:
            at = start % len(self._block)
            piece = self._block[at : at + min(_PIECE, self.size_bytes - start)]
            yield piece
            start += len(piece)


class Hub:
    """The repositories, what goes wrong, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Content]] = {}
        """By repository and path."""
        self.commits = {"main": COMMIT, COMMIT: COMMIT}
        self.git: set[str] = set()
        """Files that are kept outside LFS: their hash is git's."""
        self.token: str | None = None
        """All repositories are private, and this opens them."""
        self.gated = False
        """Nobody has accepted the licence."""
        self.statuses: list[int] = []
        """Answers to the next requests, before all else; 0 is the answer that it would be without."""
        self.headers: dict[str, str] = {}
        """With such an answer."""
        self.body = b""
        """Of such an answer."""
        self.listing: bytes | None = None
        """In place of a list of files."""
        self.listing_encoding = "identity"
        self.told: dict[str, str | None] = {}
        """What it tells of files in place of the truth, by header; None is nothing."""
        self.trickles = 0
        """Number of downloads that are still to be slow, two bytes at a time; so are all lists while it is not 0."""
        self.has_ranges = True
        self.range_status = 206
        self.cuts: list[int] = []
        """After so many bytes the connection of the next downloads is cut."""
        self.stalls: list[int] = []
        """After so many bytes nothing comes any more, for the next downloads."""
        self.seconds_a_piece = 0.0
        self.damaged = False
        """All bytes that are sent are another file's."""
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        self.sent_bytes = 0
        self.leaked = False
        """Did the other host see a token?"""
        self.url = self.other_url = ""

    def put(self, repo: str, file: str, content: Content) -> Content:
        self.files.setdefault(repo, {})[file] = content
        return content


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, headers: dict[str, Any] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # who asked need not read all of it
                self.wfile.write(body)

    def trickle(self, content: bytes) -> None:
        """Send two bytes at a time, until nobody listens any more."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):
            self.dribble([content])

    def dribble(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            for i in range(0, len(piece), 2):
                self.wfile.write(piece[i : i + 2])
                time.sleep(0.02)


class _HubHandler(_Handler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.hub
        path = unquote(urlsplit(self.path).path)
        found = re.fullmatch(r"/(api/models/)?([^/]+/[^/]+)(?:/resolve/([^/]+)/(.+))?", path)
        hub.requests.append(f"{self.command} {path}")
        if found is None or (found[1] is None) == (found[3] is None):
            return self.answer(404)
        if hub.statuses and (status := hub.statuses.pop(0)):
            return self.answer(status, hub.headers, hub.body)
        _, repo, revision, file = found.groups()
        refusal = self._refusal(repo, revision or "main")
        if refusal is not None:
            return self.answer(*refusal)
        if file is None:
            return self._list(repo)
        content = hub.files[repo].get(file)
        if content is None:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": hub.commits[revision], "X-Linked-Size": content.size_bytes}
        headers |= {"X-Linked-Etag": f'"{self._etag(file, content)}"', "ETag": '"of the pointer"'}
        headers = {name: value for name, value in (headers | hub.told).items() if value is not None}
        return self.answer(302, headers | {"Location": f"{hub.other_url}/{repo}/{file}?signature=sealed"})

    def _list(self, repo: str) -> None:
        hub = self.hub
        if hub.trickles:
            return self.trickle(b" " * MILLION)
        siblings = [{"rfilename": name} for name in hub.files[repo]]
        listing = json.dumps({"id": repo, "siblings": siblings}).encode() if hub.listing is None else hub.listing
        return self.answer(200, {"Content-Encoding": hub.listing_encoding}, listing)

    def _refusal(self, repo: str, revision: str) -> tuple[int, dict[str, str]] | None:
        hub = self.hub
        authorization = self.headers.get("Authorization")
        if hub.token and authorization and authorization != f"Bearer {hub.token}":
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}
        if hub.token and not authorization:
            return 401, {"X-Error-Code": "RepoNotFound"}
        if hub.gated:
            return 403, {"X-Error-Code": "GatedRepo"}
        if repo not in hub.files:
            return 404, {"X-Error-Code": "RepoNotFound"}
        if revision not in hub.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}
        return None

    def _etag(self, file: str, content: Content) -> str:
        if file not in self.hub.git:
            return content.sha256
        return hashlib.sha1(b"blob %d\0" % content.size_bytes + b"".join(content.pieces(0))).hexdigest()


class _OtherHandler(_Handler):
    def do_GET(self) -> None:
        hub = self.hub
        hub.leaked |= "Authorization" in self.headers or TOKEN in str(self.headers)
        maker, name, file = unquote(urlsplit(self.path).path).removeprefix("/").split("/", 2)
        content = hub.files[f"{maker}/{name}"][file]
        wanted = self.headers.get("Range")
        hub.ranges.append(wanted)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and hub.has_ranges else 0  # type: ignore[index]
        if start and hub.range_status != 206:
            return self.answer(hub.range_status)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(content.size_bytes - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{content.size_bytes - 1}/{content.size_bytes}")
        self.end_headers()
        with suppress(ConnectionError):
            self._send(content, start)
        return None

    def _send(self, content: Content, start: int) -> None:
        hub = self.hub
        cut = hub.cuts.pop(0) if hub.cuts else None
        stall = hub.stalls.pop(0) if hub.stalls else None
        end = cut if stall is None else stall
        left = content.size_bytes if end is None else end
        if hub.trickles:
            hub.trickles -= 1
            self.dribble(content.pieces(start))
        for piece in content.pieces(start):
            sent = bytes(len(piece[:left])) if hub.damaged else piece[:left]
            self.wfile.write(sent)
            hub.sent_bytes += len(sent)
            left -= len(sent)
            time.sleep(hub.seconds_a_piece)
            if not left:
                break
        if stall is not None:
            time.sleep(3)
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


class _ProxyHandler(_Handler):
    """Passes plain HTTP on, and notes the addresses."""

    seen: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.seen.append(self.path)
        connection = socket.create_connection((urlsplit(self.path).hostname, urlsplit(self.path).port))
        local = self.path.split("/", 3)[3]
        lines = [f"{self.command} /{local} HTTP/1.0", *(f"{name}: {value}" for name, value in self.headers.items())]
        with connection:
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            while piece := connection.recv(_PIECE):
                self.wfile.write(piece)
        self.close_connection = True


@contextmanager
def _serving(handler: type[_Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub, and the other host."""
    hub = Hub()
    with (
        _serving(type("Handler", (_HubHandler,), {"hub": hub})) as hub.url,
        _serving(type("Handler", (_OtherHandler,), {"hub": hub})) as hub.other_url,
    ):
        yield hub


@contextmanager
def proxying() -> Iterator[tuple[str, list[str]]]:
    """Run a proxy; give its address, and the addresses that were asked for through it."""
    seen: list[str] = []
    with _serving(type("Handler", (_ProxyHandler,), {"seen": seen})) as url:
        yield url, seen
