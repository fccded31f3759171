"""What a pair's servers are asked before it is loaded: the real llama-server, and servers that misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import pytest

from glimp_local.engines.remote.vocabulary import ServerVocabulary
from glimp_local.errors import UsageError
from glimp_local.machine import servers
from glimp_local.machine.server_pairs import compare_on_servers
from glimp_local.machine.servers import look_at, look_at_all
from glimp_local.settings import ModelSource, PairConfig
from tests.conftest import BUILTIN
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay
from tests.support.server_process import free_port
from tests.support.vllm_server import VllmServer

pytestmark = pytest.mark.process
KEY = "open-sesame-1234"
SMALL = ModelSource(path=str(BUILTIN / "small.gguf"))


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf", parallel=2, alias="the large one") as started:
        yield started


@pytest.fixture(scope="module")
def locked() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "small.gguf", api_key=KEY) as started:
        yield started


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little patience with servers that say nothing."""
    monkeypatch.setattr(servers, "REACH_SECONDS", 1.5)


def with_large(url: str, small: ModelSource = SMALL, **settings: Any) -> PairConfig:
    return PairConfig(small=small, large=ModelSource(url=url, **settings))


@contextmanager
def answering(replies: dict[str, Any], asked: list[str] | None = None) -> Iterator[str]:
    """Run a server that has one answer for each path, and give its URL; `asked` gets the paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            found = replies.get(self.path)
            body = json.dumps(found if found is not None else {"error": "not here"}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that the base class looks for

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_a_server_says_what_it_runs_and_whose_vocabulary_that_has(server: LlamaServer) -> None:
    found = look_at(with_large(f"{server.url}/v1/"))
    assert found.small is None
    assert found.large is not None
    assert found.large.place == f"127.0.0.1:{server.port}"
    assert (found.large.is_ready, found.large.problem, found.large.warning) == (True, None, None)
    assert (found.large.engine or "").startswith("llama-server")
    assert (found.large.model, found.large.context_tokens, found.large.slots) == ("the large one", 2048, 2)
    assert (found.large.vocabulary_tokens, found.large.takes_token_ids) == (2816, True)
    assert found.large.template is not None
    assert found.large.template.thinking_close == "</think>"
    assert 0 < (found.large.latency_seconds or 0) < 5
    assert (found.shares_vocabulary, found.vocabulary_difference) == (True, None)
    assert found.vocabulary_in_words() == "The two models have one vocabulary: token ids are handed over"


def test_another_vocabulary_is_a_difference_and_a_missing_file_is_unknown(server: LlamaServer, tiny: Path) -> None:
    found = look_at_all(
        {
            "other": with_large(server.url, ModelSource(path=str(tiny / "small.gguf"))),
            "missing": with_large(server.url, ModelSource(path=str(tiny / "nowhere.gguf"))),
        }
    )
    assert found["other"].shares_vocabulary is False
    assert "tokens" in (found["other"].vocabulary_difference or "")
    assert (found["other"].vocabulary_in_words() or "").endswith("text is handed over, not token ids")
    assert found["missing"].shares_vocabulary is None
    assert found["missing"].vocabulary_difference == "the small model's file is not here"


def test_two_servers_are_compared_with_one_another(
    server: LlamaServer, locked: LlamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_KEY", KEY)
    both = PairConfig(small=ModelSource(url=locked.url, key_env="BOX_KEY"), large=ModelSource(url=server.url))
    found = look_at(both)
    assert found.is_ready
    assert set(found.states) == {"small", "large"}
    assert found.shares_vocabulary is True


@pytest.mark.parametrize(
    ("key", "says"),
    [(None, "it asks for a key"), ("not-the-key-9876", "it refuses the key")],
)
def test_a_key_that_is_missing_or_wrong_is_the_problem_and_is_shown_nowhere(
    locked: LlamaServer, tmp_path: Path, key: str | None, says: str
) -> None:
    file = tmp_path / "key"
    file.write_text(key or "")
    found = look_at(with_large(locked.url, key_file=str(file) if key else None))
    assert found.large is not None
    assert (found.large.is_ready, found.large.problem) == (False, says)
    assert found.large.hint is not None
    assert found.shares_vocabulary is None
    assert key is None or key.encode() not in msgspec.json.encode(found)


def test_a_variable_without_a_key_is_said_and_nothing_is_connected_to(server: LlamaServer) -> None:
    with Relay(server.url) as relay:
        found = look_at(with_large(relay.url, key_env="NO_SUCH_KEY"))
        assert relay.accepted == 0
    assert found.large is not None
    assert found.large.problem == "the environment variable that key_env names holds no key"


def test_a_password_in_an_address_is_not_shown(server: LlamaServer) -> None:
    found = look_at(with_large(f"http://jane:{KEY}@127.0.0.1:{server.port}"))
    assert found.large is not None
    assert found.large.place == "an address that cannot be used"
    assert "no key or password" in (found.large.problem or "")
    assert KEY.encode() not in msgspec.json.encode(found)


def test_a_server_that_is_down_or_still_loads_is_reported_at_once(server: LlamaServer) -> None:
    began = monotonic()
    down = look_at(with_large(f"http://127.0.0.1:{free_port()}"))
    with Relay(server.url) as relay:
        relay.is_loading = True
        loading = look_at(with_large(relay.url))
    assert monotonic() - began < servers.REACH_SECONDS
    assert down.large is not None
    assert (down.large.problem, down.is_ready) == ("nothing listens there", False)
    assert loading.large is not None
    assert (loading.large.problem, loading.large.hint) == ("it is still loading its model", "try again in a moment")


@pytest.mark.usefixtures("hasty")
def test_silent_servers_cost_their_time_once_and_others_are_looked_at_meanwhile(server: LlamaServer) -> None:
    with Relay(server.url) as one, Relay(server.url) as two:
        one.silence()
        two.silence()
        wanted = {"one": one.url, "two": two.url, "well": server.url}
        began = monotonic()
        found = look_at_all({name: with_large(url) for name, url in wanted.items()})
        assert monotonic() - began < 2 * 1.5
    assert {name: answered.is_ready for name, answered in found.items()} == {"one": False, "two": False, "well": True}
    assert found["one"].large is not None
    assert found["one"].large.problem == "no answer within 1.5 seconds"
    assert found["well"].shares_vocabulary is True


def test_a_server_that_falls_silent_while_tokens_are_compared_is_waited_for_no_longer(
    server: LlamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(server.url) as relay:

        def silent(*given: Any) -> ServerVocabulary:
            relay.silence()
            return ServerVocabulary(*given)

        monkeypatch.setattr(servers, "ServerVocabulary", silent)
        monkeypatch.setattr(servers, "COMPARE_SECONDS", 0.5)
        began = monotonic()
        found = look_at(with_large(relay.url))
        assert monotonic() - began < 3
    assert found.large is not None
    assert found.large.is_ready
    assert (found.shares_vocabulary, found.vocabulary_difference) == (None, "comparing took longer than 0.5 seconds")


def test_a_server_of_two_pairs_is_asked_once() -> None:
    asked: list[str] = []
    with answering({"/v1/models": {"data": [{"id": "m"}]}}, asked) as url:
        look_at(with_large(url))
        alone = len(asked)
        found = look_at_all({"one": with_large(url), "two": with_large(url, ModelSource(path="other.gguf"))})
    assert found["one"].large == found["two"].large
    assert len(asked) == 2 * alone


def test_all_connections_are_closed_at_the_end(server: LlamaServer) -> None:
    with Relay(server.url) as relay:
        assert look_at(with_large(relay.url)).is_ready
        until = monotonic() + 5
        while relay.open and monotonic() < until:
            sleep(0.01)
        assert relay.open == 0


def test_a_server_with_text_alone_hands_over_text() -> None:
    models = {"data": [{"id": "qwen3:32b"}]}
    with answering({"/v1/models": models}) as url:
        found = look_at(with_large(url))
    assert found.large is not None
    assert (found.large.is_ready, found.large.takes_token_ids, found.large.model) == (True, False, "qwen3:32b")
    assert found.shares_vocabulary is None
    assert (found.vocabulary_difference or "").endswith("takes text alone")


def test_a_server_with_text_alone_makes_a_pair_as_the_large_model_and_none_as_the_small_one() -> None:
    with answering({"/v1/models": {"data": [{"id": "qwen3:32b"}]}}) as url:
        text = ModelSource(url=url)
        as_large = compare_on_servers("box", PairConfig(small=SMALL, large=text))
        as_small = compare_on_servers("box", PairConfig(small=text, large=SMALL))
        templated = compare_on_servers("box", PairConfig(small=SMALL, large=text, chat_template="x.jinja"))
    assert (as_large.obstacles, as_large.hand_over, as_large.needs_template) == ((), "text", True)
    assert as_large.verdict.startswith(
        "These two make a pair with --chat-template FILE (the large model has none), but"
    )
    assert templated.needs_template is False
    assert as_small.hand_over is None
    assert "cannot be glimpsed at" in as_small.verdict


def test_a_pair_of_one_model_is_not_compared() -> None:
    with pytest.raises(UsageError, match="one model alone"):
        compare_on_servers("box", PairConfig(large=ModelSource(url="http://127.0.0.1:9"), policy="large"))


@pytest.mark.parametrize(
    "replies",
    [
        {},
        {"/v1/models": []},
        {"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}},
        {"/v1/models": {"data": [{"id": "m", "meta": "x"}]}, "/props": {"default_generation_settings": {"n_ctx": 9}}},
        {"/v1/models": {"data": "\x1b[2J"}, "/version": {"version": "0.32"}},
    ],
)
def test_whatever_a_server_answers_is_a_problem_in_one_line(replies: dict[str, Any]) -> None:
    with answering(replies) as url:
        found = look_at(with_large(url))
    assert found.large is not None
    assert not found.large.is_ready
    assert found.large.problem
    assert found.large.problem.isprintable()


def test_a_model_that_the_policy_does_without_is_not_asked_for(server: LlamaServer) -> None:
    with Relay(server.url) as relay:
        found = look_at(msgspec.structs.replace(with_large(relay.url), policy="small"))
        assert relay.accepted == 0
    assert (found.states, found.vocabulary_in_words()) == ({}, None)


def test_vllm_says_what_it_runs_and_whose_vocabulary_that_has(vllm_large: VllmServer) -> None:
    found = look_at(with_large(vllm_large.url))
    assert found.large is not None
    assert (found.large.engine or "").startswith("vLLM 0.")
    assert (found.large.context_tokens, found.large.takes_token_ids) == (2048, True)
    assert (found.large.template, found.large.slots) == (None, None)
    assert found.shares_vocabulary is True
