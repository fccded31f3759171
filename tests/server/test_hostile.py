"""Connections that are slow, stalled, too many or no HTTP at all: others are answered meanwhile."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import httpx2
import psutil
import pytest

from tests.server.conftest import Served
from tests.server.test_conduct import ASKED, until

pytestmark = pytest.mark.process

PROMPT_SECONDS = 3.0
"""A small question behind nobody is answered within this, also on a machine that has other things to do."""
PATH = "/v1/chat/completions"
Connect = Callable[[], socket.socket]


@pytest.fixture
def connect(served: Served) -> Iterator[Connect]:
    """Open connections to the server, and close them in the end."""
    with ExitStack() as opened:

        def connected() -> socket.socket:
            client = socket.create_connection(("127.0.0.1", served.port), timeout=20)
            opened.enter_context(closing(client))
            return client

        yield connected


def head(length: int | str, **headers: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def body(**more: object) -> bytes:
    return json.dumps({"messages": ASKED, **more}).encode()


def received(client: socket.socket, *, until_closed: bool = False) -> bytes:
    """Read what comes: the first piece, or all until the other end closes."""
    said = b""
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            said += piece
            if not until_closed:
                break
    return said


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def is_prompt(served: Served) -> None:
    """Is a question answered, and soon?"""
    began = time.monotonic()
    reply = served.post(PATH, {"messages": ASKED})
    assert reply.status_code == 200, reply.text
    assert time.monotonic() - began < PROMPT_SECONDS


def connections(served: Served) -> int:
    """Count what the server has open."""
    return len(psutil.Process(served.process.pid).net_connections("tcp"))


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process open `count` files; skip if the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"the system lets a process open {hard} files (ulimit -Hn), and this takes {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"P",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: local",
        head(500),
        head(500) + b'{"messages": [',
        head(2**20) + b'{"messages": "' + b"x" * 100_000,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "a letter", "half a head", "no body", "half a body", "much of a body", "half a chunk"],
)
def test_half_a_request_holds_up_nobody(served: Served, connect: Connect, sent: bytes) -> None:
    for _ in range(20):
        connect().sendall(sent)
    is_prompt(served)
    assert served.get("/health").status_code == 200


def test_a_request_that_comes_byte_by_byte_is_answered_and_holds_up_nobody(served: Served, connect: Connect) -> None:
    text = body()
    slow = connect()
    for number, byte in enumerate(head(len(text), Connection="close") + text):
        slow.sendall(bytes([byte]))
        time.sleep(0.003)
        if number == 100:
            is_prompt(served)
    assert status_of(received(slow, until_closed=True)) == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_ten_megabytes_are_refused_and_not_kept(served: Served, connect: Connect, chunked: bool) -> None:
    text = b'{"messages": "' + b"x" * 10_000_000 + b'"}'
    took: list[int] = []
    replies: list[bytes] = []
    for _ in range(6):
        client = connect()
        with suppress(ConnectionError):  # it may be closed before it has all
            if chunked:
                client.sendall(head(0, Connection="close").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
                for at in range(0, len(text), 100_000):
                    piece = text[at : at + 100_000]
                    client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                client.sendall(b"0\r\n\r\n")
            else:
                client.sendall(head(len(text), Connection="close") + text)
        replies.append(received(client, until_closed=True))
        took.append(psutil.Process(served.process.pid).memory_info().rss)
    said = {reply for reply in replies if reply}  # a connection that is cut off may lose it
    assert {status_of(reply) for reply in said} == {413}
    assert all(b'"code":"body_too_large"' in reply for reply in said)
    assert took[-1] < took[0] + 2 * len(text)
    is_prompt(served)


def test_a_body_that_is_longer_than_it_says_is_another_request_and_refused(served: Served, connect: Connect) -> None:
    text = body()
    client = connect()
    client.sendall(head(len(text)) + text + b"and more\r\n\r\n")
    replies = received(client, until_closed=True)
    assert status_of(replies) == 200
    assert b"HTTP/1.1 400" in replies
    is_prompt(served)


def test_a_thousand_idle_connections_hold_up_nobody(served: Served) -> None:
    count = 1000
    with many_files(count + 200), ExitStack() as opened:
        for number in range(count):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=20))
            if number % 2:
                client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        is_prompt(served)
        assert served.client.models.list().data
    until(lambda: connections(served) < 10)
    is_prompt(served)


def test_requests_that_do_not_wait_for_replies_are_answered_in_order(connect: Connect) -> None:
    texts = [body(), b'{"messages": 7}', body(stream=True), b"{"]
    client = connect()
    client.sendall(b"".join(head(len(text)) + text for text in texts[:-1]))
    client.sendall(head(len(texts[-1]), Connection="close") + texts[-1])
    replies = received(client, until_closed=True).split(b"HTTP/1.1 ")[1:]
    assert [int(reply[:3]) for reply in replies] == [200, 400, 200, 400]
    assert b"data: [DONE]" in replies[2]


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n\r\n\r\n",
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he\x00alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%fe%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        head(-1) + b"{}",
        head("ten") + b"{}",
        head("1_0") + b"{}" * 5,
        head(10**30) + b"{}",
        head(2, **{"Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_what_is_no_request_is_refused_or_cut_off(served: Served, connect: Connect, sent: bytes) -> None:
    client = connect()
    client.settimeout(1)
    with suppress(ConnectionError):
        client.sendall(sent)
    try:
        reply = received(client)
    except TimeoutError:  # it may be the beginning of one
        reply = b""
    assert not reply or 400 <= status_of(reply) < 500, reply[:300]
    assert b"root:" not in reply
    is_prompt(served)
    assert "Traceback" not in "".join(served.said)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused_in_words(served: Served, connect: Connect, method: str) -> None:
    for path in (PATH, "/v1/responses-of-nobody"):
        client = connect()
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = received(client, until_closed=True)
        assert status_of(reply) in {400, 404, 405}, reply
        assert (b'"error":{"message"' in reply) == (method != "HEAD"), reply
    is_prompt(served)


def test_a_browser_may_ask_what_it_may_do(served: Served) -> None:
    asks = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    reply = httpx2.options(f"{served.url}{PATH}", headers=asks)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert httpx2.options(f"{served.url}{PATH}", headers={**asks, "Origin": "http://evil.example"}).status_code == 400
    assert httpx2.options(f"{served.url}{PATH}").status_code == 405
