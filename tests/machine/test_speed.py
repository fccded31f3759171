"""The forecast: what a pair's batches cost follows from its header and from the machine's rates."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from glimp_local.engines.llama.rates import Rates
from glimp_local.machine.plan import Plan
from glimp_local.machine.planning import make_plan
from glimp_local.machine.speed import Cost, PairSpeed, cost_of, pair_speed
from glimp_local.machine.survey import Gpu, Machine
from glimp_local.models.catalogue import load_catalogue, override
from glimp_local.models.footprint import Footprint
from glimp_local.paths import data_folder, packaged_file
from glimp_local.routing import Model
from glimp_local.settings import PairConfig
from tests.machine.test_plan import footprints
from tests.support.commands import Glimp
from tests.support.rated import BYTES_PER_SECOND

GIB = 2**30
LAPTOP = "qwen3-1.7b-8b"
PAIRS = load_catalogue(packaged_file()).pairs


def planned(name: str, *gpus: Gpu, **settings: Any) -> tuple[PairConfig, dict[Model, Footprint], Plan]:
    pair = override(PAIRS[name], settings)
    found = footprints(pair)
    return pair, found, make_plan(found, pair, Machine(64 * GIB, gpus))


def speed(name: str, *, one_vocabulary: bool = True, **settings: Any) -> PairSpeed:
    pair, footprints, plan = planned(name, **settings)
    found = pair_speed(footprints, plan, pair, Rates(), one_vocabulary=one_vocabulary)
    assert found is not None
    return found


def large_cost(name: str) -> tuple[Cost, Footprint]:
    pair, footprints, plan = planned(name)
    cost = cost_of(footprints["large"], plan.models["large"], pair, "large", Rates())
    assert cost is not None
    return cost, footprints["large"]


def test_a_token_takes_as_long_as_its_weights_are_read() -> None:
    cost, found = large_cost(LAPTOP)
    assert cost.batch(1, depth=0) == pytest.approx(found.weights_bytes / BYTES_PER_SECOND, rel=0.1)
    assert cost.batch(1, depth=0) < cost.batch(1) < cost.batch(1, depth=8192), "attention looks at what was read"


def test_batches_between_measured_ones_lie_on_a_line_and_larger_ones_go_on_as_the_largest() -> None:
    cost, _ = large_cost(LAPTOP)
    one, four, eight = (cost.batch(tokens, depth=0) for tokens in (1, 4, 8))
    assert four < cost.batch(6, depth=0) < eight
    assert one < cost.batch(2, depth=0) < four
    inside, beyond = (cost.batch(tokens, depth=0) for tokens in (64, 128))
    assert beyond == pytest.approx(2 * inside, rel=0.1)


def test_of_experts_a_token_reads_a_few_and_a_prompt_all() -> None:
    cost, found = large_cost("qwen3-0.6b-30b-a3b")
    reading_all = found.weights_bytes / BYTES_PER_SECOND
    assert cost.batch(1, depth=0) < 0.25 * reading_all
    assert cost.batch(64, depth=0) > 0.9 * reading_all


def test_routing_pays_where_the_small_model_is_much_smaller() -> None:
    found = speed(LAPTOP)
    assert found.large_seconds is not None
    assert found.large_seconds == pytest.approx(1000 / found.models["large"].tokens_per_second)
    seconds = list(found.routed_seconds.values())
    assert list(found.routed_seconds) == ["0.1", "0.25", "0.5"]
    assert seconds == sorted(seconds)
    assert found.tokens_per_second == pytest.approx(1000 / seconds[1])
    alone = speed(LAPTOP, one_vocabulary=False)
    assert alone.drafted_seconds is None
    assert alone.ratio == pytest.approx(seconds[1] / found.large_seconds)
    assert alone.pays


def test_where_drafts_are_quicker_routing_has_to_be_quicker_than_they_are() -> None:
    found, alone = speed(LAPTOP), speed(LAPTOP, one_vocabulary=False)
    assert found.drafted_seconds is not None
    assert found.large_seconds is not None
    assert found.drafted_seconds <= found.large_seconds
    assert (found.ratio or 0) >= (alone.ratio or 0)


def test_two_models_of_a_size_do_not_pay() -> None:
    pair, footprints, plan = planned(LAPTOP)
    same = msgspec.structs.replace(plan, models={**plan.models, "small": plan.models["large"]})
    both: dict[Model, Footprint] = {"small": footprints["large"], "large": footprints["large"]}
    found = pair_speed(both, same, pair, Rates(), one_vocabulary=True)
    assert found is not None
    assert found.pays is False


def test_one_model_alone_has_nothing_to_route() -> None:
    found = speed(LAPTOP, policy="large")
    assert (found.large_seconds, found.ratio, found.pays, found.routed_seconds) == (None, None, None, {})
    assert found.tokens_per_second == found.models["large"].tokens_per_second


def test_layers_on_a_gpu_cost_what_it_costs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    of = Rates.of

    def noted(self: Rates, types: set[str], *, gpu: bool, threads: int) -> Any:
        asked.append(gpu)
        return of(self, types, gpu=gpu, threads=threads)

    monkeypatch.setattr(Rates, "of", noted)
    pair, footprints, plan = planned(LAPTOP, Gpu("CUDA0", 4 * GIB))
    assert 0 < plan.models["large"].gpu_layers < plan.models["large"].layers
    assert pair_speed(footprints, plan, pair, Rates(), one_vocabulary=True) is not None
    assert asked in ([True, False, True], [False, True, True])


def test_what_cannot_be_measured_is_not_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    (data_folder() / "rates.json").unlink()
    monkeypatch.setattr(Rates, "_measure", lambda *_: {})
    pair, footprints, plan = planned(LAPTOP)
    assert pair_speed(footprints, plan, pair, Rates(), one_vocabulary=True) is None


def test_glimp_plan_says_whether_it_pays(glimp: Glimp) -> None:
    result = glimp("plan", LAPTOP, "--ram", "64", "--vram", "0")
    assert "Tokens/s, forecast" in result.out
    assert " s by the large model alone, " in result.out
    assert "It pays here: at 25% it takes 0." in result.out
    found = msgspec.json.decode(glimp("plan", LAPTOP, "--ram", "64", "--vram", "0", "--json").out)["speed"]
    assert found["models"]["small"]["tokens_per_second"] > found["models"]["large"]["tokens_per_second"]


def test_nothing_is_forecast_of_gpus_that_are_not_here(glimp: Glimp) -> None:
    assert "No speed is forecast: this computer has no such GPU" in glimp("plan", LAPTOP, "--vram", "24").out
    assert msgspec.json.decode(glimp("plan", LAPTOP, "--vram", "24", "--json").out)["speed"] is None


def test_on_a_busy_machine_glimp_plan_says_why_it_forecasts_nothing(
    glimp: Glimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(rates: Rates, _: object) -> dict[str, Any]:
        rates.failure = "other programs keep the cores busy"
        return {}

    (data_folder() / "rates.json").unlink()
    monkeypatch.setattr(Rates, "_measure", busy)
    result = glimp("plan", LAPTOP, "--ram", "64", "--vram", "0")
    assert "could not be measured: other programs keep the cores busy." in result.out
    assert result.code == 0
