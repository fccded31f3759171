"""What batches cost, and batches that are padded because a larger one costs less: nothing of that is seen in them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from glimp_local.engines.llama import kept_costs
from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.engines.llama.costs import LARGEST, Costs
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import ContextFullError, DecodeError
from glimp_local.paths import data_folder
from glimp_local.settings import EngineOptions
from tests.support.engines import IDS, TOLERANCE, fresh_logits
from tests.support.rendering import renderer

IN_FOURS = {size: -(-size // 4) * 4.0 + size % 4 * 3.0 for size in range(1, LARGEST + 1)}
"""Seconds where rows beyond a multiple of four are computed one by one."""


def test_a_batch_is_padded_to_a_size_that_was_measured_to_cost_less() -> None:
    costs = Costs(IN_FOURS)
    assert [costs.padded(size, 32) for size in (2, 3, 4, 5, 7, 15, 31, 32, 33)] == [4, 4, 4, 8, 8, 16, 32, 32, 33]
    assert costs.padded(3, 3) == 3, "there is no room for more"


def test_what_was_not_measured_is_not_padded_and_nothing_is_padded_to_it() -> None:
    costs = Costs({3: 5.0})
    assert costs.padded(3, 32) == 3
    assert costs.padded(2, 32) == 2
    costs.measure(4, 4.9)
    assert costs.padded(3, 32) == 3, "the gain is too small"
    costs.measure(4, 2.0)
    assert costs.padded(3, 32) == 4
    assert costs.padded(2, 32) == 2


def test_now_and_then_the_plain_size_is_measured_again() -> None:
    costs = Costs({3: 5.0, 4: 3.0})
    assert {costs.padded(3, 32) for _ in range(20)} == {3, 4}
    for _ in range(5):
        costs.measure(3, 1.0)
    assert {costs.padded(3, 32) for _ in range(20)} == {3}


def test_one_slow_batch_changes_little_and_one_token_behind_another_size_nothing() -> None:
    costs = Costs({1: 1.0, 4: 2.0})
    costs.measure(4, 40.0)
    assert costs.known(4) == pytest.approx(3.9)
    costs.measure(1, 5.0)
    assert costs.known(1) == 1.0
    costs.measure(LARGEST + 1, 1.0)
    assert costs.all_known == {1: 1.0, 4: pytest.approx(3.9)}


def test_behind_a_longer_text_other_sizes_are_estimated_from_those_that_were_measured_there() -> None:
    costs = Costs({1: 1.0, 4: 2.0, 8: 3.0})
    costs.measure(8, 9.0, depth=300)
    assert costs.all_known == {1: 1.0, 4: 2.0, 8: 3.0}
    assert (costs.known(1), costs.known(4), costs.known(8)) == (3.0, 6.0, 9.0)
    costs.measure(4, 3.0, depth=310)
    assert costs.known(4) == 3.0, "what is measured counts alone"
    assert costs.known(1) == pytest.approx(1.0 * (3.0 + 1.5) / 2)
    assert costs.padded(8, 32) == 8
    costs.measure(1, 1.1, depth=10)
    costs.measure(1, 1.1, depth=11)
    assert (costs.known(4), costs.known(8)) == (2.0, 3.0), "a new conversation begins"
    costs.measure(4, 2.0, depth=300)
    assert costs.known(8) == 9.0, "back in the long one"


@pytest.mark.parametrize("order", [(1, 4), (4, 1)])
def test_a_machine_that_was_busy_for_a_while_spoils_nothing_for_long(order: tuple[int, ...]) -> None:
    costs = Costs({1: 1.0, 4: 1.3})
    for size in order:
        for _ in range(30):
            costs.measure(size, 3.0 * (1.0 if size == 1 else 1.3))
    for _ in range(10):
        for size in (1, 1, 4):
            costs.measure(size, 1.0 if size == 1 else 1.3)
    assert costs.known(1) == pytest.approx(1.0, rel=0.01)
    assert costs.known(4) == pytest.approx(1.3, rel=0.01)


def test_only_what_was_measured_behind_a_short_text_is_kept() -> None:
    costs = Costs()
    costs.measure(3, 7.0, depth=5000)
    assert costs.all_known == {3: 7.0}, "there is nothing else"
    costs.measure(2, 1.0, depth=100)
    assert costs.all_known.keys() == {2, 3}
    assert Costs(costs.all_known).all_known == costs.all_known


@pytest.fixture
def padding(engine: Engine) -> Engine:
    """An engine that pads to fours."""
    engine.costs = Costs(IN_FOURS)
    engine.claim(engine, threading.Event(), may_pad=True)
    return engine


def sizes_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the sizes of what llama.cpp computes."""
    sizes: list[int] = []
    measure = engine.costs.measure

    def note(tokens: int, _seconds: float, *, depth: int) -> None:
        sizes.append(tokens)
        measure(tokens, IN_FOURS.get(tokens, 100.0), depth=depth)

    monkeypatch.setattr(engine.costs, "measure", note)
    return sizes


