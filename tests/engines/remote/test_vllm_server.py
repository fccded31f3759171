"""The real vLLM: what it does on the wire, on which our client relies, and that it writes what llama-server writes."""

from __future__ import annotations

import time
from typing import Any

import psutil

from tests.conftest import BUILTIN
from tests.support.llama_server import LlamaServer
from tests.support.server_process import json_of
from tests.support.streams import streamed, until_lost
from tests.support.vllm_server import VllmServer

PROMPT = "<|im_start|>user: Emma has 57 marbles. She finds 89 more.<|im_end|>\n<|im_start|>assistant\n<think>\n"


def asked(server: VllmServer, **more: Any) -> dict[str, Any]:
    ids = server.tokenize(PROMPT)
    return {"model": server.model, "prompt": ids, "temperature": 0, "return_token_ids": True, **more}


def test_a_stream_has_all_ids_of_a_character_and_of_the_end(vllm_large: VllmServer) -> None:
    body = asked(vllm_large, max_tokens=20, structured_outputs={"regex": "aé日🙂b"})
    with streamed(vllm_large.url, "/v1/completions", body) as events:
        choices = [event["choices"][0] for event in events if event["choices"]]
    # Mostly one id a chunk, but a client that is slow gets several.
    ids = [token for choice in choices for token in choice["token_ids"]]
    assert ids == vllm_large.tokenize("aé日🙂b<|im_end|>")
    assert "".join(choice["text"] for choice in choices) == "aé日🙂b"
    assert choices[-1]["finish_reason"] == "stop"


def test_control_tokens_are_shown_where_they_are_not_skipped_and_do_not_end_it(vllm_large: VllmServer) -> None:
    (start,) = vllm_large.tokenize("<|im_start|>")
    body = asked(vllm_large, max_tokens=1, logit_bias={str(start): 100})
    texts = []
    for skip in (True, False):
        found = json_of(vllm_large.post("/v1/completions", {**body, "skip_special_tokens": skip}))
        texts.append(found["choices"][0]["text"])
    assert texts == ["", "<|im_start|>"]


def test_the_likeliest_20_have_their_ids(vllm_large: VllmServer) -> None:
    body = asked(vllm_large, max_tokens=1, logprobs=20, return_tokens_as_token_ids=True)
    with streamed(vllm_large.url, "/v1/completions", body) as events:
        logprobs = next(events)["choices"][0]["logprobs"]
    (likeliest,) = logprobs["top_logprobs"]
    assert len(likeliest) == 20
    assert all(name.startswith("token_id:") for name in likeliest)
    assert logprobs["tokens"][0] == max(likeliest, key=lambda name: likeliest[name])


def test_only_the_last_usage_says_how_much_of_the_prompt_was_cached(vllm_large: VllmServer) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = asked(vllm_large, max_tokens=3, stream_options=options)
    body["prompt"] = [*vllm_large.tokenize("A prompt of its own."), *body["prompt"] * 3]
    cached = []
    for _ in range(2):
        with streamed(vllm_large.url, "/v1/completions", body) as events:
            first, *_, last = (event["usage"] for event in events)
        assert first["prompt_tokens"] == len(body["prompt"])
        assert "prompt_tokens_details" not in first
        cached.append(last["prompt_tokens_details"]["cached_tokens"])
    assert cached == [0, (len(body["prompt"]) - 1) // 32 * 32]


def test_closing_a_stream_ends_its_request_within_a_second(vllm_large: VllmServer) -> None:
    body = asked(vllm_large, max_tokens=1500, ignore_eos=True)
    with streamed(vllm_large.url, "/v1/completions", body) as events:
        next(events)
        assert vllm_large.running() == 1
    began = time.monotonic()
    while not vllm_large.is_idle():
        assert time.monotonic() - began < 1
        time.sleep(0.01)


def test_it_writes_what_llama_server_writes(vllm_large: VllmServer) -> None:
    body = asked(vllm_large, max_tokens=120, skip_special_tokens=False)
    theirs = json_of(vllm_large.post("/v1/completions", body))["choices"][0]["token_ids"]
    with LlamaServer(BUILTIN / "large.gguf") as server:
        wanted = {"prompt": body["prompt"], "n_predict": 120, "temperature": 0, "return_tokens": True}
        assert json_of(server.post("/completion", wanted))["tokens"] == theirs


def test_a_wrong_key_is_refused_under_v1_alone_and_a_kill_leaves_no_process(vllm_large: VllmServer) -> None:
    with VllmServer(vllm_large.folder, api_key="right", cores=vllm_large.cores) as server:
        server.key = "wrong"
        assert server.get("/v1/models").json() == {"error": "Unauthorized"}
        assert server.get("/version").status_code == 200
        server.key = "right"
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) > 1
        with streamed(
            server.url, "/v1/completions", asked(server, max_tokens=1500, ignore_eos=True), key="right"
        ) as events:
            next(events)
            server.kill()
            until_lost(events)
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
