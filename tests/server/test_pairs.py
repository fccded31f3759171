"""Several pairs behind one server: loaded when they are asked, unloaded when memory is short."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from glimp_local.events import Finished
from glimp_local.load import LoadRequest, load
from glimp_local.messages import Message
from glimp_local.server import hand, wire
from glimp_local.server.line import Line
from glimp_local.server.metrics import Metrics
from glimp_local.server.names import UnknownModelError
from glimp_local.server.pairs import Pairs
from glimp_local.settings import RunSettings
from tests.server.conftest import Serve
from tests.server.test_conduct import metric

pytestmark = pytest.mark.process

HUGE = 2**60


@pytest.fixture
def three(tiny: Path, tmp_path: Path) -> Path:
    """A models.toml with three pairs."""
    file = tmp_path / "models.toml"
    pairs = {"one": ("small", "large"), "two": ("large", "large"), "two:b": ("plain", "plain")}
    lines = ['default = "one"']
    for name, models in pairs.items():
        for role, model in zip(("small", "large"), models, strict=True):
            lines += [f'[pairs."{name}".{role}]', f'path = "{tiny / model}.gguf"']
    file.write_text("\n".join(lines))
    return file


def test_all_pairs_on_this_machine_are_served_and_loaded_when_they_are_asked(serving: Serve, three: Path) -> None:
    served = serving("--models", str(three), "--all", "--pair", "one")
    listed = {model["id"]: model["glimp"]["loaded"] for model in served.get("/v1/models").json()["data"]}
    assert {"one", "one:small", "two", "two:large", "two:b", "builtin"} <= set(listed)
    assert listed["one"]
    assert not listed["two"]
    assert metric(served, "pairs_loaded") == 1
    for name, thinks in (("two", True), ("two:b", False), ("one", True), ("", True)):
        body: dict[str, Any] = {"model": name, "messages": [{"role": "user", "content": "How many steps?"}]}
        reply = served.post("/v1/chat/completions", body)
        assert reply.status_code == 200, reply.text
        assert ("reasoning_content" in reply.json()["choices"][0]["message"]) == thinks
        assert reply.headers["x-glimp-pair"] == (name or "one")
    assert metric(served, "pairs_loaded") == 3
    assert served.get("/v1/models/two").json()["glimp"]["loaded"]
    missing = served.post("/v1/chat/completions", {"model": "three", "messages": [{"role": "user", "content": "?"}]})
    assert missing.status_code == 404


def test_the_least_used_pair_makes_room(three: Path) -> None:
    async def run() -> None:
        line = Line(most_waiting=4, metrics=Metrics())
        request = LoadRequest(models_file=three, settings={"draft": "off"})
        pairs = Pairs({name: request.named(name) for name in ("one", "two", "two:b")}, line)
        first, second, third = pairs

        async def ask(held: Any) -> None:
            run = held.run(lambda ready: wire.Ask((Message("user", "How many?"),), ready.settings, 1))
            events = [event async for event in run]
            assert isinstance(events[-1], Finished)

        for held in (first, second, first):
            await ask(held)
        # As if the files of the others took all the memory there is.
        for held in (first, second):
            assert held._ready is not None
            held._ready = msgspec.structs.replace(held._ready, mapped_bytes=HUGE)
        await ask(third)
        assert first.is_unloaded
        assert second.is_unloaded
        assert third.ready is not None
        await ask(second)
        assert second.ready is not None
        assert sum(held.crashes for held in pairs) == 0
        with pytest.raises(UnknownModelError):
            pairs.of("three")
        assert pairs.of("two:b:small") is third
        assert pairs.of("two:small") is second
        await pairs.close()

    asyncio.run(run())


class Neighbours:
    """Others that take all memory, and make room once."""

    mapped_bytes = HUGE
    asked = 0

    def make_room(self) -> bool:
        self.asked += 1
        self.mapped_bytes = 0
        return self.asked == 1


def test_a_pair_that_does_not_fit_asks_for_room_and_plans_again(tiny: Path) -> None:
    neighbours = Neighbours()
    request = LoadRequest(small=tiny / "small.gguf", large=tiny / "large.gguf")
    with load(request, cancel=threading.Event(), neighbours=neighbours) as pair:
        assert pair.plan is not None
        assert pair.plan.fits
    assert neighbours.asked == 1


def test_a_worker_that_hangs_when_its_client_has_left_is_replaced(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "_HANG_SECONDS", 0.5)

    async def run() -> None:
        request = LoadRequest(small=tiny / "rambling.gguf", large=tiny / "rambling.gguf", settings={"draft": "off"})
        pairs = Pairs({"one": request}, Line(most_waiting=4, metrics=Metrics()))
        ready = await pairs.first.start()
        asked = wire.Ask((Message("user", "How many?"),), ready.settings, 1)
        left = pairs.first.run(lambda _: asked)
        await anext(left)
        worker = pairs.first._worker
        assert worker is not None
        psutil.Process(worker.process.pid).suspend()  # as if llama.cpp did not return
        left.close()
        patient = pairs.first.run(lambda ready: wire.Ask(asked.messages, changed(ready), 1))
        assert isinstance([event async for event in patient][-1], Finished)
        assert pairs.first._worker is not worker
        assert pairs.first.crashes == 1
        await pairs.close()

    def changed(ready: wire.Ready) -> RunSettings:
        return msgspec.structs.replace(ready.settings, max_thought=5, max_answer=5)

    asyncio.run(run())
