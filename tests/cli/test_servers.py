"""What commands show of a pair with a model on a server, and when they connect: llama-server behind a relay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glimp_local.cli.model_names import of_pair
from glimp_local.cli.run_serve import _is_elsewhere, _requests
from glimp_local.load import LoadRequest
from glimp_local.machine.inventory import pinned
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import user_file
from tests.conftest import BUILTIN
from tests.support.commands import Glimp, mine
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay

pytestmark = pytest.mark.process
KEY = "open-sesame-1234"


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf", api_key=KEY) as started:
        yield started


@pytest.fixture
def relay(server: LlamaServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Give the pair `box`, whose large model is behind a relay, and `far`, of which both are."""
    monkeypatch.setenv("BOX_KEY", KEY)
    with Relay(server.url) as relay:
        large = f'large = {{url = "{relay.url}", key_env = "BOX_KEY"}}\n'
        path = f"small = {{path = '{BUILTIN / 'small.gguf'}'}}\n"
        far = large.replace("large =", "small =") + large
        mine(f"[pairs.box]\n{path}{large}[pairs.far]\n{far}")
        yield relay


def place(relay: Relay) -> str:
    return f"127.0.0.1:{relay.port}"


def pairs(out: str) -> dict[str, Any]:
    return {pair["name"]: pair for pair in json.loads(out)["pairs"]}


def test_the_list_shows_the_place_and_connects_to_nothing(glimp: Glimp, relay: Relay) -> None:
    result = glimp("models", "list")
    assert relay.accepted == 0
    lines = [line for line in result.out.splitlines() if place(relay) in line]
    assert lines[0].startswith("  box ")
    assert f"1.6 MB, here, large on {place(relay)}, of your models.toml" in lines[0]
    assert lines[1].split() == ["large", "on", "a", "server", place(relay)]
    assert f"  on {place(relay)}, of your models.toml" in lines[2]
    found = pairs(glimp("models", "list", "--json").out)
    assert relay.accepted == 0
    large = found["box"]["large"]
    assert (large["state"], large["place"], large["path"], large["server"]) == (
        "on a server",
        place(relay),
        None,
        None,
    )
    assert (found["box"]["is_here"], found["box"]["shares_vocabulary"], found["box"]["size_bytes"]) == (
        True,
        None,
        (BUILTIN / "small.gguf").stat().st_size,
    )
    assert (found["far"]["is_here"], found["far"]["size_bytes"]) == (True, 0)
    assert found["box"]["is_default"] is False


def test_the_list_asks_the_servers_with_check(glimp: Glimp, relay: Relay) -> None:
    result = glimp("models", "list", "--check")
    assert result.code == 0, result.err
    assert "context 2,048, 1 slot, " in result.out
    found = pairs(glimp("models", "list", "--check", "--json").out)
    assert found["box"]["large"]["server"]["is_ready"] is True
    assert (found["box"]["shares_vocabulary"], found["far"]["shares_vocabulary"]) == (True, True)
    relay.refuse()
    again = glimp("models", "list", "--check")
    assert again.code == 0
    assert "nothing listens there (is the server running, on this port?)" in again.out


def test_a_plan_is_of_the_local_model_and_says_what_the_server_runs(glimp: Glimp, relay: Relay) -> None:
    result = glimp("plan", "box")
    assert result.code == 0, result.err
    assert "The small model fits: on the CPU" in result.out
    assert f"large on {place(relay)}: llama-server" in result.out
    assert "The two models have one vocabulary: token ids are handed over." in result.out
    found = json.loads(glimp("plan", "box", "--json").out)
    assert list(found["plan"]["models"]) == ["small"]
    assert (found["servers"]["small"], found["servers"]["large"]["is_ready"]) == (None, True)


def test_a_pair_of_servers_needs_no_plan(glimp: Glimp, relay: Relay) -> None:
    result = glimp("plan", "far")
    assert result.code == 0, result.err
    assert "All of it is on servers: nothing of this machine's memory is needed." in result.out
    assert result.out.count(f" on {place(relay)}: llama-server") == 2
    found = json.loads(glimp("plan", "far", "--json").out)
    assert (found["plan"], found["speed"], found["fits"], found["context"]) == (None, None, True, 2048)


def test_a_plan_by_flags_asks_the_server_that_they_name(glimp: Glimp, relay: Relay) -> None:
    result = glimp("plan", "--small", BUILTIN / "small.gguf", "--large-url", relay.url)
    assert result.code == 3
    assert f"large on {place(relay)}: it asks for a key.\n  hint: set key_env, or key_file, of this model" in result.out
    assert "Whether the two models have one vocabulary is not known" in result.out


