"""The relay that failure tests put in front of a server: it loses, delays and holds back exactly what it is told to."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import BUILTIN
from tests.support.certificates import self_signed
from tests.support.llama_server import LlamaServer
from tests.support.relay import LOADING, Relay
from tests.support.server_process import free_port
from tests.support.streams import streamed, until_lost

LONG = {"prompt": "<|im_start|>user: hi<|im_end|>\n", "n_predict": 1500, "temperature": 0, "ignore_eos": True}
SHORT = {**LONG, "n_predict": 5}


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "small.gguf", parallel=2) as started:
        yield started


@pytest.fixture
def relay(server: LlamaServer) -> Iterator[Relay]:
    with Relay(server.url) as started:
        yield started


def answers(relay: Relay) -> bool:
    return httpx2.get(f"{relay.url}/health", timeout=10).status_code == 200


def test_everything_is_passed_on(relay: Relay) -> None:
    with streamed(relay.url, "/completion", SHORT) as events:
        assert len(list(events)) == 6
    assert relay.accepted == 1


def test_a_client_that_leaves_is_seen_by_the_server(server: LlamaServer, relay: Relay) -> None:
    with streamed(relay.url, "/completion", LONG) as events:
        next(events)
    assert server.seconds_until_idle() < 1


@pytest.mark.parametrize("reset", [False, True], ids=["in order", "by a reset"])
def test_connections_are_cut_now(server: LlamaServer, relay: Relay, *, reset: bool) -> None:
    with streamed(relay.url, "/completion", LONG) as events:
        next(events)
        assert relay.cut(reset=reset) == 1
        until_lost(events)
    assert server.seconds_until_idle() < 1
    assert answers(relay)


def test_streams_are_cut_behind_their_third_event_as_often_as_is_said(relay: Relay) -> None:
    relay.cut_after(events=3, times=2)
    for _ in range(2):
        with streamed(relay.url, "/completion", SHORT) as events:
            assert [event["tokens_predicted"] for event in until_lost(events)] == [1, 2, 3]
    with streamed(relay.url, "/completion", SHORT) as events:
        assert len(list(events)) == 6


def test_what_was_sent_before_does_not_count_towards_a_cut(relay: Relay) -> None:
    with streamed(relay.url, "/completion", LONG) as events:
        seen = [next(events) for _ in range(5)]
        relay.cut_after(events=1)
        seen += until_lost(events)
    assert len(seen) >= 6


def test_exactly_so_many_bytes_come_through(relay: Relay) -> None:
    relay.cut_after(size_bytes=40)
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while data := client.recv(100):
            received += data
    assert len(received) == 40
    assert answers(relay)


def test_new_connections_are_refused_until_it_listens_again(relay: Relay) -> None:
    relay.refuse()
    with pytest.raises(httpx2.ConnectError):
        answers(relay)
    relay.listen()
    assert answers(relay)


def test_a_delay_counts_each_way(relay: Relay) -> None:
    relay.delay_seconds = 0.15
    began = time.monotonic()
    assert answers(relay)
    assert 0.3 <= time.monotonic() - began < 3


def test_a_delay_holds_up_a_whole_stream_once(relay: Relay) -> None:
    relay.delay_seconds = 0.1
    began = time.monotonic()
    with streamed(relay.url, "/completion", {**LONG, "n_predict": 60}) as events:
        assert len(list(events)) == 61
    assert 0.2 <= time.monotonic() - began < 4  # 61 events with a delay each would take 6 seconds


def test_silence_keeps_connections_open_and_everything_comes_afterwards(relay: Relay) -> None:
    with httpx2.Client(timeout=0.3) as client:
        relay.silence()
        with pytest.raises(httpx2.ReadTimeout):
            client.get(f"{relay.url}/health")
        assert relay.accepted == 1
    relay.speak()
    assert answers(relay)


def test_it_answers_that_the_model_loads_and_then_passes_on(relay: Relay) -> None:
    relay.load_for(0.3)
    loading = httpx2.post(f"{relay.url}/completion", json=SHORT)
    assert loading.status_code == 503
    assert loading.json() == LOADING
    time.sleep(0.4)
    assert answers(relay)


def test_a_client_that_does_not_trust_the_certificate_is_not_connected(server: LlamaServer, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    with Relay(server.url, tls=made.server()) as relay:
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            answers(relay)
        trusting = ssl.create_default_context(cafile=made.path)
        with streamed(relay.url, "/completion", SHORT, verify=trusting) as events:
            assert len(list(events)) == 6


def test_a_certificate_of_another_name_is_not_accepted(server: LlamaServer, tmp_path: Path) -> None:
    made = self_signed(tmp_path, name="DNS:elsewhere.example")
    trusting = ssl.create_default_context(cafile=made.path)
    with Relay(server.url, tls=made.server()) as relay, pytest.raises(httpx2.ConnectError, match="not valid for"):
        httpx2.get(f"{relay.url}/health", verify=trusting)


def test_a_server_that_is_gone_ends_the_connection_without_a_word() -> None:
    with Relay(f"127.0.0.1:{free_port()}") as relay, pytest.raises(httpx2.TransportError):
        answers(relay)
