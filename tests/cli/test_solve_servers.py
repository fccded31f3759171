"""`glimp solve` with models on servers: flags, answers, exit codes, and no key anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BUILTIN
from tests.support.commands import Glimp, mine
from tests.support.llama_server import LlamaServer
from tests.support.server_process import free_port

PROBLEM = "Tom has 12 pens and Ann has 7. Ann gives Tom 3 pens. How many pens does Tom have now?"
KEY = "sk-a-secret-key-123"


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf", api_key=KEY) as started:
        yield started


@pytest.fixture
def pair(server: LlamaServer, home: Path) -> str:
    """Write a pair with its large model on the server into the user's models.toml."""
    (home / "key").write_text(f"{KEY}\n")
    mine(
        f'[pairs.box]\nthreshold = 0\nsampling = {{temperature = 0}}\nsmall = {{path = "{BUILTIN / "small.gguf"}"}}\n'
        f'large = {{url = "{server.url}", key_file = "{home / "key"}"}}\n'
    )
    return "box"


def test_a_pair_with_its_large_model_on_a_server_answers(glimp: Glimp, pair: str) -> None:
    result = glimp("solve", "--pair", pair, "--json", "--text", PROBLEM)
    found = json.loads(result.out)
    assert (result.code, found["boxed"]) == (0, "15")
    assert {step["model"] for step in found["steps"]} == {"large"}
    assert found["stats"]["large"]["network_seconds"] > 0
    assert KEY not in result.out + result.err


def test_a_server_takes_the_place_of_a_pair_s_own_model(glimp: Glimp, server: LlamaServer, home: Path) -> None:
    (home / "key").write_text(KEY)
    mine(f'[pairs.builtin.large]\nkey_file = "{home / "key"}"\n')
    result = glimp("solve", "--pair", "builtin", "--large-url", server.url, "--text", PROBLEM)
    assert (result.code, result.out.strip()) == (0, "So Tom has \\boxed{15} pens.")


def test_a_server_that_is_not_there_ends_with_3_and_says_so(glimp: Glimp) -> None:
    port = free_port()
    small = BUILTIN / "small.gguf"
    result = glimp("solve", "--small", small, "--large-url", f"http://127.0.0.1:{port}", "--text", PROBLEM)
    assert result.code == 3
    assert result.err == (
        f"glimp: 127.0.0.1:{port}: nothing listens there\nhint: is the server running, on this port?\n"
    )


def test_a_key_that_is_missing_ends_with_3_and_says_so(glimp: Glimp, server: LlamaServer) -> None:
    result = glimp("solve", "--large-url", server.url, "--policy", "large", "--text", PROBLEM)
    assert result.code == 3
    assert "it asks for a key\nhint: set key_env, or key_file, of this model in your models.toml\n" in result.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--large-url", "http://box"], "there is only a large model"),
        (["--small-url", "http://box"], "there is only a small model"),
        (["--large", "x.gguf", "--large-url", "http://box"], "--large and --large-url exclude each other"),
        (["--pair", "builtin", "--large-url", "box:8000"], "'box:8000' is no address of a server"),
        (["--pair", "builtin", "--large-url", "http://me:secret@box"], "holds no key or password"),
    ],
)
def test_flags_that_cannot_be_used_end_with_2(glimp: Glimp, flags: list[str], said: str) -> None:
    result = glimp("solve", *flags, "--text", PROBLEM)
    assert result.code == 2
    assert said in result.err
    assert "secret" not in result.err


def test_a_debugging_log_holds_no_key(glimp: Glimp, pair: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        result = glimp("solve", "--pair", pair, "--text", PROBLEM)
    assert result.code == 0
    assert KEY not in caplog.text
