"""Where a pair goes on machines of all sizes: pure arithmetic, on the catalogue's models."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.engines.llama import binding
from glimp_local.hardware import Device, DeviceKind
from glimp_local.machine.plan import CONTEXT, CPU, Plan
from glimp_local.machine.planning import CONTEXTS, make_plan, resolved, smaller_plan
from glimp_local.machine.survey import Gpu, Machine, survey
from glimp_local.models.catalogue import load_catalogue, override
from glimp_local.models.footprint import Footprint, footprint
from glimp_local.models.gguf.header import read_header
from glimp_local.models.known import known_header
from glimp_local.paths import packaged_file
from glimp_local.routing import MODELS, Model
from glimp_local.settings import EngineOptions, PairConfig
from tests.support.commands import Glimp

GIB = 2**30
PAIRS = {name: pair for name, pair in load_catalogue(packaged_file()).pairs.items() if pair.only is None}
LAPTOP = "qwen3-1.7b-8b"


def footprints(pair: PairConfig) -> dict[Model, Footprint]:
    found = {}
    for model in pair.models:
        source = pair.source(model)
        assert source is not None
        header = known_header(source.file or "")
        assert header is not None
        found[model] = footprint(header)
    return found


def machine(ram: float, *vram: float, shared: bool = False) -> Machine:
    gpus = tuple(Gpu(f"GPU{i}", int(size * GIB), shared) for i, size in enumerate(vram))
    return Machine(int(ram * GIB), gpus, frozenset({"Q4_K"}))


def planned(where: Machine, name: str = LAPTOP, **settings: Any) -> Plan:
    pair = override(PAIRS[name], settings)
    return make_plan(footprints(pair), pair, where)


def both(**options: Any) -> dict[str, Any]:
    return {model: {"options": options} for model in MODELS}


def on(plan: Plan, device: str) -> int:
    return sum(part.total_bytes for part in plan.parts if part.device == device)


def on_gpus(plan: Plan) -> list[int]:
    return [chosen.gpu_layers for chosen in plan.models.values()]


def test_a_large_gpu_takes_all_with_the_whole_context() -> None:
    plan = planned(machine(8, 24))
    assert {model: chosen.gpu_layers for model, chosen in plan.models.items()} == {"large": 37, "small": 29}
    assert {chosen.context for chosen in plan.models.values()} == {CONTEXT}
    assert {chosen.cache_type for chosen in plan.models.values()} == {"f16"}
    assert plan.fits
    assert plan.shortage() is None
    assert plan.cut(PAIRS[LAPTOP]) is None
    assert plan.line().startswith("large all layers on GPU0, small all layers on GPU0, context 16,384; ")


@pytest.mark.parametrize("name", ["attention", "hybrid"])
def test_snapshots_of_a_model_that_cannot_go_back_lie_on_the_cpu(tiny: Path, name: str) -> None:
    model = footprint(read_header(tiny / f"{name}.gguf"))
    plan = make_plan({"small": model, "large": model}, PAIRS[LAPTOP], machine(8, 8))
    snapshots = model.snapshot_bytes(plan.models["small"].context, "f16")
    assert bool(snapshots) == (name == "hybrid")
    others = [part.other_bytes for part in plan.parts if part.device == CPU]
    assert others == [model.other_bytes() + snapshots] * 2


def test_a_cache_is_rounded_before_layers_leave_the_gpu() -> None:
    plan = planned(machine(16, 10))
    assert {chosen.cache_type for chosen in plan.models.values()} == {"q8_0"}
    assert plan.models["large"].gpu_layers == 37
    assert "(q8_0 cache)" in plan.line()
    assert "is kept as q8_0 (--cache-type)" in (plan.cut(PAIRS[LAPTOP]) or "")


def test_what_does_not_fit_is_some_of_the_large_model_s_layers() -> None:
    plan = planned(machine(16, 6))
    assert plan.models["small"].gpu_layers == 29
    assert 0 < plan.models["large"].gpu_layers < 37
    assert plan.fits
    # One layer more would not fit.
    one_more = {"options": {"gpu_layers": plan.models["large"].gpu_layers + 1}}
    all_layers = {"options": {"gpu_layers": -1}}
    context = plan.models["large"].context
    assert not planned(machine(16, 6), context=context, small=all_layers, large=one_more).fits


def test_under_a_policy_of_large_steps_its_layers_come_first() -> None:
    plan = planned(machine(16, 6), policy="share", share=0.9)
    usual = planned(machine(16, 6), policy="share", share=0.2)
    assert plan.models["large"].gpu_layers > usual.models["large"].gpu_layers
    assert plan.models["small"].gpu_layers < usual.models["small"].gpu_layers


def test_a_policy_of_one_model_plans_for_one() -> None:
    plan = planned(machine(16, 6), policy="large")
    assert set(plan.models) == {"large"}
    assert plan.line().startswith("large all layers on GPU0")


def test_without_a_gpu_all_is_on_the_cpu() -> None:
    plan = planned(machine(16))
    assert plan.line().startswith("both models on the CPU, context 16,384; ")
    assert {part.device for part in plan.parts} == {CPU}


def test_short_memory_cuts_the_context_and_says_so() -> None:
    plan = planned(machine(7.6))
    context = plan.models["large"].context
    assert plan.fits
    assert context in CONTEXTS[1:]
    assert f"the context is {context:,} tokens instead of 16,384 (--ctx)" in (plan.cut(PAIRS[LAPTOP]) or "")


def test_weights_that_do_not_fit_are_read_from_the_disk_and_that_is_said() -> None:
    plan = planned(machine(3, 0.5), large={"options": {"cache_type": "q4_0"}})
    assert plan.runs
    assert not plan.fits
    assert "read from the disk again and again" in (plan.shortage() or "")
    nothing = planned(machine(1))
    assert not nothing.runs
    assert "it does not fit" in (nothing.shortage() or "")


def test_pages_of_the_file_are_not_use_but_weights_in_another_order_are() -> None:
    parts = {part.model: part for part in planned(machine(32), **both(load_mode="mmap")).parts}
    assert 0 < parts["large"].mapped_bytes < parts["large"].weights_bytes  # Q4_K is repacked, Q6_K is not
    assert parts["small"].mapped_bytes == parts["small"].weights_bytes  # Q8_0 is not, on this processor
    read = {part.model: part for part in planned(machine(32), **both(load_mode="read")).parts}
    assert read["large"].mapped_bytes == 0
    assert read["large"].weights_bytes == parts["large"].weights_bytes


def test_a_file_most_of_which_is_kept_in_another_order_is_read_and_not_mapped() -> None:
    plan = planned(machine(32))
    assert {model: chosen.load_mode for model, chosen in plan.models.items()} == {"large": "read", "small": "auto"}
    parts = {part.model: part for part in plan.parts}
    assert parts["large"].mapped_bytes == 0 < parts["small"].mapped_bytes
    assert resolved(EngineOptions(), plan.models["large"]).load_mode == "read"
    own = planned(machine(32), **both(load_mode="mlock"))
    assert {chosen.load_mode for chosen in own.models.values()} == {"mlock"}


def test_where_it_does_not_fit_it_is_mapped() -> None:
    plan = planned(machine(3, 0.5), large={"options": {"cache_type": "q4_0"}})
    assert plan.runs
    assert not plan.fits
    assert {chosen.load_mode for chosen in plan.models.values()} == {"auto"}


def test_attention_is_fused_where_that_is_quicker_or_memory_is_short() -> None:
    def attention(where: Machine, **settings: Any) -> dict[Model, str]:
        return {model: chosen.flash_attention for model, chosen in planned(where, **settings).models.items()}

    assert attention(machine(32)) == {"large": "off", "small": "off"}, "on a CPU, whose fused pass is slow for a few"
    assert attention(machine(32, 24)) == {"large": "auto", "small": "auto"}
    assert attention(machine(32), large={"options": {"cache_type": "q8_0"}}) == {"large": "auto", "small": "off"}
    assert attention(machine(32), **both(flash_attention="on")) == {"large": "on", "small": "on"}
    plain, fused = (
        sum(p.compute_bytes for p in planned(machine(32), **both(flash_attention=f)).parts) for f in ("off", "on")
    )
    needed = on(planned(machine(32), **both(flash_attention="on", load_mode="mmap")), CPU)
    short = planned(machine((needed + (plain - fused) / 2) / 0.95 / GIB))
    assert {chosen.flash_attention for chosen in short.models.values()} == {"auto"}
    assert {(chosen.context, chosen.cache_type) for chosen in short.models.values()} == {(CONTEXT, "f16")}, (
        "nothing cut"
    )
    assert resolved(EngineOptions(), planned(machine(32)).models["large"]).flash_attention == "off"


def test_beside_a_gpu_of_its_own_memory_nothing_is_repacked() -> None:
    parts = [part for part in planned(machine(32, 4)).parts if part.device == CPU]
    assert all(part.mapped_bytes == part.weights_bytes for part in parts)


def test_memory_that_both_share_is_counted_once_for_each() -> None:
    plan = planned(machine(16, 12, shared=True))
    cpu, gpu = plan.rooms
    assert cpu.needed_bytes == on(plan, CPU) + on(plan, "GPU0")
    assert gpu.needed_bytes == on(plan, "GPU0")
    assert not planned(machine(6, 12, shared=True)).fits


def test_one_gpu_is_filled_after_the_other() -> None:
    plan = planned(machine(32, 5, 6))
    layers = {part.device: part.layers for part in plan.parts if part.model == "large" and part.device != CPU}
    assert plan.models["large"].tensor_split == (layers["GPU0"], layers["GPU1"])
    assert sum(on_gpus(plan)) == 37 + 29
    assert resolved(EngineOptions(), plan.models["large"]).tensor_split == (layers["GPU0"], layers["GPU1"])


def test_a_gpu_that_is_not_needed_is_left_alone() -> None:
    # Each GPU that is used takes memory of its own, and the smallest one must not be what limits them all.
    for more in (1.0, 2.0, 20.0):
        plan = planned(machine(32, 12, more))
        assert sum(on_gpus(plan)) == 37 + 29
        assert len({part.device for part in plan.parts} - {CPU}) == 1


@pytest.mark.parametrize(
    ("kinds", "used"),
    [
        (["GPU", "integrated GPU"], [False]),
        (["integrated GPU", "GPU", "GPU"], [False, False]),
        (["integrated GPU", "integrated GPU"], [True]),
        ([], []),
    ],
)
def test_an_integrated_gpu_is_used_where_there_is_no_other_one(
    kinds: list[DeviceKind], used: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [Device(f"GPU{i}", "a GPU", kind, 8 * GIB, 7 * GIB) for i, kind in enumerate(kinds)]
    monkeypatch.setattr(binding, "devices", lambda: [Device("CPU", "a CPU", "CPU", GIB, GIB), *gpus])
    monkeypatch.setattr("platform.system", lambda: "Linux")  # on Apple's chips every GPU shares the memory
    assert [gpu.shares_memory for gpu in survey().gpus] == used
    assert len(binding.gpus()) == len(used)


def test_how_the_layers_are_to_be_spread_is_kept() -> None:
    alone = planned(machine(32, 4, 8), **both(split="none", main_gpu=1))
    assert {part.device for part in alone.parts} == {CPU, "GPU1"}
    divided = planned(machine(32, 12, 12), **both(tensor_split=[3, 1]))
    layers = {part.device: part.layers for part in divided.parts if part.model == "large" and part.device != CPU}
    assert layers["GPU0"] > 2 * layers["GPU1"]
    assert divided.models["large"].tensor_split == ()
    assert resolved(EngineOptions(tensor_split=(3, 1)), divided.models["large"]).tensor_split == (3, 1)
    rows = planned(machine(32, 4, 12), **both(split="row"))
    layers = {part.device: part.layers for part in rows.parts if part.model == "large" and part.device != CPU}
    assert layers["GPU1"] > 2 * layers["GPU0"]


def test_without_room_on_a_gpu_nothing_is_rounded_for_it() -> None:
    plan = planned(machine(30, 0.2))
    assert plan.line().startswith("both models on the CPU, context 16,384; ")
    assert not plan.is_rounded


def test_memory_that_both_share_cannot_be_read_again_from_the_disk() -> None:
    plan = planned(machine(6, 6, shared=True), **both(gpu_layers=-1))
    assert not plan.fits
    assert not plan.runs


def test_what_is_set_is_kept_whether_it_fits_or_not() -> None:
    plan = planned(machine(8, 4), context=32768, **both(gpu_layers=-1, cache_type="f16"))
    assert {chosen.gpu_layers for chosen in plan.models.values()} == {37, 29}
    assert {(chosen.context, chosen.cache_type) for chosen in plan.models.values()} == {(32768, "f16")}
    assert not plan.fits
    assert plan.cut(PAIRS[LAPTOP]) is None or "context" not in (plan.cut(PAIRS[LAPTOP]) or "")
    for short_of in ("weights", "context"):
        assert smaller_plan(plan, footprints(PAIRS[LAPTOP]), _set(plan), machine(8, 4), short_of) is None


def _set(plan: Plan) -> PairConfig:
    context = plan.models["large"].context
    return override(PAIRS[LAPTOP], {"context": context, **both(gpu_layers=-1, cache_type="f16")})


def test_a_context_is_never_longer_than_a_model_was_trained_for(tiny: Path) -> None:
    models: dict[Model, Footprint] = {"small": footprint(read_header(tiny / "small.gguf"))}
    plan = make_plan(models, PairConfig(policy="small"), machine(4))
    assert plan.models["small"].context == 512
    assert plan.cut(PairConfig(policy="small")) is None


def smaller_and_smaller(plan: Plan, where: Machine, short_of: Literal["weights", "context"]) -> list[Plan]:
    plans = []
    while less := smaller_plan(plan, footprints(PAIRS[LAPTOP]), PAIRS[LAPTOP], where, short_of):
        plans.append(plan := less)
    return plans


def test_short_of_its_context_a_pair_gets_a_rounded_cache_then_less_context_then_fewer_layers() -> None:
    where = machine(32, 24)
    first = planned(where)
    plans = smaller_and_smaller(first, where, "context")
    sizes = [on(plan, "GPU0") for plan in (first, *plans)]
    assert sizes == sorted(sizes, reverse=True)
    assert [plan.models["large"].context for plan in plans[: len(CONTEXTS)]] == list(CONTEXTS)
    assert all(plan.is_rounded for plan in plans)
    assert [sum(on_gpus(plan)) < 66 for plan in plans[: len(CONTEXTS) + 1]] == [False] * len(CONTEXTS) + [True]
    assert sum(on_gpus(plans[-1])) == 0


def test_short_of_its_weights_a_pair_keeps_its_context() -> None:
    where = machine(32, 24)
    plans = smaller_and_smaller(planned(where), where, "weights")
    assert {(plan.models["large"].context, plan.is_rounded) for plan in plans} == {(CONTEXT, False)}
    layers = [66, *(sum(on_gpus(plan)) for plan in plans)]
    assert all(fewer < more for more, fewer in pairwise(layers))
    assert layers[-1] == 0


def test_an_engine_is_given_what_is_planned() -> None:
    plan = planned(machine(16, 6))
    options = resolved(EngineOptions(threads=3), plan.models["large"])
    assert (options.gpu_layers, options.cache_type, options.threads) == (plan.models["large"].gpu_layers, "q8_0", 3)


@given(
    name=st.sampled_from(sorted(PAIRS)),
    ram=st.floats(0.5, 64),
    vram=st.lists(st.floats(0.1, 48), max_size=3),
    shared=st.booleans(),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "context": st.sampled_from(["auto", 0, 4096, 100_000]),
            "policy": st.sampled_from(["threshold", "share", "small", "large", "speculative"]),
            "small": st.just({"options": {"gpu_layers": 5}}),
            "large": st.just({"options": {"cache_type": "q4_0"}}),
        },
    ),
)
def test_a_plan_adds_up_and_more_memory_never_means_less(
    name: str, ram: float, vram: list[float], shared: bool, settings: dict[str, Any]
) -> None:
    where = machine(ram, *vram, shared=shared)
    plan = planned(where, name, **settings)
    for model, chosen in plan.models.items():
        layers = sum(part.layers for part in plan.parts if part.model == model)
        assert layers == chosen.layers
        assert 0 <= chosen.gpu_layers <= chosen.layers
    assert {room.device for room in plan.rooms} == {CPU, *(gpu.name for gpu in where.gpus)}
    for room in plan.rooms:
        assert room.fits == (room.needed_bytes <= room.free_bytes - min(GIB, int(room.free_bytes * 0.05)))
    assert plan.runs or not plan.fits
    if plan.fits:
        larger = planned(machine(2 * ram, *(2 * size for size in vram), shared=shared), name, **settings)
        assert larger.fits
        # With a GPU, a shorter context may be what all layers cost there.
        for model, chosen in plan.models.items():
            assert larger.models[model].context >= chosen.context or where.gpus
        another = planned(machine(ram, *vram, 6, shared=shared), name, **settings)
        assert shared or sum(on_gpus(another)) >= sum(on_gpus(plan))


def test_glimp_plan_shows_a_table_and_a_line(glimp: Glimp) -> None:
    result = glimp("plan", LAPTOP, "--ram", "16", "--vram", "6")
    assert result.code == 0
    assert "large, GPU0" in result.out
    assert "It fits: large " in result.out
    assert "not downloaded" in result.out


def test_glimp_plan_says_what_does_not_fit(glimp: Glimp) -> None:
    result = glimp("plan", LAPTOP, "--ram", "2", "--vram", "0")
    assert result.code == 1
    assert "it does not fit" in result.out
    assert "One that fits" not in result.out
    result = glimp("plan", "qwen3-4b-32b", "--ram", "16", "--vram", "0")
    assert "One that fits: qwen3-0.6b-4b (3.1 GB to download, " in result.out


def test_glimp_plan_takes_several_gpus(glimp: Glimp) -> None:
    found = msgspec.json.decode(glimp("plan", LAPTOP, "--vram", "4", "--vram", "8", "--json").out)
    assert [room["device"] for room in found["plan"]["rooms"]] == ["CPU", "GPU0", "GPU1"]


def test_what_cannot_be_as_it_was_asked_for_is_said(glimp: Glimp) -> None:
    result = glimp("plan", LAPTOP, "--vram", "0", "--gpu-layers", "5", "--ctx", "50000")
    assert "There is no GPU for the layers that should be on one." in result.out
    assert "what the models were trained for: 40,960 of the" in " ".join(result.out.split())
    assert planned(machine(32), context=40960).limited(override(PAIRS[LAPTOP], {"context": 40960})) is None


def test_glimp_plan_takes_the_flags_of_loading(glimp: Glimp) -> None:
    result = glimp("plan", LAPTOP, "--vram", "24", "--ctx", "8192", "--gpu-layers-large", "10", "--json")
    found = msgspec.json.decode(result.out)
    assert (found["pair"], found["fits"], found["context"]) == (LAPTOP, True, 8192)
    large = {"gpu_layers": 10, "layers": 37, "context": 8192, "cache_type": "f16", "tensor_split": []}
    large |= {"load_mode": "auto", "flash_attention": "auto", "rpc": []}
    assert found["plan"]["models"]["large"] == large


def test_glimp_plan_knows_files_that_are_there(glimp: Glimp, small: Path, large: Path) -> None:
    result = glimp("plan", "--small", str(small), "--large", str(large))
    assert result.code == 0
    assert "It fits: both models on the CPU, context 512; " in result.out
    assert "not downloaded" not in result.out


def test_glimp_plan_of_files_nobody_knows_says_how_to_get_them(glimp: Glimp, tmp_path: Path) -> None:
    toml = tmp_path / "models.toml"
    source = '{repo = "maker/model-GGUF", file = "unknown.gguf"}'
    toml.write_text(f"[pairs.mine]\nsmall = {source}\nlarge = {source}\n")
    result = glimp("plan", "mine", "--models", str(toml))
    assert result.code == 3
    assert "maker/model-GGUF/unknown.gguf (size not listed) is not on this machine" in result.err
    assert "hint: glimp models pull mine" in result.err


def test_glimp_plan_of_a_damaged_file_is_an_error(glimp: Glimp, small: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(small.read_bytes()[:2000])
    result = glimp("plan", "--small", str(small), "--large", str(cut))
    assert result.code == 3
    assert "cut short or damaged" in result.err
