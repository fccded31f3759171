"""How fast a pair would be: pure arithmetic, on the catalogue's models."""

from __future__ import annotations

from glimp_local.machine.pace import tokens_per_second
from glimp_local.machine.planning import make_plan
from glimp_local.machine.survey import Gpu, Machine
from glimp_local.models.catalogue import load_catalogue, override
from glimp_local.models.footprint import footprint
from glimp_local.models.known import known_header
from glimp_local.paths import packaged_file
from glimp_local.routing import Model

GIB = 2**30
PAIRS = load_catalogue(packaged_file()).pairs
LAPTOP = Machine(32 * GIB)


def pace(name: str, machine: Machine = LAPTOP, policy: str = "threshold") -> float:
    config = override(PAIRS[name], {"policy": policy})
    footprints = {}
    models: tuple[Model, ...] = config.models
    for model in models:
        source = config.source(model)
        assert source is not None
        header = known_header(source.file or "")
        assert header is not None
        footprints[model] = footprint(header)
    return tokens_per_second(make_plan(footprints, config, machine), footprints, machine)


def test_the_larger_of_two_dense_pairs_is_the_slower_one() -> None:
    assert pace("qwen3-0.6b-4b") > pace("qwen3-1.7b-8b") > pace("qwen3-4b-32b")


def test_a_mixture_of_experts_is_as_fast_as_the_experts_at_work() -> None:
    assert pace("qwen3-0.6b-30b-a3b") > pace("qwen3-0.6b-4b") > 2 * pace("qwen3-4b-32b")


def test_more_cores_are_faster_until_memory_is_the_limit() -> None:
    one, two, eight, many = (pace("qwen3-0.6b-4b", Machine(32 * GIB, cores=cores)) for cores in (1, 2, 8, 64))
    assert two == 2 * one
    assert two < eight == many


def test_a_gpu_is_faster_and_the_faster_the_more_of_a_pair_it_holds() -> None:
    shared = pace("qwen3-1.7b-8b", Machine(32 * GIB, (Gpu("GPU0", 32 * GIB, shares_memory=True),)))
    part, whole = (pace("qwen3-1.7b-8b", Machine(32 * GIB, (Gpu("GPU0", size * GIB),))) for size in (6, 24))
    assert pace("qwen3-1.7b-8b") < shared < whole
    assert pace("qwen3-1.7b-8b") < part < whole


def test_embeddings_that_stay_with_the_cpu_cost_a_gpu_nothing() -> None:
    machine = Machine(32 * GIB, (Gpu("GPU0", 24 * GIB),), cores=1)
    assert pace("qwen3-1.7b-8b", machine) == pace("qwen3-1.7b-8b", Machine(32 * GIB, machine.gpus, cores=64))


def test_a_model_alone_has_a_pace_of_its_own() -> None:
    assert pace("qwen3-0.6b-4b", policy="large") < pace("qwen3-0.6b-4b") < pace("qwen3-0.6b-4b", policy="small")


def test_the_estimate_for_two_cores_is_on_the_careful_side_of_what_was_measured() -> None:
    # docs/benchmarks.md: two cores read the 1.1 GB of a model 26 times a second; a model of 2.5 GB as often as fits.
    assert pace("qwen3-0.6b-4b", Machine(32 * GIB, cores=2), policy="large") < 26 * 1.1 / 2.5
