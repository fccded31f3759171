"""Who may use a server: keys, hosts, origins, the size of a body, and what is logged of it."""

from __future__ import annotations

import subprocess
import sys

import httpx2
import pytest

from tests.server.conftest import Serve, Served
from tests.server.test_conduct import ASKED

pytestmark = pytest.mark.process


def test_without_the_key_nobody_gets_in(serving: Serve) -> None:
    served = serving("--api-key", "secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": ""}):
        reply = served.get("/v1/models", **headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert served.get("/health").status_code == 200
    for headers in ({"Authorization": "Bearer secret"}, {"X-Api-Key": "secret"}):
        assert served.get("/v1/models", **headers).status_code == 200


def test_other_names_and_other_origins_are_kept_out(served: Served) -> None:
    rebound = served.get("/v1/models", Host="evil.example:8089")
    assert (rebound.status_code, "not to 'evil.example:8089'" in rebound.text) == (403, True)
    assert served.get("/v1/models", Host=f"localhost:{served.port}").status_code == 200
    elsewhere = served.get("/v1/models", Origin="https://evil.example")
    assert (elsewhere.status_code, "access-control-allow-origin" in elsewhere.headers) == (403, False)
    here = served.get("/v1/models", Origin="http://localhost:3000")
    assert here.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_pages_of_this_machine_read_refusals_and_may_ask_first(serving: Serve) -> None:
    served = serving("--api-key", "secret")
    page = "http://localhost:3000"
    refused = served.get("/v1/models", Origin=page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page)
    asked = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    first = httpx2.request("OPTIONS", f"{served.url}/v1/chat/completions", headers=asked)
    assert (first.status_code, first.headers["access-control-allow-origin"]) == (200, page)
    assert "authorization" in first.headers["access-control-allow-headers"]


def test_pages_of_an_origin_that_was_named_may_ask(serving: Serve) -> None:
    served = serving("--cors-origin", "https://example.com")
    there = served.get("/v1/models", Origin="https://example.com")
    assert (there.status_code, there.headers["access-control-allow-origin"]) == (200, "https://example.com")
    assert served.get("/v1/models", Origin="https://exampleXcom").status_code == 403
    assert served.get("/v1/models", Origin="http://localhost:3000").status_code == 200


@pytest.mark.parametrize("logs", [True, False])
def test_what_is_asked_and_answered_is_logged_if_that_is_wanted(serving: Serve, logs: bool) -> None:
    served = serving(*(["--log-content"] if logs else []))
    assert served.post("/v1/chat/completions", {"messages": ASKED}).status_code == 200
    served.stop()
    said = "".join(served.said)
    assert ("How many steps are there?" in said) == ("Answer" in said) == logs


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    body = b'{"messages": "' + b"x" * 9_000_000 + b'"}'
    reply = httpx2.post(f"{served.url}/v1/chat/completions", content=body, timeout=60)
    assert reply.status_code == 413


@pytest.mark.parametrize("flags", [["--api-key", ""], ["--api-key", "x", "--no-auth"], ["--host", "0.0.0.0"]])
def test_a_key_that_protects_nothing_is_refused(flags: list[str]) -> None:
    command = [sys.executable, "-m", "glimp_local", "serve", "--port", "0", "--pair", "builtin", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "hint:" in done.stderr
