"""What this machine has: GPUs, CPUs that may be used, memory.

All but `Device` is asked of the system and not of llama.cpp: where the two disagree, that is what there is to say.
`root` is where /proc, /sys and /dev are looked for. Nothing here raises for what a system does not have.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import psutil

if sys.platform != "win32":
    import resource

Maker = Literal["NVIDIA", "AMD", "Intel", "Apple"]

_ROOT = Path("/")
_MAKERS: dict[str, Maker] = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_DISPLAY = "0x03"
"""PCI class of what draws or computes pictures."""
_INTEGRATED_INTEL = ":00:02.0"
"""Where on the PCI bus Intel's integrated GPUs are, always."""
_CARVED_BYTES = 4 * 2**30
"""An integrated AMD GPU has no more memory of its own than is carved out of the machine's for it."""
_WSL = Path("usr/lib/wsl/lib")
_SECONDS = 20
"""The driver may have to wake a GPU up first."""
_WORDS = 300
_UNLIMITED = 2**60
"""Version 1 of control groups knows no "max": without a limit it says about 2**63."""


DeviceKind = Literal["CPU", "GPU", "integrated GPU", "accelerator"]


class Device(msgspec.Struct, frozen=True):
    """What llama.cpp can compute on."""

    name: str
    """llama.cpp's own name for it, like "CUDA0"."""
    description: str
    """The maker's name for it."""
    kind: DeviceKind
    """An integrated GPU shares the memory of the CPU; an accelerator works inside the CPU's backend."""
    total_bytes: int
    free_bytes: int
    """Free now; 0 where the backend does not know."""

    @property
    def is_gpu(self) -> bool:
        """Can layers be offloaded to it?"""
        return self.kind in {"GPU", "integrated GPU"}


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as the system or its driver sees it."""

    maker: Maker
    name: str | None
    """None where only the driver would know."""
    total_bytes: int | None
    """Memory of its own."""
    integrated: bool
    """It shares the machine's memory."""


class Gpus(msgspec.Struct, frozen=True):
    """The GPUs of this machine, and what NVIDIA's driver has to say."""

    found: list[Gpu]
    nvidia_driver: str | None
    """Its version; None where it is not there, or does not answer."""
    nvidia_error: str | None
    """What nvidia-smi says instead of naming GPUs."""
    nvidia_devices: bool
    """Are NVIDIA's device files (or WSL's) here? A container may see a GPU that it was not given."""
    render_devices: bool
    """The same of the other makers' GPUs."""


class Cpus(msgspec.Struct, frozen=True):
    """The cores there are, and the part of them that this process may use."""

    physical: int
    logical: int
    allowed: int
    """Logical cores that this process may run on."""
    limit: float | None
    """Cores' worth of time that the control group, of a container for example, may spend."""

    @property
    def threads(self) -> int:
        """Threads to compute with: one a physical core, and none that would have to wait for a core."""
        usable = min(self.physical, self.allowed)
        return max(1, usable if self.limit is None else min(usable, math.floor(self.limit)))


class Memory(msgspec.Struct, frozen=True):
    """The machine's memory, in bytes."""

    total_bytes: int
    available_bytes: int
    """What can be taken without swapping."""
    swap_total_bytes: int
    swap_free_bytes: int
    limit_bytes: int | None
    """What the control group, of a container for example, may take; None where nothing limits it."""
    free_bytes: int
    """What this process can take: what is available, and no more than its control group has left."""


def in_container(root: Path = _ROOT) -> bool:
    """Is this a container, which has only the devices that it was given?"""
    return any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))


