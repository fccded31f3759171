"""Where layers go if a model names RPC servers: planned on machines and servers that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from glimp_local.engines.llama import loading, rpc, servers
from glimp_local.engines.llama.rpc import RemoteDevice
from glimp_local.errors import DeviceError
from glimp_local.machine.forecast import Forecaster, without
from glimp_local.machine.plan import CPU, Plan
from glimp_local.machine.planning import make_plan, resolved, smaller_plan
from glimp_local.machine.survey import Gpu, Machine, with_servers
from glimp_local.models.catalogue import override
from glimp_local.settings import EngineOptions, PairConfig
from tests.machine.test_plan import GIB, LAPTOP, PAIRS, footprints, machine
from tests.support.commands import Glimp, mine

BOX, OTHER = "192.168.1.5:50052", "192.168.1.6:50052"


def pair(*, small: dict[str, Any] | None = None, **large: Any) -> PairConfig:
    options = {"large": {"options": {"rpc": [BOX], **large}}, "small": {"options": small or {}}}
    return override(PAIRS[LAPTOP], options)


def remote(size: float, server: str = BOX, name: str | None = None, *, shared: bool = False) -> Gpu:
    return Gpu(name or server, int(size * GIB), shared, server, int(size * GIB))


def planned(config: PairConfig, *gpus: Gpu, ram: float = 16) -> Plan:
    return make_plan(footprints(config), config, Machine(int(ram * GIB), gpus))


def layers(plan: Plan, model: str = "large") -> dict[str, int]:
    return {part.device: part.layers for part in plan.parts if part.model == model}


def test_all_layers_of_the_model_that_names_a_server_go_there_and_the_other_one_stays() -> None:
    plan = planned(pair(), remote(24))
    assert layers(plan) == {CPU: 0, BOX: 37}
    assert layers(plan, "small") == {CPU: 29}
    assert plan.models["large"].rpc == (BOX,)
    assert plan.models["small"].rpc == ()
    assert plan.models["small"].gpu_layers == 0
    assert plan.fits
    assert plan.line().startswith(f"large all layers on {BOX}, small on the CPU, context 16,384; ")


def test_as_many_layers_as_fit_go_to_a_server_and_the_rest_stays_here() -> None:
    plan = planned(pair(), remote(3))
    count = plan.models["large"].gpu_layers
    assert 0 < count < 37
    assert layers(plan) == {CPU: 37 - count, BOX: count}
    assert f"large {count}/37 layers on {BOX}" in plan.line()
    one_more = override(pair(gpu_layers=count + 1), {"context": plan.models["large"].context})
    assert not planned(one_more, remote(3)).fits


def test_a_gpu_here_is_filled_first_with_the_last_layers_and_a_server_gets_the_rest() -> None:
    plan = planned(pair(), Gpu("GPU0", 6 * GIB), remote(24))
    assert plan.models["small"].gpu_layers == 29
    assert layers(plan, "small") == {CPU: 0, "GPU0": 29}
    found = layers(plan)
    assert found[CPU] == 0
    assert found[BOX] + found["GPU0"] == 37
    assert found["GPU0"] > 0
    # In llama.cpp's order, in which the server stands first: so the output, which is the last layer, is here.
    assert plan.models["large"].tensor_split == (found[BOX], found["GPU0"])
    assert resolved(EngineOptions(rpc=(BOX,)), plan.models["large"]).rpc == (BOX,)
    more_here = planned(pair(), Gpu("GPU0", 7 * GIB), remote(24))
    assert layers(more_here)["GPU0"] > found["GPU0"]


def test_a_server_that_is_not_needed_is_left_alone_and_that_is_said() -> None:
    plan = planned(pair(), Gpu("GPU0", 24 * GIB), remote(24))
    assert layers(plan) == {CPU: 0, "GPU0": 37}
    chosen = resolved(pair().options("large"), plan.models["large"])
    assert (chosen.rpc, chosen.tensor_split, chosen.gpu_layers) == ((), (), 37)
    assert plan.remarks(pair()) == [f"No layer of the large model goes to {BOX}"]
    assert planned(pair(), remote(24)).remarks(pair()) == []


def test_with_no_layers_on_gpus_nothing_goes_to_a_server_and_that_is_said() -> None:
    config = pair(gpu_layers=0)
    plan = planned(config)
    assert layers(plan) == {CPU: 37}
    assert plan.remarks(config) == [f"No layer of the large model goes to {BOX} (gpu_layers is 0)"]
    assert resolved(config.options("large"), plan.models["large"]).rpc == ()


def test_devices_of_two_servers_are_in_the_order_in_which_a_model_names_them() -> None:
    gpus = (remote(3), remote(2.5, OTHER, f"{OTHER}/0"), remote(2.5, OTHER, f"{OTHER}/1"))
    for named in ([BOX, OTHER], [OTHER, BOX]):
        plan = planned(pair(rpc=named), *gpus)
        found = layers(plan)
        split = plan.models["large"].tensor_split
        order = [BOX, f"{OTHER}/0", f"{OTHER}/1"] if named[0] == BOX else [f"{OTHER}/0", f"{OTHER}/1", BOX]
        assert split == tuple(found.get(device, 0) for device in order)
        assert sum(1 for count in split if count) == 3
        assert plan.models["large"].rpc == tuple(named)


def test_a_split_that_is_asked_for_is_kept_over_servers_and_gpus() -> None:
    plan = planned(pair(tensor_split=[3, 1], gpu_layers=-1), Gpu("GPU0", 12 * GIB), remote(12))
    found = layers(plan)
    assert found[BOX] > 2 * found["GPU0"]
    assert plan.models["large"].tensor_split == ()
    assert plan.models["large"].rpc == (BOX,)
    alone = planned(pair(split="none", gpu_layers=-1), Gpu("GPU0", 12 * GIB), remote(12))
    assert layers(alone) == {CPU: 0, BOX: 37}


def test_both_models_may_be_on_one_server() -> None:
    config = pair(small={"rpc": [BOX]})
    plan = planned(config, remote(24))
    assert (layers(plan)[BOX], layers(plan, "small")[BOX]) == (37, 29)
    (room,) = [room for room in plan.rooms if room.device == BOX]
    assert room.needed_bytes == sum(part.total_bytes for part in plan.parts if part.device == BOX)


def test_a_server_on_this_machines_cpu_takes_its_memory() -> None:
    here = planned(pair(), remote(16, shared=True))
    there = planned(pair(), remote(16))
    on_server = sum(part.total_bytes for part in here.parts if part.device == BOX)
    assert here.rooms[0].needed_bytes == there.rooms[0].needed_bytes + on_server


def test_where_a_server_had_less_room_than_it_said_a_smaller_plan_has_fewer_layers_there() -> None:
    config = pair()
    plan = planned(config, remote(24))
    there = Machine(16 * GIB, (remote(24),))
    smaller: Plan | None = plan
    while smaller is not None and smaller.models["large"].gpu_layers == 37:
        smaller = smaller_plan(smaller, footprints(config), config, there, "weights")
    assert smaller is not None
    assert 0 < smaller.models["large"].gpu_layers < 37
    assert smaller.models["large"].rpc == (BOX,)


def test_weights_of_the_cpu_are_repacked_beside_a_server_but_not_beside_a_gpu() -> None:
    def twice(*gpus: Gpu) -> int:
        config = pair(gpu_layers=5)
        plan = make_plan(footprints(config), config, Machine(16 * GIB, gpus, frozenset({"Q4_K"})))
        return sum(part.weights_bytes - part.mapped_bytes for part in plan.parts if part.device == CPU)

    assert twice(remote(24)) > twice(remote(24), Gpu("GPU0", GIB // 4))


# What servers are asked.


class Asked:
    """Servers that are made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.endpoints: list[list[str]] = []
        self.found = [RemoteDevice(BOX, BOX, 3 * GIB, 24 * GIB)]
        self.error: DeviceError | None = None
        monkeypatch.setattr(servers, "devices", self.devices)

    def devices(self, endpoints: list[str]) -> list[RemoteDevice]:
        self.endpoints.append(endpoints)
        if self.error is not None:
            raise self.error
        return self.found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_each_server_is_asked_once_and_none_if_nobody_names_it(asked: Asked) -> None:
    assert with_servers(machine(16, 8), PAIRS[LAPTOP]) == machine(16, 8)
    assert with_servers(machine(16, 8), pair(gpu_layers=0)) == machine(16, 8)
    assert asked.endpoints == []
    found = with_servers(machine(16, 8), pair(rpc=[BOX, OTHER], small={"rpc": [OTHER]}))
    assert asked.endpoints == [[BOX, OTHER]]
    assert found.gpus == (*machine(16, 8).gpus, Gpu(BOX, 3 * GIB, False, BOX, 24 * GIB))


