"""Pairs whose models are all on servers: several conversations at once, each as if it were alone."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from glimp_local.bench.problems import read_problems
from glimp_local.events import Started
from glimp_local.load import LoadRequest
from glimp_local.messages import Message
from glimp_local.server import wire
from glimp_local.server.hand import Run
from glimp_local.server.line import Line
from glimp_local.server.metrics import Metrics
from glimp_local.server.pairs import Pairs
from tests.conftest import BUILTIN
from tests.server.conftest import Served
from tests.server.test_conduct import ASKED, ENDLESS, is_idle, metric, until
from tests.support.llama_server import LlamaServer
from tests.support.server_process import free_port

pytestmark = pytest.mark.process

PATH = "/v1/chat/completions"
SECONDS = 60.0
"""A test that waits this long fails."""
ROUTED = ("--threshold", "0.3", "--max-thought", "1024", "--max-answer", "64", "--temperature", "0")
"""The built-in pair's own."""
LONG = ("--temperature", "1", "--max-thought", "15000", "--max-answer", "15000", "--threshold", "0.5")

UNENDING = {"sampling": {"temperature": 1}, "max_thought": 15_000, "max_answer": 15_000}
"""The same, as settings."""


class Servers(NamedTuple):
    small: LlamaServer
    large: LlamaServer

    @property
    def urls(self) -> tuple[str, ...]:
        return ("--small-url", self.small.url, "--large-url", self.large.url)

    def working(self) -> int:
        """Count the slots that work."""
        return sum(slot["is_processing"] for server in self for slot in server.slots())


@pytest.fixture(scope="module")
def builtin() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(
            *(
                stack.enter_context(LlamaServer(BUILTIN / f"{model}.gguf", context=8192, parallel=4))
                for model in ("small", "large")
            )
        )


@pytest.fixture(scope="module")
def endless(tiny: Path) -> Iterator[Servers]:
    """Models that do not come to an end for a long time."""
    with ExitStack() as stack:
        yield Servers(
            *(stack.enter_context(LlamaServer(tiny / "rambling.gguf", context=4 * 16384, parallel=4)) for _ in range(2))
        )


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*arguments: str) -> Served:
        started.append(Served(*arguments))
        return started[-1]

    yield start
    for served in started:
        served.stop()


