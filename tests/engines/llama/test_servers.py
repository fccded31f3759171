"""Which devices a model is given: RPC servers' for a model that names them, and for no other one."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from glimp_local.engines.llama import binding, loading, release, rpc, servers
from glimp_local.engines.llama.rpc import Offer
from glimp_local.errors import DeviceError, UsageError
from glimp_local.hardware import Device
from glimp_local.settings import EngineOptions

GIB = 2**30
BOX, OTHER = "192.168.1.5:50052", "192.168.1.6:50052"
GPU = Device("GPU0", "a GPU", "GPU", 8 * GIB, 8 * GIB)


class Made:
    """llama.cpp with RPC and without: which servers were asked, and over which connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offers = {BOX: [Offer(5, 9)], OTHER: [Offer(1, 2), Offer(3, 4)]}
        self.asked: list[str] = []
        self.gpus: list[Device] = []
        self.has_rpc = True
        monkeypatch.setattr(binding, "supports_rpc", lambda: self.has_rpc)
        monkeypatch.setattr(binding, "backends", lambda: ["CUDA", "CPU"])
        monkeypatch.setattr(binding, "devices", lambda: self.gpus)
        monkeypatch.setattr(binding, "device_by_name", lambda name: {"GPU0": 7}[name])
        monkeypatch.setattr(binding, "memory", lambda pointer: (pointer, 2 * pointer))
        monkeypatch.setattr(servers, "_registered", self.registered)
        monkeypatch.setattr(rpc, "ask", self.ask)
        monkeypatch.setattr(rpc, "is_here", lambda _: False)

    def ask(self, endpoint: str) -> list[Offer]:
        self.asked.append(endpoint)
        return self.offers[endpoint]

    def registered(self, endpoint: str, count: int | None = None) -> list[int]:
        found = {BOX: [100], OTHER: [201, 202]}[endpoint]
        assert count in {None, len(found)}
        return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


def given(**options: Any) -> list[int | None] | None:
    """Return the list that llama.cpp is given."""
    found = loading._devices(EngineOptions(**options))
    return None if found is None else list(found)


def test_a_model_without_servers_is_left_to_llama_cpp_which_knows_of_none(made: Made) -> None:
    made.gpus = [GPU]
    assert given() is None
    assert given(rpc=(BOX,)) is not None
    assert given() is None
    assert given(rpc=(BOX,), gpu_layers=0) is None
    assert made.asked == [BOX]


def test_a_model_with_servers_gets_those_it_names_then_the_gpus_here_and_an_end(made: Made) -> None:
    assert given(rpc=(BOX,)) == [100, None]
    made.gpus = [GPU]
    assert given(rpc=(OTHER, BOX)) == [201, 202, 100, 7, None]


def test_where_gpus_are_left_alone_only_servers_are_used(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.gpus = [GPU]
    monkeypatch.setattr(binding, "gpus_left_alone", lambda: True)
    assert given() == [None]
    assert given(rpc=(BOX,)) == [100, None]


@pytest.mark.usefixtures("made")
def test_more_devices_than_llama_cpp_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding.lib, "llama_max_devices", lambda: 2)
    assert given(rpc=(OTHER,)) == [201, 202, None]
    with pytest.raises(UsageError, match="spread over 3 devices, and llama"):
        given(rpc=(OTHER, BOX))


@pytest.mark.usefixtures("made")
def test_a_device_is_called_by_its_server_and_by_its_number_where_there_are_several() -> None:
    found = servers.devices([OTHER, BOX])
    assert [(device.name, device.endpoint) for device in found] == [
        (f"{OTHER}/0", OTHER),
        (f"{OTHER}/1", OTHER),
        (BOX, BOX),
    ]
    assert [(device.free_bytes, device.total_bytes) for device in found] == [(1, 2), (3, 4), (5, 9)]


@pytest.mark.parametrize(
    ("here", "of_all_memory", "is_this_cpu"), [(True, 1, True), (True, 2, False), (False, 1, False)]
)
def test_a_server_here_with_all_of_this_machines_memory_computes_on_this_cpu(
    made: Made, monkeypatch: pytest.MonkeyPatch, here: bool, of_all_memory: int, is_this_cpu: bool
) -> None:
    monkeypatch.setattr(rpc, "is_here", lambda _: here)
    total = psutil.virtual_memory().total // of_all_memory
    made.offers[BOX] = [Offer(total, total)]
    assert [device.is_this_cpu for device in servers.devices([BOX])] == [is_this_cpu]


def test_a_server_in_use_here_is_asked_over_the_connection_there_is(made: Made) -> None:
    servers.begin_use([BOX])
    servers.begin_use([BOX])
    servers.end_use([BOX])
    try:
        assert [(device.free_bytes, device.total_bytes) for device in servers.devices([BOX])] == [(100, 200)]
        assert made.asked == []
    finally:
        servers.end_use([BOX])
    assert servers.devices([BOX])[0].free_bytes == 5
    assert made.asked == [BOX]


def test_without_rpc_in_the_build_the_command_that_adds_it_is_named(made: Made) -> None:
    made.has_rpc = False
    with pytest.raises(DeviceError) as caught:
        given(rpc=(BOX,))
    assert "llama-cpp-python was built without RPC" in str(caught.value)
    assert caught.value.exit_code == 3
    assert release.rpc_command(["CUDA", "CPU"]) in str(caught.value.hint)
    assert made.asked == []
    assert given() is None


@pytest.mark.parametrize(
    ("backends", "arguments"),
    [
        (["CPU"], "-DGGML_RPC=on"),
        (["CUDA", "CPU"], "-DGGML_CUDA=on -DGGML_RPC=on"),
        (["MTL", "BLAS", "CPU"], "-DGGML_METAL=on -DGGML_RPC=on"),
    ],
)
def test_a_rebuild_with_rpc_keeps_the_gpu_backends(backends: list[str], arguments: str) -> None:
    command = release.rpc_command(backends, "Linux")
    assert command.startswith(f'CMAKE_ARGS="{arguments}" pip install ')
    assert command.endswith(f'"llama-cpp-python=={release.RELEASE}"')


@pytest.mark.usefixtures("made")
def test_the_list_reaches_llama_cpp_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int | None]] = []

    def load(_path: bytes, params: Any) -> None:
        pointers = ctypes.cast(params.devices, ctypes.POINTER(ctypes.c_void_p))
        seen.append([pointers[0], pointers[1]] if params.devices else [])

    monkeypatch.setattr(binding.lib, "llama_model_load_from_file", load)
    for options in (EngineOptions(rpc=(BOX,), extra_buffers=False), EngineOptions(extra_buffers=False)):
        with pytest.raises(Exception, match="gives no reason"):
            loading.load_model(Path("x.gguf"), options, threading.Event(), None)
    assert seen == [[100, None], []]
