"""Routed runs with models on a real vLLM, where GLIMP_VLLM_PYTHON names one: the large model there, and both."""

from __future__ import annotations

import time

import httpx2
import pytest

from glimp_local import Session
from glimp_local.events import fold
from tests.engines.remote.asking import QUESTION, questions, remote, solve, texts, transcript
from tests.engines.remote.conftest import OpenRemote
from tests.support.vllm_server import VllmServer


def test_a_large_model_on_vllm_writes_what_it_writes_here(vllm_large: VllmServer, open_pair: OpenRemote) -> None:
    here, there = open_pair(), open_pair(large_url=vllm_large.url)
    assert there.shares_vocabulary
    assert there.notices == []
    assert there.markers == here.markers
    written = 0
    for question in questions(10):
        sessions = Session(here, seed=1), Session(there, seed=1)
        runs = [fold(session.ask(question)) for session in sessions]
        assert texts(runs[1]) == texts(runs[0])
        for model in ("small", "large"):
            assert transcript(sessions[1], model) == transcript(sessions[0], model)
        written += runs[1].stats.large.tokens if runs[1].stats.large else 0
    assert written > 10


def test_both_models_on_vllm_write_what_they_write_here(
    vllm_small: VllmServer, vllm_large: VllmServer, open_pair: OpenRemote
) -> None:
    here = open_pair(top_k=20)
    there = open_pair(small_url=vllm_small.url, large_url=vllm_large.url)
    assert there.shares_vocabulary
    assert there.markers == here.markers
    for question in questions(5):
        ours, theirs = solve(here, question), solve(there, question)
        assert texts(theirs) == texts(ours)
        assert theirs.stats.entropies_nats == pytest.approx(ours.stats.entropies_nats, abs=0.01)


def test_a_model_of_vllm_alone_writes_its_steps_in_one_request(vllm_large: VllmServer, open_pair: OpenRemote) -> None:
    before = _finished(vllm_large)
    solution = solve(open_pair(large_url=vllm_large.url, policy="large"))
    assert texts(solution) == texts(solve(open_pair(policy="large")))
    assert _finished(vllm_large) == before + 1


def test_a_cancel_ends_the_request_on_vllm_within_a_second(vllm_large: VllmServer, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=vllm_large.url, policy="large"), seed=1)
    for number, _ in enumerate(session.ask(QUESTION)):
        if number == 10:
            session.cancel()
    end = time.monotonic() + 1
    while _metric(vllm_large, "vllm:num_requests_running") and time.monotonic() < end:
        time.sleep(0.02)
    assert _metric(vllm_large, "vllm:num_requests_running") == 0


def test_vllm_names_itself(vllm_large: VllmServer, open_pair: OpenRemote) -> None:
    backend = remote(open_pair(large_url=vllm_large.url, policy="large"))
    assert backend.where.startswith("vLLM ")
    assert backend.parallel > 1
    assert backend.context == 2048


def _finished(server: VllmServer) -> float:
    return _metric(server, "vllm:request_success_total")


def _metric(server: VllmServer, name: str) -> float:
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))