@pytest.mark.parametrize("command", [["plan", "box"], ["models", "compare", "box"], ["models", "info", "box"]])
def test_a_server_that_is_down_is_said_with_what_to_do(glimp: Glimp, relay: Relay, command: list[str]) -> None:
    relay.refuse()
    result = glimp(*command)
    assert result.code == (3 if command[0] == "plan" else 0), result.err
    assert "nothing listens there" in result.out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_wrong_key_is_shown_by_no_command(
    glimp: Glimp, relay: Relay, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    del relay
    monkeypatch.setenv("BOX_KEY", "quite-wrong-5678")
    for command in (["plan", "box"], ["models", "compare", "box"], ["models", "info", "box"], ["models", "list"]):
        result = glimp(*command, *(["--check"] if command[-1] == "list" else []), *flags)
        assert "it refuses the key" in result.out
        assert "quite-wrong" not in result.out + result.err


def test_the_models_of_such_a_pair_are_compared(glimp: Glimp, relay: Relay, tiny: Path) -> None:
    first, *rows = glimp("models", "compare", "box").out.splitlines()
    assert first == "These two make a pair: they have one vocabulary, so token ids are handed over."
    assert any(line.split()[:2] == ["server", f"{place(relay)},"] for line in rows)
    found = json.loads(glimp("models", "compare", "far", "--json").out)
    assert (found["hand_over"], found["obstacles"], found["context_tokens"]) == ("token ids", [], 2048)
    assert found["small"]["place"] == found["large"]["place"] == place(relay)
    text = user_file().read_text().replace(str(BUILTIN / "small.gguf"), str(tiny / "small.gguf"))
    user_file().write_text(text)
    other = json.loads(glimp("models", "compare", "box", "--json").out)
    assert other["hand_over"] == "text"
    assert "tokens" in other["vocabulary_difference"]
    assert "the shorter context counts: 512 tokens" in other["notices"]


def test_such_a_pair_is_compared_by_its_name_alone(glimp: Glimp, relay: Relay) -> None:
    result = glimp("models", "compare", BUILTIN / "small.gguf", "box")
    assert result.code == 2
    assert f"box has models on servers (large on {place(relay)})" in result.err
    assert relay.accepted == 0


def test_both_models_are_told_the_one_on_the_server_by_what_it_answers(glimp: Glimp, relay: Relay) -> None:
    small, large = map(json.loads, glimp("models", "info", "box", "--json").out.splitlines())
    assert small["name"] == "glimp built-in small"
    assert (large["place"], large["vocabulary_tokens"]) == (place(relay), 2816)
    assert f"  server        {place(relay)}, llama-server" in glimp("models", "info", "box").out


def test_what_is_on_a_server_is_neither_pulled_nor_verified_nor_removed(glimp: Glimp, relay: Relay) -> None:
    pulled = glimp("models", "pull", "far", "--json")
    assert pulled.code == 0, pulled.err
    assert json.loads(pulled.out) == {"files": []}
    assert f"far: no file of the model on a server: small on {place(relay)}, large on {place(relay)}" in pulled.err
    verified = glimp("models", "verify", "box")
    assert verified.code == 0, verified.err
    assert "small.gguf" in verified.out
    assert f"box: no file of the model on a server: large on {place(relay)}" in verified.err
    assert glimp("models", "verify").code == 0
    removed = glimp("models", "rm", "far", "--yes")
    assert removed.code == 3
    assert "its models are on servers: never removed" in removed.err
    assert relay.accepted == 0


def test_a_file_that_a_server_has_taken_the_place_of_is_not_pulled_but_still_pinned(glimp: Glimp, relay: Relay) -> None:
    user_file().write_text(f'[pairs."qwen3-0.6b-4b".large]\nurl = "{relay.url}"\n')
    catalogue = load_catalogue()
    assert [source.file for source in of_pair(catalogue, "qwen3-0.6b-4b")] == ["Qwen3-0.6B-Q8_0.gguf"]
    file = pinned(catalogue, "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf")
    assert (file.url, file.size_bytes is not None, file.sha256 is not None) == (None, True, True)
    found = pairs(glimp("models", "list", "--json").out)["qwen3-0.6b-4b"]
    assert (found["large"]["state"], found["is_here"], found["size_bytes"]) == ("on a server", False, 639_446_688)


def test_settings_of_a_server_are_shown_with_where_they_come_from(glimp: Glimp, relay: Relay) -> None:
    out = glimp("config", "show", "box").out
    assert f'large.url = "{relay.url}"' in out
    assert 'large.key_env = "BOX_KEY"' in out
    assert KEY not in out


def test_threads_of_a_pair_on_servers_are_set_there(glimp: Glimp, relay: Relay) -> None:
    refused = glimp("doctor", "--tune", "--pair", "far")
    assert refused.code == 2
    assert f"no model of far computes on this machine: small on {place(relay)}" in refused.err
    assert "threads are set where the server is started" in refused.err
    assert relay.accepted == 0


@pytest.mark.slow
def test_threads_are_measured_of_the_local_model_without_a_connection_for_it(glimp: Glimp, relay: Relay) -> None:
    relay.refuse()
    result = glimp("doctor", "--tune", "--pair", "box", "--json")
    assert result.code == 0, result.err
    tuned = json.loads(result.out)["tuning"]
    assert (tuned["small"]["name"], tuned["large"]) == ("glimp built-in small", None)
    box = load_catalogue().pairs["box"]
    assert box.policy == "threshold"
    assert box.small is not None
    assert box.small.options.threads == tuned["small"]["threads"]


def test_a_server_of_all_pairs_has_those_on_servers_and_connects_when_they_are_asked(relay: Relay) -> None:
    assert {"builtin", "box", "far"} <= set(_requests(LoadRequest(), serves_all=True))
    assert relay.accepted == 0


def test_a_server_of_all_pairs_knows_which_ones_this_machine_computes(relay: Relay) -> None:
    requests, catalogue = _requests(LoadRequest(), serves_all=True), load_catalogue()
    elsewhere = {name for name, request in requests.items() if _is_elsewhere(request, catalogue)}
    assert "far" in elsewhere
    assert elsewhere.isdisjoint({"builtin", "box"})
    alone = LoadRequest(settings={"policy": "large"})
    assert _is_elsewhere(alone.named("box"), catalogue), "its small model is not loaded"
    assert relay.accepted == 0