def processor(root: Path = _ROOT) -> str:
    """Give the processor's name, or its kind where the system knows no name."""
    lines = _read(root / "proc/cpuinfo").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def instructions(root: Path = _ROOT) -> str:
    """Return the instructions that the system says the first processor has; empty if it does not say."""
    with suppress(OSError), (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


@functools.cache
def cpus(root: Path = _ROOT) -> Cpus:
    """Count the cores, and those that this process may use."""
    logical = psutil.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return Cpus(
        physical=psutil.cpu_count(logical=False) or logical,
        logical=logical,
        allowed=len(affinity(0)) if affinity else logical,
        limit=min(quotas, default=None),
    )


def free_core_seconds() -> float | None:
    """Count the seconds that cores have been idle, added up over those this process may run on.

    A core that waits for a disk is idle. None if the system keeps no such account.
    """
    if cpus().allowed < cpus().logical:
        times = psutil.cpu_times(percpu=True)
        counted = [times[number] for number in os.sched_getaffinity(0) if number < len(times)]
    else:
        counted = [psutil.cpu_times()]
    seconds = sum(found.idle + getattr(found, "iowait", 0.0) for found in counted)
    return seconds or None


def memory(root: Path = _ROOT) -> Memory:
    """Say how much memory there is and how much of it is free now."""
    virtual, swap = psutil.virtual_memory(), psutil.swap_memory()
    limits, left = [], [virtual.available]
    if (most_addresses := address_space_limit()) is not None:
        left.append(max(0, most_addresses - psutil.Process().memory_info().vms))
    for folder in _groups(root, "memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, taken = (_read(folder / name) for name in (limit, used))
            if most.isdecimal() and int(most) < min(_UNLIMITED, virtual.total):
                limits.append(int(most))
                left += [max(0, int(most) - int(taken) + _file_pages(folder))] if taken.isdecimal() else []
    return Memory(virtual.total, virtual.available, swap.total, swap.free, min(limits, default=None), min(left))


def address_space_limit() -> int | None:
    """Return how many bytes of addresses this process may have (`ulimit -v`); None if it is not limited."""
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _file_pages(folder: Path) -> int:
    """Count what a control group holds of files: it is given up where memory is wanted."""
    found = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
    return sum(int(found.get(f"{kind}_file", "0")) for kind in ("active", "inactive"))


def _quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Give the folders of this process's control group and of those around it: the limits of each hold.

    In a container the path may be the host's, of which only the upper folders are there.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controllers and controller)  # the version 2 has one tree for all
        group = top / path.strip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def gpus(root: Path = _ROOT, *, path: str | None = None, system: str | None = None) -> Gpus:
    """Find the GPUs of this machine; on Windows only NVIDIA's.

    `path` is where nvidia-smi is looked for (PATH by default), `system` is what `platform.system` says.
    """
    system = system or platform.system()
    if system == "Darwin":
        chip = platform.machine() == "arm64"
        found = [Gpu("Apple", None, None, integrated=True)] if chip else []
        return Gpus(found, None, None, nvidia_devices=False, render_devices=False)
    named, driver, error = _ask_nvidia(root, path)
    on_the_bus = [*_on_the_bus(root)]
    nvidia = named or [gpu for gpu in on_the_bus if gpu.maker == "NVIDIA"] or _of_the_driver(root)
    if error is not None and not nvidia and _hides_gpus(root):
        nvidia = [Gpu("NVIDIA", None, None, integrated=False)]
    return Gpus(
        [*nvidia, *(gpu for gpu in on_the_bus if gpu.maker != "NVIDIA")],
        driver,
        error,
        nvidia_devices=any((root / "dev" / name).exists() for name in ("nvidiactl", "nvidia0", "dxg")),
        render_devices=any((root / "dev" / name).exists() for name in ("dri", "kfd", "dxg")),
    )


def _ask_nvidia(root: Path, path: str | None) -> tuple[list[Gpu], str | None, str | None]:
    """Give the GPUs that nvidia-smi names, the driver's version, and what it says where it names none."""
    program = shutil.which("nvidia-smi", path=path) or shutil.which("nvidia-smi", path=str(root / _WSL))
    if program is None:
        return [], None, None
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - fixed
    except subprocess.TimeoutExpired:
        return [], None, f"no answer in {_SECONDS} seconds"
    except OSError as error:
        return [], None, str(error.strerror)
    rows = [row.split(", ") for row in done.stdout.splitlines()]
    if done.returncode or not all(len(row) == len(("name", "memory", "driver")) for row in rows):
        return [], None, " ".join(f"{done.stdout} {done.stderr}".split())[:_WORDS] or f"exit code {done.returncode}"
    if not rows:
        return [], None, None
    # A GPU that shares the machine's memory says [N/A].
    named = [
        Gpu("NVIDIA", name, int(mib) * 2**20 if mib.isdecimal() else None, integrated=mib == "[N/A]")
        for name, mib, _ in rows
    ]
    return named, rows[0][2], None


def _on_the_bus(root: Path) -> Iterator[Gpu]:
    """Give the GPUs on the PCI bus: there with or without a driver."""
    for device in _listed(root / "sys/bus/pci/devices"):
        maker = _MAKERS.get(_read(device / "vendor"))
        if maker is None or not _read(device / "class").startswith(_DISPLAY):
            continue
        memory_ = _read(device / "mem_info_vram_total")  # AMD's driver says so
        total = int(memory_) if memory_.isdecimal() else None
        integrated = device.name.endswith(_INTEGRATED_INTEL) if maker == "Intel" else False
        if maker == "AMD":
            integrated = total is not None and total <= _CARVED_BYTES
        yield Gpu(maker, _read(device / "product_name") or None, total, integrated=integrated)


def _hides_gpus(root: Path) -> bool:
    """Say whether only nvidia-smi knows of NVIDIA's GPUs: on Windows it does, and in its Linux."""
    return not (root / "sys/bus/pci/devices").exists() or (root / "dev/dxg").exists()


def _of_the_driver(root: Path) -> list[Gpu]:
    """Give the GPUs that NVIDIA's driver lists: a container may see them without seeing the bus."""
    texts = [_read(folder / "information") for folder in _listed(root / "proc/driver/nvidia/gpus")]
    names = [line.partition(":")[2].strip() for text in texts for line in text.splitlines() if line.startswith("Model")]
    return [Gpu("NVIDIA", name, None, integrated=False) for name in names]


def _listed(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(file: Path) -> str:
    """Read one of the kernel's small files; empty where it is not there, or not for us."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
