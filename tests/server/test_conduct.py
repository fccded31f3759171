"""How a server behaves: clients that leave, queues, keys, crashes, signals."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.conftest import Serve, Served, is_gone

pytestmark = pytest.mark.process

ASKED = [{"role": "user", "content": "How many steps are there?"}]
ENDLESS: dict[str, Any] = {"messages": ASKED, "max_tokens": 100_000}


def until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def metric(served: Served, name: str) -> float:
    line = next(line for line in served.get("/metrics").text.splitlines() if line.startswith(f"glimp_{name} "))
    return float(line.rsplit(" ", 1)[1])


def is_idle(served: Served) -> bool:
    return not (metric(served, "requests_running") or metric(served, "requests_waiting"))


def endless(serving: Serve, *arguments: str) -> Served:
    """A server whose replies do not end for a long time."""
    long = ("--temperature", "1", "--max-answer", "15000", "--ctx", "16384")
    return serving(*long, *arguments, small="rambling", large="rambling")


def test_the_models_are_listed_and_described(served: Served) -> None:
    listed = served.client.models.list().data
    assert [model.id for model in listed] == ["small + large", "small + large:small", "small + large:large"]
    one = served.get("/v1/models/small + large:large").json()
    assert (one["meta"]["n_ctx"], one["glimp"]["policy"]) == (512, "large")
    assert served.get("/v1/models/other").status_code == 404


def test_other_endpoints(served: Served) -> None:
    assert served.get("/health").json() == {"status": "ok"}
    assert served.get("/props").json()["default_generation_settings"] == {"n_ctx": 512}
    ids = served.post("/tokenize", {"content": "First one."}).json()["tokens"]
    assert len(ids) >= 2
    assert served.get("/nothing").status_code == 404
    assert served.get("/v1/chat/completions").status_code == 405
    assert served.get("/nothing").json()["error"]["message"] == "there is no GET /nothing"
    assert served.post("/tokenize", {"content": 3}).status_code == 400
    assert "# TYPE glimp_requests_total counter" in served.get("/metrics").text


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_request_and_no_other(serving: Serve, stream: bool) -> None:
    served = endless(serving)
    asked = asked_by_hand({**ENDLESS, "stream": stream})
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(asked)
        until(lambda: metric(served, "requests_running") == 1)
        with socket.create_connection(("127.0.0.1", served.port)) as waiting:
            waiting.sendall(asked)
            until(lambda: metric(served, "requests_waiting") == 1)
        until(lambda: metric(served, "requests_waiting") == 0)
        assert metric(served, "requests_running") == 1, "the one that computes is not disturbed"
    until(lambda: is_idle(served), 5.0)
    counted = served.get("/metrics").text
    assert 'glimp_requests_total{finish_reason="cancelled"} 1' in counted
    assert 'glimp_requests_total{finish_reason="left"} 1' in counted
    assert served.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 5}).status_code == 200


def asked_by_hand(body: dict[str, Any]) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def test_a_client_that_does_not_read_holds_up_nobody(serving: Serve) -> None:
    served = endless(serving, "--max-thought", "10000")
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", served.port))
        stalled.sendall(asked_by_hand({"messages": ASKED, "stream": True, "reasoning_format": "both"}))
        until(lambda: metric(served, "requests_running") == 1)
        reply = served.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 5})
        assert reply.status_code == 200


def test_a_stream_says_while_it_waits_that_it_does(serving: Serve) -> None:
    served = endless(serving, "--ping-seconds", "0.05")
    with socket.create_connection(("127.0.0.1", served.port)) as first:
        first.sendall(asked_by_hand(ENDLESS))
        until(lambda: metric(served, "requests_running") == 1)
        with httpx2.stream(
            "POST", f"{served.url}/v1/chat/completions", json={**ENDLESS, "stream": True}, timeout=20
        ) as waiting:
            lines = (line for line in waiting.iter_lines() if line)
            assert [next(lines) for _ in range(3)] == [": waiting"] * 3
            first.close()
            assert '"role":"assistant"' in next(line for line in lines if line != ": waiting")


def test_an_error_behind_a_comment_comes_in_the_stream_and_is_counted(serving: Serve) -> None:
    served = endless(serving, "--ping-seconds", "0.05")
    too_long = [{"role": "user", "content": "long " * 20_000}]
    with socket.create_connection(("127.0.0.1", served.port)) as first:
        first.sendall(asked_by_hand(ENDLESS))
        until(lambda: metric(served, "requests_running") == 1)
        threading.Timer(0.5, first.close).start()
        reply = served.post("/v1/chat/completions", {"messages": too_long, "stream": True})
    assert reply.status_code == 200
    assert '"code":"context_length_exceeded"' in reply.text
    assert reply.text.endswith("data: [DONE]\n\n")
    assert metric(served, "request_errors_total") == 1


def test_who_does_not_want_to_wait_is_told_so_at_once(serving: Serve) -> None:
    served = endless(serving)
    with socket.create_connection(("127.0.0.1", served.port)) as first:
        first.sendall(asked_by_hand(ENDLESS))
        until(lambda: metric(served, "requests_running") == 1)
        refused = served.post("/v1/chat/completions", {**ENDLESS, "glimp": {"wait": False}})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")


def test_a_client_that_leaves_while_the_pair_is_loaded_does_not_stop_the_loading(serving: Serve) -> None:
    served = serving()
    served.worker.kill()
    until(lambda: served.get("/health").status_code == 503)
    with socket.create_connection(("127.0.0.1", served.port)) as leaving:
        leaving.sendall(asked_by_hand(ENDLESS))
    until(lambda: served.get("/health").status_code == 200)
    until(lambda: is_idle(served))
    assert served.post("/v1/chat/completions", {"messages": ASKED}).status_code == 200


def test_a_crash_is_no_trouble_for_who_asks_for_the_models(serving: Serve) -> None:
    served = endless(serving)
    with ThreadPoolExecutor(2) as pool:
        reply = pool.submit(served.post, "/v1/chat/completions", ENDLESS)
        until(lambda: metric(served, "requests_running") == 1)
        time.sleep(0.2)
        served.worker.kill()
        listed = [pool.submit(served.get, "/v1/models") for _ in range(5)]
        assert {each.result(20).status_code for each in listed} == {200}
        assert reply.result(20).status_code == 500


def test_a_long_text_to_tokenise_does_not_keep_a_reply_from_being_stopped(serving: Serve) -> None:
    served = endless(serving)
    with ThreadPoolExecutor(1) as pool:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.sendall(asked_by_hand(ENDLESS))
            until(lambda: metric(served, "requests_running") == 1)
            tokens = pool.submit(served.post, "/tokenize", {"content": "First one. " * 200_000})
            time.sleep(0.2)
        until(lambda: is_idle(served), 5.0)
        assert len(tokens.result(60).json()["tokens"]) >= 400_000


def test_requests_wait_in_line_and_beyond_it_are_sent_away(serving: Serve) -> None:
    served = serving("--queue", "3")
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: served.post("/v1/chat/completions", {"messages": ASKED}), range(12)))
    assert {reply.status_code for reply in replies} <= {200, 503}
    for reply in replies:
        if reply.status_code == 503:
            assert reply.headers["retry-after"] == "5"
            assert reply.json()["error"]["code"] == "busy"
        else:
            assert reply.json()["choices"][0]["message"]["content"] == "Answer \\boxed{3}"
    assert sum(reply.status_code == 200 for reply in replies) >= 4


def test_behind_a_full_line_a_request_is_told_to_come_again(serving: Serve) -> None:
    served = endless(serving, "--queue", "3")
    clients = []
    for _ in range(4):
        clients.append(socket.create_connection(("127.0.0.1", served.port)))
        clients[-1].sendall(asked_by_hand(ENDLESS))
        until(lambda: metric(served, "requests_running") == 1)
        until(lambda: metric(served, "requests_waiting") == len(clients) - 1)
    refused = served.post("/v1/chat/completions", ENDLESS)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    for client in clients:
        client.close()
    until(lambda: is_idle(served))
    assert served.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 5}).status_code == 200


def test_a_worker_that_is_killed_costs_one_request(serving: Serve) -> None:
    served = endless(serving)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(served.post, "/v1/chat/completions", ENDLESS)
        until(lambda: metric(served, "requests_running") == 1)
        time.sleep(0.3)
        served.worker.kill()
        failed = reply.result(20)
    assert failed.status_code == 500
    assert "ended by signal 9" in failed.json()["error"]["message"]
    assert served.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 5}).status_code == 200
    assert metric(served, "worker_crashes_total") == 1


def test_after_a_crash_a_look_at_the_health_loads_the_pair_again(serving: Serve) -> None:
    served = serving()
    served.worker.kill()
    until(lambda: served.get("/health").status_code == 503)
    until(lambda: served.get("/health").status_code == 200)
    assert served.post("/v1/chat/completions", {"messages": ASKED}).status_code == 200


def test_a_stream_says_that_the_worker_was_killed(serving: Serve) -> None:
    served = endless(serving)
    said = ""
    with httpx2.stream("POST", f"{served.url}/v1/chat/completions", json={**ENDLESS, "stream": True}) as reply:
        for number, line in enumerate(reply.iter_lines()):
            said += line
            if number == 20:
                served.worker.kill()
    assert '"code":"worker_crashed"' in said
    assert said.endswith("data: [DONE]")


def test_a_thought_can_be_ended_and_a_model_forced(serving: Serve) -> None:
    served = serving("--max-thought", "15000", "--ctx", "16384", "--max-answer", "20", small="patient", large="patient")
    models, begun = [], False
    with httpx2.stream(
        "POST", f"{served.url}/v1/chat/completions", json={"messages": ASKED, "stream": True}, timeout=60
    ) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if "step" in chunk.get("glimp", {}):
                models.append((chunk["glimp"]["part"], chunk["glimp"]["model"], chunk["glimp"]["reason"]))
            if not begun and len(models) == 2:
                begun = True
                forced = served.post("/v1/chat/completions/control", {"id": chunk["id"], "action": "force_large"})
                assert forced.json() == {"success": True}
            if ("thought", "large", "user") in models and models[-1][0] == "thought":
                served.post("/v1/chat/completions/control", {"id": chunk["id"], "action": "reasoning_end"})
    assert ("thought", "large", "user") in models
    assert models[-1][0] == "answer"
    gone = served.post("/v1/chat/completions/control", {"id": "x", "action": "reasoning_end"})
    assert (gone.status_code, gone.json()["error"]["param"]) == (400, "id")
    assert served.post("/v1/chat/completions/control", {"id": "x", "action": "sing"}).status_code == 400


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_is_being_written_and_then_the_server(serving: Serve, number: int, code: int) -> None:
    served = endless(serving)
    worker = served.worker
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(served.post, "/v1/chat/completions", ENDLESS)
        until(lambda: metric(served, "requests_running") == 1)
        assert served.stop(number) == code
        failed = reply.result(20)
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "stopping")
    assert is_gone(worker)
    assert "Traceback" not in "".join(served.said)


def test_a_server_that_is_killed_takes_its_worker_along(serving: Serve) -> None:
    served = serving()
    worker = served.worker
    served.stop(signal.SIGKILL)
    until(lambda: is_gone(worker))


def test_many_clients_at_once_get_their_own_answers(serving: Serve) -> None:
    served = serving("--pair", "builtin", "--queue", "100")
    wrong: list[str] = []

    def ask(number: int) -> None:
        question = [{"role": "user", "content": f"what is {number}*7?"}]
        reply = served.post("/v1/chat/completions", {"messages": question}).json()
        if str(number * 7) not in reply["choices"][0]["message"]["content"]:
            wrong.append(f"{number}: {reply['choices'][0]['message']['content']}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_pair_that_cannot_be_loaded_ends_the_server_with_its_own_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    for file, says in ((missing, "missing.gguf"), (broken, "broken.gguf")):
        command = [
            sys.executable,
            "-m",
            "glimp_local",
            "serve",
            "--port",
            "0",
            "--small",
            str(file),
            "--large",
            str(file),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 3, done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