def test_of_a_server_on_this_cpu_no_more_is_free_than_here(asked: Asked) -> None:
    asked.found = [RemoteDevice(BOX, BOX, 24 * GIB, 24 * GIB, is_this_cpu=True)]
    assert with_servers(machine(16), pair()).gpus == (Gpu(BOX, 16 * GIB, True, BOX, 24 * GIB),)


def test_a_server_is_free_again_once_a_pair_is_closed_but_never_more_than_it_has() -> None:
    plan = planned(pair(), remote(24))
    taken = sum(part.total_bytes for part in plan.parts if part.device == BOX)

    def freed(free: int) -> int:
        (gpu,) = without(plan, Machine(16 * GIB, (Gpu(BOX, free, False, BOX, 24 * GIB),))).gpus
        return gpu.free_bytes

    assert freed(GIB) == GIB + taken
    assert freed(24 * GIB) == 24 * GIB


def test_a_forecast_says_that_a_server_cannot_be_used(asked: Asked) -> None:
    asked.error = DeviceError("the RPC server is gone")
    expected = Forecaster(machine(16), measures=False, asks=True).forecast(pair())
    assert expected.in_words() == "cannot be read"
    assert expected.problem == "the RPC server is gone"


def test_a_forecast_counts_what_the_loaded_pair_frees_on_a_server(asked: Asked) -> None:
    loaded = planned(pair(), remote(24))
    crowded = Forecaster(machine(16), measures=False, asks=True).forecast(pair())
    expected = Forecaster(machine(16), measures=False, asks=True, loaded=loaded).forecast(pair())
    assert crowded.plan is not None
    assert expected.plan is not None
    assert crowded.plan.models["large"].gpu_layers < 37
    assert expected.plan.models["large"].gpu_layers == 37
    assert len(asked.endpoints) == 2


