"""How many threads suit a model: which numbers are measured, in what time, and which one is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from glimp_local.engines.llama.costs import LARGEST
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import CancelledError
from glimp_local.machine import tuning
from glimp_local.machine.tuning import choose, measure_costs, thread_counts, tune
from glimp_local.settings import EngineOptions
from tests.support.engines import ARCHITECTURES

IDS = [int(i) for i in np.random.default_rng(0).integers(0, 256, size=50)]


@pytest.mark.parametrize(
    ("physical", "logical", "counts"),
    [
        (1, 1, [1]),
        (1, 2, [1, 2]),
        (2, 2, [1, 2]),
        (8, 16, [1, 2, 3, 4, 6, 8, 16]),
        (10, 12, [1, 2, 3, 4, 6, 8, 10, 12]),
        (600, 1200, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]),
    ],
)
def test_the_numbers_measured_grow_by_halves_up_to_the_cores(physical: int, logical: int, counts: list[int]) -> None:
    assert thread_counts(physical, logical) == counts


def test_the_fewest_threads_that_come_close_to_the_best_are_chosen() -> None:
    assert choose({1: [40.0], 2: [97.5], 4: [100.0], 8: [60.0]}) == 2
    assert choose({1: [40.0], 2: [96.5], 4: [100.0], 8: [60.0]}) == 4


def test_one_disturbed_measurement_changes_no_choice() -> None:
    assert choose({1: [50.0, 50.0, 50.0], 2: [100.0, 3.0, 100.0]}) == 2


class Timed:
    """Measurements of made-up speeds, on a made-up clock."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float], took: float) -> None:
        self.now = 0.0
        self.measured: list[int] = []
        self.heard: list[float] = []
        monkeypatch.setattr(tuning, "perf_counter", lambda: self.now)

        def measure(threads: int) -> float:
            self.measured.append(threads)
            self.now += took
            return speeds[threads]

        self.speeds = tuning._in_turns(engine, measure, list(speeds), 10.0, self.heard.append)


@pytest.fixture
def engine(tiny: Path) -> Iterator[Engine]:
    engine = Engine(tiny / "attention.gguf", context=256)
    yield engine
    engine.close()


def test_the_numbers_are_measured_in_turns_and_hopeless_ones_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed(engine, monkeypatch, {4: 100.0, 8: 80.0, 2: 50.0, 1: 25.0}, took=0.01)
    assert timed.measured[:10] == [4, 8, 2, 1, 4, 8, 2, 4, 8, 2]
    assert {threads: len(speeds) for threads, speeds in timed.speeds.items()} == {4: 15, 8: 15, 2: 15, 1: 1}


def test_the_first_round_takes_half_of_the_time_and_leaves_out_the_last_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed(engine, monkeypatch, {4: 100.0, 8: 80.0, 2: 50.0, 1: 25.0}, took=2.0)
    assert timed.measured == [4, 8, 2, 4, 8, 2]
    assert timed.now == 12.0  # one measurement over the time
    assert timed.heard[0] == 0
    assert timed.heard == sorted(timed.heard)
    assert timed.heard[-1] == 1


def test_two_numbers_are_compared_however_long_it_takes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Timed(engine, monkeypatch, {4: 100.0, 8: 80.0, 2: 50.0}, took=60.0).measured == [4, 8]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_tuned_engine_has_the_chosen_threads_and_computes_as_before(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=256)
    engine.feed(IDS)
    before = engine.logits().copy()
    found = tune(engine, [2, 1], seconds=0.5)
    assert engine.ids == []
    assert [speed.threads for speed in found.speeds] == [1, 2]
    for speed in found.speeds:
        assert speed.decode_rounds >= 1
        assert speed.prefill_rounds >= 1
        assert speed.decode_tokens_per_second
        assert speed.prefill_tokens_per_second
    assert (engine.placement.threads, engine.placement.threads_batch) == (found.threads, found.threads_batch)
    assert 16 <= found.prompt_tokens <= 128
    engine.feed(IDS)
    assert np.allclose(engine.logits(), before, atol=0.03)
    engine.close()


@pytest.mark.parametrize("context", [2, 20])
def test_a_short_context_is_enough(tiny: Path, context: int) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(batch=64), context=context)
    assert tune(engine, [1], seconds=0.1).prompt_tokens == {2: 1, 20: 19}[context]
    engine.close()


def test_a_cancel_ends_the_measurement(engine: Engine) -> None:
    heard: list[float] = []

    def cancel(done: float) -> None:
        heard.append(done)
        engine.cancel.set()

    with pytest.raises(CancelledError):
        tune(engine, [2, 1], on_progress=cancel)
    assert len(heard) == 1


def test_prompts_are_shorter_where_they_take_long(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "perf_counter", lambda: engine.fed * 0.02)  # seconds a token
    assert tuning._prompt_tokens(engine, [1], IDS) == 32  # of 128: 2.56 s, 1.28 s, 0.64 s


def test_the_cost_of_every_batch_is_measured_and_the_engine_knows_it(engine: Engine) -> None:
    engine.feed(IDS)
    found = measure_costs(engine, [token % 256 for token in range(200)], seconds=0.0)
    assert found.keys() == set(range(1, LARGEST + 1))
    assert all(cost > 0 for cost in found.values())
    assert engine.costs.all_known == found
    assert engine.ids == []


def test_measuring_costs_can_be_cancelled(engine: Engine) -> None:
    engine.cancel.set()
    with pytest.raises(CancelledError):
        measure_costs(engine, IDS * 4)