def held(engine: Engine) -> int:
    return int(llama_cpp.llama_memory_seq_pos_max(engine._cache.memory, 0)) + 1


def test_padding_is_neither_in_the_cache_nor_in_the_logits(padding: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sizes_of(padding, monkeypatch)
    end = 0
    for count in (3, 15, 2, 4, 1, 7, 31):
        padding.feed(IDS[end : end + count])
        end += count
        assert padding.ids == IDS[:end]
        assert held(padding) == end
        assert np.allclose(padding.logits(), fresh_logits(padding.path, IDS[:end]), atol=TOLERANCE)
    assert sizes == [4, 16, 4, 4, 1, 8, 32]
    assert padding.fed == end


def test_drafts_are_padded_too(padding: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sizes_of(padding, monkeypatch)
    padding.feed(IDS[:20])
    padding.decode(IDS[20], [IDS[21], 5])
    assert (sizes[-1], padding.drafted, held(padding)) == (4, 2, 23)
    padding.decode(IDS[21])
    assert np.allclose(padding.logits(), fresh_logits(padding.path, IDS[:22]), atol=TOLERANCE)
    padding.decode(IDS[22])
    assert np.allclose(padding.logits(), fresh_logits(padding.path, IDS[:23]), atol=TOLERANCE)
    assert (padding.ids, held(padding)) == (IDS[:23], 23)


def test_nobody_who_does_not_ask_for_it_has_batches_padded(padding: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sizes_of(padding, monkeypatch)
    padding.claim(padding, threading.Event())
    padding.feed(IDS[:3])
    assert sizes == [3]


def test_at_the_end_of_the_context_there_is_no_room_for_padding(
    padding: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sizes_of(padding, monkeypatch)
    padding.feed(IDS[:253])
    padding.feed(IDS[253:256])
    assert sizes[-1] == 3
    assert padding.ids == IDS[:256]
    with pytest.raises(ContextFullError):
        padding.feed([1])


def test_a_failure_in_a_padded_batch_leaves_what_was_there(padding: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    padding.feed(IDS[:20])
    with monkeypatch.context() as broken:
        broken.setattr(padding, "_decode", lambda: -3)
        with pytest.raises(DecodeError):
            padding.feed(IDS[20:23])
    assert (padding.ids, held(padding)) == (IDS[:20], 20)
    padding.feed(IDS[20:23])
    assert np.allclose(padding.logits(), fresh_logits(padding.path, IDS[:23]), atol=TOLERANCE)


@pytest.mark.parametrize("name", ["sliding-window", "recurrent", "hybrid"])
def test_an_engine_that_cannot_go_back_pads_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=256)
    engine.costs = Costs(IN_FOURS)
    engine.claim(engine, threading.Event(), may_pad=True)
    sizes = sizes_of(engine, monkeypatch)
    engine.feed(IDS[:3])
    assert sizes == [3]
    engine.close()


def test_costs_are_kept_for_the_same_model_in_the_same_place(tiny: Path) -> None:
    path = tiny / "attention.gguf"

    def backend(**options: Any) -> LlamaBackend:
        return LlamaBackend(Engine(path, EngineOptions(**options), context=256), renderer())

    first = backend()
    assert first.engine.costs.all_known == {}
    first.engine.feed(IDS[:20])
    for token in IDS[20:24]:
        first.engine.decode(token)
    learnt = first.engine.costs.all_known
    assert learnt.keys() == {1, 20}
    first.close()
    second, elsewhere = backend(), backend(threads=3)
    assert second.engine.costs.all_known == pytest.approx(learnt, rel=0.01)
    assert elsewhere.engine.costs.all_known == {}
    second.close()
    elsewhere.close()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"costs": {"x": 3}}', b'{"costs": {"KEY": {"99": 1, "2": -1, "3": 1}}}']
)
def test_a_file_of_costs_that_makes_no_sense_counts_as_none(engine: Engine, content: bytes) -> None:
    engine.feed(IDS[:5])
    kept_costs.keep(engine)
    file = data_folder() / "costs.json"
    key = next(iter(json.loads(file.read_bytes())["costs"]))
    file.write_bytes(content.replace(b"KEY", key.encode()))
    assert kept_costs.read(engine).all_known.keys() <= {3}
    kept_costs.keep(engine)
    assert kept_costs.read(engine).all_known.keys() == {5}


def test_costs_that_cannot_be_written_stop_nothing(engine: Engine) -> None:
    (data_folder() / "costs.json").mkdir(parents=True)
    engine.feed(IDS[:5])
    kept_costs.keep(engine)
    assert kept_costs.read(engine).all_known == {}