TOML = f"""
[pairs.mine]
[pairs.mine.small]
path = "SMALL"
[pairs.mine.large]
path = "LARGE"
[pairs.mine.large.options]
rpc = ["{BOX}"]
"""


@pytest.fixture
def net(small: Path, large: Path) -> None:
    mine(TOML.replace("SMALL", str(small)).replace("LARGE", str(large)))


@pytest.mark.usefixtures("net")
def test_glimp_plan_shows_what_goes_to_a_server(glimp: Glimp, asked: Asked) -> None:
    result = glimp("plan", "mine")
    assert result.code == 0
    assert f"large, {BOX} " in result.out
    assert f"large all layers on {BOX}, small on the CPU" in result.out
    assert "No speed is forecast: an RPC server cannot be measured before a model is loaded there." in result.out
    found = msgspec.json.decode(glimp("plan", "mine", "--json").out)
    assert found["plan"]["models"]["large"]["rpc"] == [BOX]
    assert len(asked.endpoints) == 2


@pytest.mark.usefixtures("net")
def test_commands_say_that_a_server_cannot_be_used_and_what_to_do(glimp: Glimp, asked: Asked) -> None:
    asked.error = DeviceError("the RPC server is gone", hint="start it")
    for command in (("plan", "mine"), ("solve", "--pair", "mine", "--text", "?")):
        result = glimp(*command)
        assert result.code == 3
        assert "glimp: the RPC server is gone\nhint: start it\n" in result.err


@pytest.mark.usefixtures("net")
def test_no_server_is_asked_to_list_pairs_or_to_choose_one(glimp: Glimp, asked: Asked) -> None:
    assert "with layers on RPC servers" in glimp("models", "list").out
    assert not glimp("config", "show").out.startswith("# The pair mine:")
    assert asked.endpoints == []


@pytest.mark.usefixtures("net")
def test_a_server_in_the_open_network_gets_a_warning(
    glimp: Glimp, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # llama.cpp loads the model here, though it is planned to be elsewhere.
    monkeypatch.setattr(loading, "_devices", lambda _: None)
    for is_public in (False, True):
        monkeypatch.setattr(rpc, "is_public", lambda _, is_public=is_public: is_public)
        result = glimp("solve", "--pair", "mine", "--text", "How many steps are there?", "--seed", "1")
        assert result.code == 0, result.err
        assert ("reached over the open network" in result.err) is is_public
        assert ("no password and no encryption" in " ".join(result.err.split())) is is_public
    assert asked.endpoints