class Streaming:
    """Clients that read streams, each in a thread of its own, until they are told to leave."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.read: list[int] = []
        """Whose chunk each one was, in the order in which they came."""
        self.text: dict[int, list[str]] = {}
        self.ids: dict[int, str] = {}
        self.over: dict[int, threading.Event] = {}
        self._left: dict[int, threading.Event] = {}

    def add(self, client: int, **body: Any) -> None:
        self.text[client] = []
        self.over[client], self._left[client] = threading.Event(), threading.Event()
        threading.Thread(target=self._stream, args=(client, {**ENDLESS, "stream": True, **body}), daemon=True).start()

    def _stream(self, client: int, body: dict[str, Any]) -> None:
        url = f"{self._served.url}{PATH}"
        try:
            with httpx2.stream("POST", url, json=body, timeout=SECONDS) as reply:
                for line in reply.iter_lines():
                    if self._left[client].is_set():
                        return
                    if line.startswith("data: {"):
                        self.ids.setdefault(client, json.loads(line.removeprefix("data: ")).get("id", ""))
                    if line:
                        self.text[client].append(line)
                        self.read.append(client)
        finally:
            self.over[client].set()

    def leave(self, *clients: int) -> None:
        for client in clients:
            self._left[client].set()

    def all_read(self, count: int, *clients: int) -> None:
        """Wait until each of these has read this many chunks more than now."""
        before = {client: len(self.text[client]) for client in clients}
        until(lambda: all(len(self.text[client]) >= before[client] + count for client in clients), SECONDS)


def questions() -> list[str]:
    return [problem.text for problem in read_problems("builtin")[:4]]


def test_four_clients_at_once_get_what_each_gets_alone(builtin: Servers, serve: Callable[..., Served]) -> None:
    served = serve(*builtin.urls, *ROUTED)
    ready = threading.Barrier(4)

    def ask(question: str, *, waits: bool) -> tuple[str, str, list[Any], float, float]:
        if waits:
            ready.wait(SECONDS)
        content, thought, steps, times = "", "", [], []
        messages: Any = [{"role": "user", "content": question}]
        for chunk in served.client.chat.completions.create(model="", messages=messages, stream=True):
            times.append(time.monotonic())
            delta: Any = chunk.choices[0].delta
            content += delta.content or ""
            thought += getattr(delta, "reasoning_content", None) or ""
            about: Any = getattr(chunk, "glimp", {})
            if "step" in about:
                steps.append((about["step"], about["model"]))
        return content, thought, steps, times[0], times[-1]

    alone = [ask(question, waits=False) for question in questions()]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda question: ask(question, waits=True), questions()))
    assert [reply[:3] for reply in together] == [reply[:3] for reply in alone]
    assert len({content for content, *_ in alone}) == 4
    assert {model for _, _, steps, *_ in alone for _, model in steps} == {"small", "large"}
    assert max(begin for *_, begin, _ in together) < min(end for *_, end in together), "all four at the same time"
    assert metric(served, "waiting_seconds_total") < 1


def test_four_streams_interleave_and_a_fifth_waits_for_its_turn(endless: Servers, serve: Callable[..., Served]) -> None:
    served = serve(*endless.urls, *LONG, "--ping-seconds", "0.05")
    assert any("answered at the same time: 4" in line for line in served.said)
    assert served.get("/props").json()["total_slots"] == 4
    streams = Streaming(served)
    for client in range(4):
        streams.add(client)
    streams.all_read(20, *range(4))
    at = len(streams.read)
    streams.all_read(20, *range(4))
    turns = streams.read[at:]
    assert sum(one != other for one, other in pairwise(turns)) > 2 * 3  # one after the other they would be three
    assert (metric(served, "requests_running"), metric(served, "requests_waiting")) == (4, 0)

    streams.add(4)
    until(lambda: metric(served, "requests_waiting") == 1)
    streams.all_read(3, 4)
    assert set(streams.text[4]) == {": waiting"}
    refused = served.post(PATH, {**ENDLESS, "glimp": {"wait": False}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
    streams.all_read(20, *range(4))
    assert set(streams.text[4]) == {": waiting"}
    streams.leave(2)
    until(lambda: 4 in streams.ids)
    streams.all_read(20, 0, 1, 3, 4)
    assert metric(served, "requests_running") == 4
    assert not any(streams.over[client].is_set() for client in (0, 1, 3, 4))
    streams.leave(*range(5))
    until(lambda: is_idle(served))
    assert 'finish_reason="cancelled"} 5' in served.get("/metrics").text
    assert endless.large.seconds_until_idle() < 1


def test_a_client_that_leaves_frees_its_slot_within_a_second(endless: Servers, serve: Callable[..., Served]) -> None:
    served = serve(*endless.urls, *LONG)
    (routed,) = [model.id for model in served.client.models.list().data if not model.id.endswith((":small", ":large"))]
    streams = Streaming(served)
    for client in range(3):
        streams.add(client, model=f"{routed}:large")
    streams.all_read(10, *range(3))
    assert endless.working() == 3
    streams.leave(1)
    began = time.monotonic()
    until(lambda: endless.working() == 2, 5)
    assert time.monotonic() - began < 1
    streams.all_read(20, 0, 2)
    assert endless.working() == 2
    streams.leave(0, 2)


def test_who_steers_one_reply_steers_no_other(serve: Callable[..., Served], tiny: Path) -> None:
    with LlamaServer(tiny / "patient.gguf", context=2 * 16384, parallel=2) as patient:
        served = serve(*Servers(patient, patient).urls, *LONG, "--max-answer", "20")
        streams = Streaming(served)
        for client in range(2):
            streams.add(client)
        streams.all_read(10, 0, 1)
        told = served.post(f"{PATH}/control", {"id": streams.ids[0], "action": "reasoning_end"})
        assert told.json() == {"success": True}
        assert streams.over[0].wait(SECONDS)
        assert '"thought_end":"user"' in "".join(streams.text[0])
        streams.all_read(10, 1)
        assert '"part":"answer"' not in "".join(streams.text[1])
        served.post(f"{PATH}/control", {"id": streams.ids[1], "action": "force_large"})
        until(lambda: '"model":"large","reason":"user"' in "".join(streams.text[1]))
        streams.leave(1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_that_is_being_written(
    endless: Servers, serve: Callable[..., Served], number: int, code: int
) -> None:
    served = serve(*endless.urls, *LONG)
    with ThreadPoolExecutor(6) as pool:
        replies = [pool.submit(served.post, PATH, ENDLESS) for _ in range(6)]
        until(lambda: (metric(served, "requests_running"), metric(served, "requests_waiting")) == (4, 2))
        began = time.monotonic()
        assert served.stop(number) == code
        assert time.monotonic() - began < 5
        failed = [reply.result(SECONDS) for reply in replies]
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in failed} == {(503, "stopping")}
    assert endless.large.seconds_until_idle() < 1
    assert endless.small.seconds_until_idle() < 1
    assert "Traceback" not in "".join(served.said)


def test_a_worker_that_is_killed_costs_what_it_was_at_and_no_more(
    endless: Servers, serve: Callable[..., Served]
) -> None:
    served = serve(*endless.urls, *LONG)
    with ThreadPoolExecutor(5) as pool:
        replies = [pool.submit(served.post, PATH, ENDLESS) for _ in range(4)]
        until(lambda: metric(served, "requests_running") == 4)
        patient = pool.submit(served.post, PATH, {"messages": ASKED, "max_tokens": 5})
        until(lambda: metric(served, "requests_waiting") == 1)
        until(lambda: endless.working() >= 4)
        served.worker.kill()
        failed = [reply.result(SECONDS) for reply in replies]
        assert patient.result(SECONDS).status_code == 200
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in failed} == {(500, "worker_crashed")}
    assert metric(served, "worker_crashes_total") == 1
    assert "Traceback" not in "".join(served.said)


def test_a_limit_below_the_servers_own_holds_and_one_above_is_said(
    endless: Servers, serve: Callable[..., Served]
) -> None:
    served = serve(*endless.urls, *LONG, "--parallel", "2")
    assert any("answered at the same time: 2" in line for line in served.said)
    assert served.get("/props").json()["total_slots"] == 2
    streams = Streaming(served)
    for client in range(3):
        streams.add(client)
    until(lambda: (metric(served, "requests_running"), metric(served, "requests_waiting")) == (2, 1))
    streams.leave(0, 1, 2)
    above = serve(*endless.urls, "--parallel", "9")
    assert any("--parallel 9: " in line and "4 at a time, since its servers do no more" in line for line in above.said)


def test_a_pair_with_one_model_here_answers_one_at_a_time(
    endless: Servers, serve: Callable[..., Served], tiny: Path
) -> None:
    mixed = ("--small", str(tiny / "rambling.gguf"), "--large-url", endless.large.url)
    served = serve(*mixed, *LONG, "--ctx", "16384", "--parallel", "4")
    assert any("1 at a time, since it has a model on this machine" in line for line in served.said)
    assert served.get("/props").json()["total_slots"] == 1
    streams = Streaming(served)
    streams.add(0)
    streams.add(1)
    until(lambda: (metric(served, "requests_running"), metric(served, "requests_waiting")) == (1, 1))
    streams.leave(0, 1)
    models = served.get("/v1/models").json()["data"][0]["glimp"]["models"]
    assert [models[model]["is_remote"] for model in ("small", "large")] == [False, True]


def test_nothing_is_kept_here_of_what_servers_have_read(builtin: Servers, serve: Callable[..., Served]) -> None:
    served = serve(*builtin.urls, *ROUTED, "--cache-ram", "1")
    assert any("the pair's servers do that" in line for line in served.said)
    for question in questions()[:2]:
        assert served.post(PATH, {"messages": [{"role": "user", "content": question}]}).status_code == 200
    assert metric(served, "cache_entries") == 0
    model = served.get("/v1/models").json()["data"][0]
    assert model["meta"]["n_ctx"] == 2048
    small = model["glimp"]["models"]["small"]
    assert (small["is_remote"], small["size_bytes"]) == (True, None)
    assert builtin.small.url.removeprefix("http://") in small["where"]


def test_a_server_that_goes_away_is_an_error_of_each_reply_and_is_used_when_it_is_back(
    endless: Servers, serve: Callable[..., Served], tiny: Path
) -> None:
    with LlamaServer(tiny / "rambling.gguf", context=4 * 16384, parallel=4) as large:
        served = serve(*Servers(endless.small, large).urls, *LONG, "--threshold", "0")
        streams = Streaming(served)
        streams.add(0)
        streams.add(1)
        with ThreadPoolExecutor(1) as pool:
            whole = pool.submit(served.post, PATH, ENDLESS)
            streams.all_read(10, 0, 1)
            until(lambda: metric(served, "requests_running") == 3)
            large.kill()
            failed = whole.result(SECONDS)
        error = failed.json()["error"]
        assert (failed.status_code, error["code"], error["type"]) == (502, "remote_failed", "server_error")
        assert "nothing listens there" in error["message"]
        for client in (0, 1):
            assert streams.over[client].wait(SECONDS)
            assert '"code":"remote_failed"' in streams.text[client][-2]
            assert streams.text[client][-1] == "data: [DONE]"
        refused = served.post(PATH, ENDLESS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "remote_failed")
        assert metric(served, "worker_crashes_total") == 0
        large.start()
        assert served.post(PATH, {"messages": ASKED, "max_tokens": 5}).status_code == 200


def test_a_server_that_is_down_at_the_start_is_said_with_the_exit_code_of_models(builtin: Servers) -> None:
    port = free_port()
    command = [sys.executable, "-m", "glimp_local", "serve", "--port", "0", "--small-url", builtin.small.url]
    command += ["--large-url", f"http://127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert f"127.0.0.1:{port}: nothing listens there" in done.stderr
    assert "is the server running" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_with_another_model_is_connected_to_again(serve: Callable[..., Served], tiny: Path) -> None:
    with LlamaServer(tiny / "large.gguf", parallel=2, alias="one") as server:
        served = serve("--small-url", server.url, "--large-url", server.url, "--temperature", "0")
        assert served.post(PATH, {"messages": ASKED}).status_code == 200
        server.stop()
        server.model, server.alias = tiny / "small.gguf", "other"
        server.start()
        failed = served.post(PATH, {"messages": ASKED})
        assert (failed.status_code, failed.json()["error"]["code"]) == (502, "remote_failed")
        assert "serves another model now" in failed.json()["error"]["message"]
        assert served.get("/health").status_code == 200
        assert served.post(PATH, {"messages": ASKED}).status_code == 200
        assert served.get("/v1/models").json()["data"][0]["glimp"]["models"]["large"]["name"] == "other"
        assert metric(served, "worker_crashes_total") == 0


def test_a_look_at_the_health_connects_again_to_a_server_that_was_down(
    builtin: Servers, serve: Callable[..., Served]
) -> None:
    with LlamaServer(BUILTIN / "large.gguf", parallel=2) as large:
        served = serve(*Servers(builtin.small, large).urls, *ROUTED)
        large.kill()
        served.worker.kill()
        until(lambda: "nothing listens there" in served.get("/health").text)
        refused = served.post(PATH, {"messages": ASKED})
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "remote_failed")
        large.start()
        until(lambda: served.get("/health").status_code == 200)


def asking(pairs: Pairs, name: str) -> Run:
    """Ask the pair of this name something."""
    asked = Message("user", "How many?")
    return pairs.of(name).run(lambda ready: wire.Ask((asked,), ready.settings, 1))


def test_a_pair_on_servers_waits_for_no_other_and_two_pairs_here_take_turns(endless: Servers, tiny: Path) -> None:
    async def run() -> None:
        settings = {**UNENDING, "draft": "off", "context": 16_384}
        here = LoadRequest(small=tiny / "rambling.gguf", large=tiny / "rambling.gguf", settings=settings)
        servers = LoadRequest(small_url=endless.small.url, large_url=endless.large.url, settings=settings)
        line = Line(most_waiting=8, metrics=Metrics())
        requests = {"here": here, "also": here, "servers": servers, "others": servers}
        pairs = Pairs(requests, line, elsewhere={"servers", "others"})
        try:
            first, second = asking(pairs, "here"), asking(pairs, "also")
            await anext(first)
            # Those on servers have not been loaded, and do not wait for what computes here.
            far = [asking(pairs, name) for name in ("servers", "servers", "others")]
            for each in far:
                await asyncio.wait_for(anext(each), SECONDS)
            assert (line.running, line.waiting) == (4, 1)
            assert not second.is_under_way
            assert pairs.of("servers").parallel == 4
            assert pairs.of("here").parallel == 1
            # A pair that takes no memory here is not unloaded for one that needs some.
            for each in far:
                each.close()
                await each.task
            others = pairs.of("here")._neighbours
            assert others is not None
            assert not await others.make_room()
            assert pairs.of("servers").ready is not None
            first.close()
            assert isinstance(await asyncio.wait_for(anext(second), SECONDS), Started)
            second.close()
        finally:
            await pairs.close()

    asyncio.run(run())


def test_a_worker_that_is_replaced_ends_behind_its_last_run(endless: Servers) -> None:
    async def run() -> None:
        servers = LoadRequest(small_url=endless.small.url, large_url=endless.large.url, settings=UNENDING)
        pairs = Pairs({"servers": servers}, Line(most_waiting=8, metrics=Metrics()))
        hand = pairs.first
        try:
            await hand.start()
            runs = [asking(pairs, "") for _ in range(2)]
            for each in runs:
                await anext(each)
            worker, hand._worker = hand._worker, None  # as if a run had found that a server has another model
            assert worker is not None
            new = asking(pairs, "")
            await asyncio.wait_for(anext(new), SECONDS)
            assert hand._worker is not worker
            for each in runs:
                assert worker.process.returncode is None
                each.cancel()
                await each.task
            assert worker.process.returncode == 0
            assert new.is_under_way
            assert hand.crashes == 0
            new.cancel()
            await new.task
        finally:
            await pairs.close()

    asyncio.run(run())
