"""Nonsense for chat completions: the small version of `python -m benchmarks serve-fuzz`."""

from __future__ import annotations

import asyncio

import httpx2
import psutil
import pytest

from benchmarks.fuzz_bodies import request
from benchmarks.serve_fuzz import FLAGS, send
from benchmarks.serving import Serving
from tests.server.conftest import Serve, Served

pytestmark = [pytest.mark.process, pytest.mark.fuzz, pytest.mark.slow]

_BODIES = range(10_000, 10_400)
"""Others than those of the command."""


def test_no_body_makes_the_server_fail_and_what_is_refused_is_refused_in_words(serving: Serve) -> None:
    served = serving("--pair", "builtin", *FLAGS, "-q")
    seen, wrong = asyncio.run(send(Serving(served.port, psutil.Process(served.process.pid)), _BODIES))
    assert wrong == []
    assert sum(seen.values()) == len(_BODIES)
    assert seen[200, ""] > 50, "too few are right to say anything of replies"
    assert seen[400, "invalid_body"] > 50
    assert "Traceback" not in "".join(served.said)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat/completions/control", "/tokenize"])
@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000, b'{"id": "x", "content": [[' + b"{" * 200_000])
def test_a_body_that_is_nested_without_end_is_refused(served: Served, path: str, body: bytes) -> None:
    reply = httpx2.post(f"{served.url}{path}", content=body, timeout=60)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_body")


def test_a_number_gives_the_same_body_every_time() -> None:
    assert [request(number) for number in range(50)] == [request(number) for number in range(50)]
    assert len({request(number) for number in range(50)}) > 45
