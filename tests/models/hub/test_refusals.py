"""What the hub refuses is said in one sentence, with what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.hub_server import COMMIT, TOKEN, Hub
from tests.support.pulling import REPO, SMALL, models


@pytest.mark.parametrize("status", [404, 503])
def test_a_password_in_the_hub_s_address_is_not_shown(hub: Hub, status: int) -> None:
    hub.statuses = [status] * 9
    result = models("pull", SMALL, HF_ENDPOINT=hub.url.replace("://", "://me:p@hush@"))
    assert result.code == 5
    assert "hush" not in result.err
    result = models("pull", SMALL, HF_ENDPOINT="me:secret@127.0.0.1:9")
    assert (result.code, "secret" in result.err) == (5, False)


def gated(hub: Hub) -> None:
    hub.gated = True


def private(hub: Hub) -> None:
    hub.token = TOKEN


def busy(hub: Hub) -> None:
    hub.statuses, hub.headers = [429] * 9, {"Retry-After": "900"}


def broken(hub: Hub) -> None:
    hub.statuses = [503] * 9


def rewritten(hub: Hub) -> None:
    del hub.commits[COMMIT]


def forbidden(hub: Hub) -> None:
    hub.statuses = [403]


def unexplained(hub: Hub) -> None:
    hub.statuses = [404]


def astray(hub: Hub) -> None:
    hub.other_url = "http://999.1.1.1"


@pytest.mark.parametrize(
    ("prepare", "name", "environment", "said"),
    [
        (gated, "tiny", {}, (f"{REPO} is gated", f"/{REPO}, then: hf auth login")),
        (gated, "tiny", {"HF_TOKEN": TOKEN}, (f"{REPO} is gated", "with the account of your token")),
        (private, "tiny", {}, (f"the hub has no repository {REPO}, or it is private", "hf auth login")),
        (private, "tiny", {"HF_TOKEN": "hf_old"}, ("does not accept the token (401)", "HF_TOKEN that is set")),
        (forbidden, "tiny", {}, ("(403)", "your token")),
        (None, "maker/nowhere-GGUF:Q8_0", {}, ("the hub has no repository maker/nowhere-GGUF", "check its name")),
        (
            None,
            f"{REPO}/tiny-Q8.gguf",
            {},
            ("has no file tiny-Q8.gguf (did you mean 'tiny-Q8_0.gguf'?)", "tiny-Q4_K_M"),
        ),
        (None, f"{REPO}/h-00001-of-00000.gguf", {}, ("has no file h-00001-of-00000.gguf", "its files")),
        (rewritten, "tiny", {}, (f"{REPO} has no revision {COMMIT}", "pin another one")),
        (busy, "tiny", {}, ("too many requests from here (429)", "try again in 15 min")),
        (unexplained, SMALL, {}, (f"has no such file or repository (404): {SMALL}", "check the name")),
        (astray, SMALL, {}, ("redirects to an invalid address", "HF_ENDPOINT")),
        (None, "tiny", {"HF_TOKEN": "hf_ü"}, ("the token holds characters that no token has", "check HF_TOKEN")),
        (broken, "tiny", {}, ("is in trouble (503", "try again later")),
        (None, "tiny", {"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE")),
        (None, "tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("127.0.0.1:9 cannot be reached", "HTTPS_PROXY")),
        (None, "tiny", {"HF_ENDPOINT": "127.0.0.1:9"}, ("the hub could not be asked", "HF_ENDPOINT")),
        (None, "tiny", {"HTTP_PROXY": "other://x"}, ("the hub could not be asked", "HTTP_PROXY")),
        (None, "tiny", {"HTTP_PROXY": "socks5://127.0.0.1:9"}, ("the hub could not be asked", "HTTP_PROXY")),
        (None, "tiny", {"HTTP_PROXY": "http://127.0.0.1:9"}, ("cannot be reached", "proxies")),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    hub: Hub, prepare: Callable[[Hub], None] | None, name: str, environment: dict[str, str], said: tuple[str, str]
) -> None:
    if prepare is not None:
        prepare(hub)
    result = models("pull", name, **environment)
    assert result.code == 5
    assert "going on in" not in result.err
    message, hint = result.err.split("hint: ")
    assert said[0] in message
    assert said[1] in hint
    assert "hf_" not in result.err.replace("hf_old", "").replace("hf auth", "")
    assert not hub.sent_bytes


def test_trouble_that_passes_is_waited_out(hub: Hub) -> None:
    hub.statuses = [503, 503]
    assert models("pull", SMALL).code == 0


def test_a_host_that_is_no_hub_is_said_to_be_none(hub: Hub) -> None:
    result = models("pull", SMALL, HF_ENDPOINT=hub.other_url + "/maker/tiny-GGUF/tiny-Q8_0.gguf?")
    assert result.code == 5
    assert "Traceback" not in result.err
