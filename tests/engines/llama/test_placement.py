"""What options come to: threads, devices and words, on machines that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from glimp_local.engines.llama import placement
from glimp_local.engines.llama.placement import Placement
from glimp_local.engines.llama.rpc import RemoteDevice
from glimp_local.hardware import Cpus
from glimp_local.settings import EngineOptions

LARGE, TINY = 1_000_000_000, 1_000_000
LAYERS = 24
TWO = ("one", "two")
BOX = RemoteDevice("box:1", "box:1", 5, 9)
SECOND = RemoteDevice("two:1/1", "two:1", 5, 9)
HERE = RemoteDevice("127.0.0.1:1", "127.0.0.1:1", 9, 9, is_this_cpu=True)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "cpus", lambda: Cpus(4, 8, 4, None))


def placed(
    gpus: tuple[str, ...] = (), size_bytes: int = LARGE, remote: tuple[RemoteDevice, ...] = (), **options: Any
) -> Placement:
    return Placement(EngineOptions(**options), size_bytes, LAYERS, gpus, remote)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (placed(), "CPU, 4 threads"),
        (placed(size_bytes=TINY), "CPU, 1 thread"),
        (placed(threads=2, threads_batch=3), "CPU, 2 threads, 3 for prompts"),
        (placed(TWO), "all layers on one, two"),
        (placed(TWO, gpu_layers=LAYERS + 1), "all layers on one, two"),
        (placed(("one",), gpu_layers=LAYERS), "24 layers on one"),
        (placed(TWO, tensor_split=(0, 1)), "all layers on two"),
        (placed(remote=(BOX,)), "all layers on box:1"),
        (placed(remote=(BOX,), gpu_layers=12), "12 layers on box:1"),
        (placed(TWO, remote=(BOX, SECOND)), "all layers on box:1, two:1/1, one, two"),
        (placed(TWO, remote=(BOX,), tensor_split=(20, 0, 5)), "all layers on box:1, two"),
    ],
)
def test_where_the_layers_are_is_said_in_words(found: Placement, words: str) -> None:
    assert found.where == words


@pytest.mark.parametrize(
    ("found", "devices"),
    [
        (placed(), {"CPU"}),
        (placed(TWO), {"0", "1"}),
        (placed(TWO, gpu_layers=3), {"CPU", "0", "1"}),
        (placed(TWO, split="none", main_gpu=1), {"1"}),
        (placed(TWO, tensor_split=(0.0, 1.0)), {"1"}),
        (placed(TWO, tensor_split=(1.0,)), {"0"}),
        (placed(TWO, tensor_split=(0.0, 0.0)), {"0", "1"}),
        (placed(remote=(BOX,)), {"rpc box:1"}),
        (placed(remote=(SECOND, BOX), gpu_layers=3), {"CPU", "rpc two:1", "rpc box:1"}),
        (placed(TWO, remote=(BOX,), tensor_split=(20, 0, 5)), {"rpc box:1", "1"}),
        (placed(TWO, remote=(BOX,), split="none"), {"rpc box:1"}),
        (placed(TWO, remote=(BOX,), split="none", main_gpu=1), {"0"}),
        (placed(remote=(HERE,)), {"CPU", "rpc 127.0.0.1:1"}),
    ],
)
def test_devices_are_those_that_compute_a_layer(found: Placement, devices: set[str]) -> None:
    assert found.devices == devices


@pytest.mark.parametrize(
    ("found", "adapts"),
    [
        (placed(), True),
        (placed(threads_batch=2), True),
        (placed(("one",), gpu_layers=3), True),
        (placed(threads=4), False),
        (placed(size_bytes=TINY), False),
        (placed(("one",)), False),
        (placed(remote=(BOX,), gpu_layers=3), False),
    ],
)
def test_threads_adapt_only_if_nobody_has_set_them_and_a_cpu_computes(found: Placement, adapts: bool) -> None:
    assert found.adapts is adapts


def test_on_one_core_no_threads_adapt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "cpus", lambda: Cpus(1, 1, 1, None))
    assert not placed().adapts


def test_a_gpu_reads_a_prompt_in_larger_batches() -> None:
    assert (placed().batch, placed(TWO).batch, placed(TWO, batch=7).batch) == (128, 512, 7)
    assert placed(remote=(BOX,)).batch == 512
