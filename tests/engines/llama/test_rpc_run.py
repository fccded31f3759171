"""Layers on llama.cpp's own RPC server, in a second process on this machine: where the binding was built with RPC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from glimp_local import load_pair
from glimp_local.engines.llama import binding, rpc, servers
from glimp_local.engines.llama.engine import Engine
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.settings import EngineOptions
from tests.support.commands import Glimp, started
from tests.support.engines import IDS
from tests.support.rpc_server import serving
from tests.support.sessions import GREEDY, engine_in, run
from training.samples import STORIES, SUITE, held_out

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not binding.supports_rpc() and "GGML_RPC" not in os.environ.get("CMAKE_ARGS", ""),
        reason="llama-cpp-python was built without RPC: CMAKE_ARGS=-DGGML_RPC=ON",
    ),
]

STORIES_ASKED = [story.question for story in held_out(STORIES, 6, SUITE)]
LAYERS = 9
"""Of the built-in large model, its output included."""


class Written(NamedTuple):
    """One run."""

    steps: list[tuple[Model, str, int]]
    """Who wrote each, what, and in how many tokens."""
    answer: str
    ids: list[int]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as (endpoint, _):
        yield endpoint


def opened(*, large: dict[str, Any] | None = None, **settings: Any) -> Pair:
    # A threshold under which both models write.
    chosen = {"sampling": GREEDY, "threshold": 0.3, "draft": "off", **settings}
    return load_pair("builtin", engine_options={"large": large or {}}, **chosen)


def asked(pair: Pair) -> list[Written]:
    """Have all stories solved; return what was written, and all tokens the large model has read and written."""
    found = []
    for story in STORIES_ASKED:
        solution = run(pair, story)
        steps = [(step.model, step.text, step.tokens) for step in solution.steps]
        found.append(Written(steps, solution.answer, engine_in(pair, "large").ids.copy()))
    return found


@pytest.fixture(scope="module")
def local() -> list[Written]:
    with opened() as pair:
        found = asked(pair)
    assert {model for written in found for model, _, _ in written.steps} == {"small", "large"}
    return found


@pytest.mark.parametrize("count", [LAYERS, 4])
def test_a_greedy_run_with_layers_on_a_server_writes_the_tokens_of_one_without(
    server: str, local: list[Written], count: int
) -> None:
    with opened(large={"rpc": [server], "gpu_layers": count}) as pair:
        small, large = pair.backends["small"], pair.backends["large"]
        assert (large.where, small.where) == (
            f"{'all' if count == LAYERS else count} layers on {server}",
            "CPU, 1 thread",
        )
        assert large.devices == {"CPU", f"rpc {server}"}  # the server computes on this CPU
        assert small.devices == {"CPU"}
        assert asked(pair) == local


def test_drafts_are_taken_back_on_a_server_as_they_are_here(server: str, local: list[Written]) -> None:
    with opened(large={"rpc": [server]}, draft=4) as pair:
        assert [(each.steps, each.answer) for each in asked(pair)] == [(each.steps, each.answer) for each in local]


def test_a_model_without_servers_stays_here_whatever_was_loaded_before(server: str, small: Path) -> None:
    before = (binding.devices(), binding.gpus())
    with ExitStack() as stack:
        pair = stack.enter_context(opened(large={"rpc": [server]}))
        assert (binding.devices(), binding.gpus()) == before
        later = Engine(small, EngineOptions(gpu_layers=-1))
        stack.callback(later.close)
        assert later.placement.devices == {"CPU"}
        assert engine_in(pair, "large").placement.remote
        assert rpc.watch(server) == 1
    with serving() as (endpoint, process):
        engine = Engine(small, EngineOptions(rpc=(endpoint,)))
        engine.feed(IDS)
        engine.close()
        process.kill()
        process.wait()
        alone = Engine(small, EngineOptions(gpu_layers=-1))  # llama.cpp would end this process if it needed the server
        alone.feed(IDS)
        alone.close()


def test_models_of_one_process_share_a_server_which_is_free_again_when_they_are_closed(server: str, tiny: Path) -> None:
    paths = [tiny / "attention.gguf", tiny / "hybrid.gguf"]
    expected = []
    for path in paths:
        engine = Engine(path, context=512)
        engine.feed(IDS)
        expected.append(engine.logits().copy())
        engine.close()
    engines = [Engine(path, EngineOptions(rpc=(server,)), context=512) for path in paths]
    for engine, logits in zip(engines, expected, strict=True):
        engine.feed(IDS)
        assert engine.logits() == pytest.approx(logits, abs=0.03)
        assert servers._in_use[server] == 2
    for engine in engines:
        engine.close()
    assert servers._in_use[server] == 0
    assert servers.devices([server])  # over a connection of its own: nobody else has one


def test_what_was_read_on_a_server_comes_back_from_a_file(server: str, tiny: Path, tmp_path: Path) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(rpc=(server,)), context=512)
    engine.feed(IDS)
    logits = engine.logits().copy()
    engine.save_state(tmp_path / "state")
    engine.sync(IDS[:7])
    assert engine.load_state(tmp_path / "state") == len(IDS)
    engine.sync(IDS)
    assert engine.logits() == pytest.approx(logits, abs=0.03)
    engine.close()


def test_a_server_that_was_started_again_is_used_again(small: Path) -> None:
    with serving() as (endpoint, process):
        Engine(small, EngineOptions(rpc=(endpoint,))).close()
        process.kill()
        process.wait()
        with serving(endpoint):
            engine = Engine(small, EngineOptions(rpc=(endpoint,)))
            engine.feed(IDS)
            engine.close()


def test_a_server_that_dies_in_mid_run_ends_glimp_with_words_that_name_it(glimp: Glimp, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    with serving() as (endpoint, process):
        patient = glimp.tiny / "patient.gguf"
        models.write_text(
            f'[pairs.net.small]\npath = "{patient}"\n[pairs.net.large]\npath = "{patient}"\n'
            f'[pairs.net.large.options]\nrpc = ["{endpoint}"]\n'
        )
        command = glimp.endless("--pair", "net", "--models", models)
        first = command.index("--small")
        command[first : first + 4] = ["--policy", "large"]
        with started(command) as (running, _):
            process.kill()
            _, errors = running.communicate(timeout=60)
    assert running.returncode == 6
    said = errors.decode()
    assert f"glimp: the connection to the RPC server {endpoint} was lost while at work with " in said
    assert "the server (ggml-rpc-server) runs, then run glimp solve again" in said
