"""The real llama-server: what it does on the wire, on which our client relies, and that tests can stop and kill it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.conftest import BUILTIN
from tests.support.llama_server import LlamaServer
from tests.support.server_process import StartError, free_port, json_of
from tests.support.streams import streamed, until_lost

PROMPT = "<|im_start|>user: Emma has 57 marbles. She finds 89 more.<|im_end|>\n<|im_start|>assistant\n<think>\n"
CHARACTERS = 'root ::= "aé日🙂b"'
LONG = {"prompt": PROMPT, "n_predict": 1500, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf", parallel=2) as started:
        yield started


def test_a_stream_has_the_id_of_each_token(server: LlamaServer) -> None:
    asked = {"prompt": PROMPT, "n_predict": 12, "temperature": 0, "return_tokens": True}
    whole = json_of(server.post("/completion", asked))
    with streamed(server.url, "/completion", asked) as events:
        *pieces, last = events
    assert [token for piece in pieces for token in piece["tokens"]] == whole["tokens"]
    assert [piece["tokens_predicted"] for piece in pieces] == list(range(1, 13))
    assert last["stop_type"] == "limit"


def test_a_stream_loses_the_ids_inside_a_character_but_not_its_bytes(server: LlamaServer) -> None:
    asked = {"prompt": PROMPT, "n_predict": 20, "temperature": 0, "return_tokens": True, "grammar": CHARACTERS}
    whole = json_of(server.post("/completion", asked))["tokens"]
    with streamed(server.url, "/completion", {**asked, "n_probs": 1}) as events:
        *pieces, _ = events
    assert len(whole) == 12
    assert [piece["tokens"] for piece in pieces] == [[whole[at]] for at in (0, 2, 5, 9, 10, 11)]
    assert [piece["tokens_predicted"] for piece in pieces] == [1, 3, 6, 10, 11, 12]
    sent = [bytes(piece["completion_probabilities"][0]["bytes"]) for piece in pieces]
    assert sent == [b"a", "é".encode(), "日".encode(), "🙂".encode(), b"b", b""]


def test_a_character_that_the_limit_cuts_is_in_no_chunk_of_a_stream(server: LlamaServer) -> None:
    asked = {"prompt": PROMPT, "n_predict": 4, "return_tokens": True, "grammar": CHARACTERS}
    with streamed(server.url, "/completion", asked) as events:
        found = list(events)
    assert [(event["content"], event["tokens_predicted"]) for event in found] == [("a", 1), ("é", 3), ("", 4)]


def test_control_tokens_have_text_where_they_are_preserved(server: LlamaServer) -> None:
    end = server.tokenize("<|im_end|>")
    asked = {"prompt": PROMPT, "n_predict": 3, "return_tokens": True, "logit_bias": [[end[0], 1000]]}
    with streamed(server.url, "/completion", asked) as events:
        hidden = next(events)
    with streamed(server.url, "/completion", {**asked, "preserved_tokens": ["<|im_end|>"]}) as events:
        shown, last = events
    assert (hidden["tokens"], hidden["content"]) == (end, "")
    assert (shown["tokens"], shown["content"]) == (end, "<|im_end|>")
    assert last["stop_type"] == "eos"


def test_the_first_chunk_says_how_much_of_the_prompt_was_cached(server: LlamaServer) -> None:
    asked = {"prompt": PROMPT, "n_predict": 1, "timings_per_token": True, "id_slot": 1}
    for _ in range(2):
        with streamed(server.url, "/completion", asked) as events:
            timings = next(events)["timings"]
    assert timings["cache_n"] == len(server.tokenize(PROMPT)) - 1
    assert timings["prompt_n"] == 1


def test_closing_a_stream_frees_the_slot_within_a_second(server: LlamaServer) -> None:
    with streamed(server.url, "/completion", LONG) as events:
        assert next(events)["content"]
        assert not server.is_idle()
    assert server.seconds_until_idle() < 1


def test_a_wrong_key_is_refused_everywhere_but_at_the_health_check() -> None:
    with LlamaServer(BUILTIN / "small.gguf", api_key="right") as server:
        server.key = "wrong"
        assert server.post("/completion", {"prompt": "a"}).status_code == 401
        assert server.get("/props").status_code == 401
        assert server.get("/health").status_code == 200
        server.key = "right"
        assert server.get("/props").status_code == 200


def test_a_prompt_that_is_too_long_says_both_numbers(server: LlamaServer) -> None:
    response = server.post("/completion", {"prompt": [68] * 3000})
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == ("exceed_context_size_error", 3000, 2048)


def test_a_server_killed_in_mid_stream_starts_again_on_its_port() -> None:
    with LlamaServer(BUILTIN / "small.gguf") as server:
        url = server.url
        with streamed(url, "/completion", LONG) as events:
            next(events)
            assert server.kill() == -9
            until_lost(events)
        with pytest.raises(httpx2.ConnectError):
            server.get("/health")
        server.start()
        assert server.url == url
        assert server.is_idle()


def test_a_server_stops_in_mid_stream_and_leaves_no_process() -> None:
    with LlamaServer(BUILTIN / "small.gguf") as server:
        process = psutil.Process(server.pid)
        with streamed(server.url, "/completion", LONG) as events:
            next(events)
            began = time.monotonic()
            assert server.stop() in {0, -signal.SIGALRM}
        assert time.monotonic() - began < 5
        assert not process.is_running()


def test_another_model_may_come_after_a_restart() -> None:
    with LlamaServer(BUILTIN / "small.gguf", alias="model") as server:
        before = server.get("/v1/models").json()["data"][0]["meta"]["n_params"]
        server.stop()
        server.model = BUILTIN / "large.gguf"
        server.start()
        assert server.get("/v1/models").json()["data"][0]["meta"]["n_params"] > before


def test_a_model_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"there is no model .*missing\.gguf"), LlamaServer(tmp_path / "missing.gguf"):
        pass


def test_a_port_that_is_taken_is_an_error_in_words(server: LlamaServer) -> None:
    taken = LlamaServer(BUILTIN / "small.gguf", port=server.port)
    with pytest.raises(StartError, match=f"port {server.port} of 127.0.0.1 is taken"), taken:
        pass


def test_a_broken_model_is_an_error_with_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF is not all there is to it")
    with pytest.raises(StartError, match="ended with status 1"), LlamaServer(broken, port=free_port()):
        pass
