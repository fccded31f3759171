"""What to expect of a pair before it is loaded or downloaded: from its files, or from what is known of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from glimp_local.machine.forecast import Forecast, Forecaster, pair_files, without
from glimp_local.machine.plan import Part, Plan, Room
from glimp_local.machine.survey import Gpu, Machine
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import packaged_file
from glimp_local.settings import ModelSource, PairConfig

GIB = 2**30
PAIRS = load_catalogue(packaged_file()).pairs


def at_paths(small: Path, large: Path) -> PairConfig:
    return PairConfig(small=ModelSource(path=str(small)), large=ModelSource(path=str(large)))


def test_a_pair_says_whether_it_fits_and_how_fast_it_is_likely_to_be() -> None:
    pair = PAIRS["qwen3-1.7b-8b"]
    said = {gib: Forecaster(Machine(gib * GIB)).forecast(pair).in_words() for gib in (32, 8, 4)}
    assert said == {
        32: "fits, about 7.4 tokens/s, 1.4 times the large model's",
        8: "fits with less context, about 7.4 tokens/s, 1.4 times the large model's",
        4: "too large: very slow",
    }


def test_without_rates_nothing_is_said_of_speed() -> None:
    assert Forecaster(Machine(GIB), measures=False).forecast(PAIRS["builtin"]).in_words() == "fits"


def test_where_routing_would_not_pay_that_is_said() -> None:
    found = Forecaster(Machine(32 * GIB)).forecast(PAIRS["qwen3-1.7b-8b"])
    assert found.speed is not None
    slow = msgspec.structs.replace(found.speed, routed_seconds=dict.fromkeys(found.speed.routed_seconds, 500.0))
    assert Forecast(found.plan, slow).in_words() == "fits, about 2.0 tokens/s, does not pay here"


def test_of_a_model_nobody_knows_nothing_is_said_before_it_is_here() -> None:
    there = ModelSource(repo="maker/strange-GGUF", file="strange.gguf")
    assert Forecaster(Machine(GIB)).forecast(PairConfig(small=there, large=there)) == Forecast()
    assert Forecast().in_words() == "not known before it is here"


def test_a_damaged_file_is_said(tmp_path: Path, small: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF")
    found = Forecaster(Machine(GIB)).forecast(at_paths(small, damaged))
    assert found.in_words() == "cannot be read"
    assert "damaged.gguf" in (found.problem or "")


def test_what_is_missing_of_a_pair_is_to_be_downloaded_and_a_path_cannot_be(tmp_path: Path, small: Path) -> None:
    away = pair_files(PAIRS["qwen3-0.6b-4b"])
    assert (away.is_here, away.here_bytes, away.missing_bytes) == (False, 0, 3_136_726_944)
    assert len(away.missing) == 2
    here = pair_files(at_paths(small, small))
    assert (here.is_here, here.here_bytes, here.missing) == (True, small.stat().st_size, ())
    gone = pair_files(at_paths(small, tmp_path / "gone.gguf"))
    assert (gone.is_here, gone.missing) == (False, ())
    assert gone.problem == f"{tmp_path / 'gone.gguf'}: no such file (check the path)"


def part(device: str, weights: int, mapped: int = 0) -> Part:
    return Part("large", device, 4, weights, mapped, cache_bytes=10, compute_bytes=1, other_bytes=0)


def test_the_memory_of_the_loaded_pair_counts_as_free_but_for_what_is_free_already() -> None:
    plan = Plan({}, (part("CPU", 500, mapped=400), part("CUDA0", 3000)), (Room("CPU", 0, 0, fits=True),), 0)
    freed = without(plan, Machine(1000, (Gpu("CUDA0", 7000), Gpu("CUDA1", 50))))
    assert freed.free_bytes == 1000 + 100 + 11
    assert [gpu.free_bytes for gpu in freed.gpus] == [7000 + 3011, 50]


def test_a_gpu_that_shares_the_memory_gets_all_of_it_back() -> None:
    plan = Plan({}, (part("CPU", 500), part("Metal", 3000)), (), 0)
    freed = without(plan, Machine(1000, (Gpu("Metal", 800, shares_memory=True),)))
    assert (freed.free_bytes, freed.gpus[0].free_bytes) == (1000 + 511 + 3011, 800 + 511 + 3011)
