"""What the system says of GPUs, CPUs and memory: /proc, /sys and nvidia-smi as other machines have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from glimp_local.hardware import Cpus, Gpu, Gpus, cpus, gpus, in_container, memory

Machine = Callable[[dict[str, str]], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Write the files of a machine; give its root."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / "root" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "root"

    return write


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Callable[[str], str]:
    """Write an nvidia-smi; give the folder to look for it."""

    def write(script: str) -> str:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return str(program.parent)

    return write


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    cpus.cache_clear()
    yield
    cpus.cache_clear()


def on_the_bus(slot: str, vendor: str, kind: str = "0x030000", **more: str) -> dict[str, str]:
    files = {"vendor": vendor, "class": kind, **more}
    return {f"sys/bus/pci/devices/0000:{slot}/{name}": f"{text}\n" for name, text in files.items()}


def test_the_driver_of_nvidia_names_its_gpus(machine: Machine, nvidia_smi: Callable[[str], str]) -> None:
    path = nvidia_smi("echo 'NVIDIA H100 80GB HBM3, 81559, 570.86.15'; echo 'NVIDIA GB10, [N/A], 570.86.15'")
    found = gpus(machine({"dev/nvidia0": "", **on_the_bus("01:00.0", "0x10de", "0x030200")}), path=path, system="Linux")
    assert found.found == [
        Gpu("NVIDIA", "NVIDIA H100 80GB HBM3", 81559 * 2**20, integrated=False),
        Gpu("NVIDIA", "NVIDIA GB10", None, integrated=True),
    ]
    assert (found.nvidia_driver, found.nvidia_error, found.nvidia_devices) == ("570.86.15", None, True)


def test_a_driver_that_does_not_work_is_quoted(machine: Machine, nvidia_smi: Callable[[str], str]) -> None:
    path = nvidia_smi("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    found = gpus(machine(on_the_bus("01:00.0", "0x10de")), path=path, system="Linux")
    assert found.found == [Gpu("NVIDIA", None, None, integrated=False)]
    assert found.nvidia_error == "Failed to initialize NVML: Driver/library version mismatch"
    assert found.nvidia_driver is None


def test_an_nvidia_smi_that_cannot_run_is_an_error_of_the_driver(tmp_path: Path, machine: Machine) -> None:
    broken = tmp_path / "bin" / "nvidia-smi"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    found = gpus(machine({}), path=str(broken.parent), system="Windows")
    assert found.nvidia_error
    assert found.found == [Gpu("NVIDIA", None, None, integrated=False)]
    # A Linux that has the driver and no GPU.
    assert gpus(machine(on_the_bus("06:00.0", "0x1af4")), path=str(broken.parent), system="Linux").found == []


def test_without_the_bus_the_driver_s_own_folder_names_the_gpu(machine: Machine) -> None:
    files = {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA A10\nIRQ:   16\n"}
    assert gpus(machine(files), path="", system="Linux").found == [Gpu("NVIDIA", "NVIDIA A10", None, integrated=False)]


def test_gpus_of_amd_and_intel_are_told_from_the_integrated_ones(machine: Machine) -> None:
    files = {
        **on_the_bus("00:02.0", "0x8086"),
        **on_the_bus("03:00.0", "0x8086"),
        **on_the_bus("04:00.0", "0x1002", product_name="Radeon RX 7900 XTX", mem_info_vram_total=str(24 * 2**30)),
        **on_the_bus("05:00.0", "0x1002", mem_info_vram_total=str(512 * 2**20)),
        **on_the_bus("06:00.0", "0x8086", kind="0x020000"),  # a network card
        **on_the_bus("07:00.0", "0x1af4"),  # a virtual machine's screen
    }
    assert gpus(machine(files), path="", system="Linux").found == [
        Gpu("Intel", None, None, integrated=True),
        Gpu("Intel", None, None, integrated=False),
        Gpu("AMD", "Radeon RX 7900 XTX", 24 * 2**30, integrated=False),
        Gpu("AMD", None, 512 * 2**20, integrated=True),
    ]


def test_a_mac_with_a_chip_of_apple_s_has_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert gpus(system="Darwin").found == [Gpu("Apple", None, None, integrated=True)]
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert gpus(system="Darwin").found == []


def test_a_machine_without_any_of_that_has_no_gpu(machine: Machine) -> None:
    found = gpus(machine({}), path="", system="Linux")
    assert found == Gpus([], None, None, nvidia_devices=False, render_devices=False)
    assert gpus(machine({"dev/dri/card0": ""}), path="", system="Linux").render_devices


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
        },
        # Inside a container with version 1: the path is the host's, the limit is at the top.
        {
            "proc/self/cgroup": "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_a_limit_of_the_control_group_is_found_in_both_versions(machine: Machine, files: dict[str, str]) -> None:
    found = cpus(machine(files))
    assert found.limit == 0.5
    assert found.threads == 1


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        {},
    ],
)
def test_without_a_limit_nothing_is_said_of_one(machine: Machine, files: dict[str, str]) -> None:
    root = machine(files)
    assert cpus(root).limit is None
    assert memory(root).limit_bytes is None


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/memory.max": "1000000\n", "sys/fs/cgroup/memory.max": "max"},
        {"proc/self/cgroup": "4:memory:/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n"},
    ],
)
def test_a_limit_of_memory_is_found(machine: Machine, files: dict[str, str]) -> None:
    found = memory(machine(files))
    assert found.limit_bytes == 1_000_000
    assert found.total_bytes == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("found", "threads"),
    [
        (Cpus(8, 16, 16, None), 8),
        (Cpus(8, 16, 3, None), 3),
        (Cpus(8, 16, 16, 2.5), 2),
        (Cpus(8, 16, 16, 0.2), 1),
        (Cpus(8, 16, 4, 6.0), 4),
    ],
)
def test_glimp_takes_no_thread_that_has_to_wait_for_a_core(found: Cpus, threads: int) -> None:
    assert found.threads == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")
def test_a_process_that_may_run_on_one_core_takes_one_thread() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert (cpus().allowed, cpus().threads) == (1, 1)
    finally:
        os.sched_setaffinity(0, before)


def test_a_container_is_told_by_its_marks(machine: Machine) -> None:
    assert not in_container(machine({}))
    assert in_container(machine({"run/.containerenv": ""}))
