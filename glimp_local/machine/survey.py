"""The machine glimp runs on: its name for a figure, and the memory of its devices. Knows nothing of models."""

from __future__ import annotations

import platform
import re

import msgspec
import psutil

from glimp_local import __version__, hardware
from glimp_local.engines.llama import proof
from glimp_local.engines.llama.release import RELEASE
from glimp_local.hardware import processor
from glimp_local.settings import PairConfig

# llama.cpp takes a moment to load, and what only reads files does without: it is imported where it is asked.

_REPACKED = {
    "AVX2": ("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"),
    "AVX512": ("Q2_K",),
    "AMX_INT8": ("Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"),
    "MATMUL_INT8": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q1_0"),
    "DOTPROD": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q1_0", "IQ4_NL", "MXFP4"),
}
"""Number types of which llama.cpp keeps the matrices in an order of its own, by feature of the processor (its
ggml-cpu/repack.cpp and amx/amx.cpp)."""


class Gpu(msgspec.Struct, frozen=True):
    """A GPU llama.cpp can offload to, or a device of an RPC server."""

    name: str
    """llama.cpp's own name for it, like "CUDA0", or the server's address."""
    free_bytes: int
    shares_memory: bool = False
    """Is its memory the CPU's?"""
    server: str | None = None
    """The RPC server it belongs to: it is there only for models that name this one."""
    total_bytes: int | None = None
    """Of a server's device."""


class Machine(msgspec.Struct, frozen=True):
    """What there is to put models into."""

    free_bytes: int
    """Memory of the CPU that can be taken: free, or holding nothing but copies of files."""
    gpus: tuple[Gpu, ...] = ()
    repacked: frozenset[str] = frozenset()
    """Number types of which llama.cpp keeps the CPU's matrices in an order of its own."""
    cores: int = 4
    """Those that a model computes on."""


def survey() -> Machine:
    """Look at the memory that is free now."""
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - as said above

    gpus = binding.offload_devices()
    unified = platform.system() == "Darwin" and platform.machine() == "arm64"
    return Machine(
        free_bytes=hardware.memory().free_bytes,
        gpus=tuple(Gpu(device.name, device.free_bytes, device.kind == "integrated GPU" or unified) for device in gpus),
        repacked=repacked(),
        cores=hardware.cpus().threads,
    )


def with_servers(machine: Machine, config: PairConfig) -> Machine:
    """Return a machine with the devices of the RPC servers that a pair's models name, as they are now.

    Raises DeviceError where a server cannot be used, and BindingError.
    """
    named = [server for model in config.models for server in config.options(model).servers]
    if not named:
        return machine
    from glimp_local.engines.llama import servers  # noqa: PLC0415 - as said above

    remote = tuple(
        Gpu(
            device.name,
            min(device.free_bytes, machine.free_bytes) if device.is_this_cpu else device.free_bytes,
            device.is_this_cpu,
            device.endpoint,
            device.total_bytes,
        )
        for device in servers.devices(list(dict.fromkeys(named)))
    )
    return msgspec.structs.replace(machine, gpus=(*machine.gpus, *remote))


def repacked() -> frozenset[str]:
    """Name the number types of which llama.cpp keeps matrices in an order of its own on this processor."""
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - as said above

    choice = proof.chosen()
    if choice is not None and not choice.extra_buffers:
        return frozenset()
    features = set(re.findall(r"(\w+) = 1\b", binding.system_info()))
    if "REPACK" not in features:
        return frozenset()
    return frozenset(type_ for feature, types in _REPACKED.items() if feature in features for type_ in types)


def describe() -> str:
    """Name the machine and the versions in one line, which a bench compares when it is continued.

    Its memory is rounded to whole GiB: what a kernel takes of it for itself differs a little from start to start.
    """
    return (
        f"{processor()}, {psutil.cpu_count(logical=False)} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; "
        f"{platform.system()}; Python {platform.python_version()}; llama-cpp-python {RELEASE}; "
        f"glimp-local {__version__}"
    )


def describe_with_load() -> str:
    """Name the machine, the versions, and what else it has to do now."""
    return f"{describe()}; load before the run {psutil.getloadavg()[0]:.1f}"


def cores() -> tuple[int, int]:
    """Count the physical and the logical cores."""
    logical = psutil.cpu_count() or 1
    return psutil.cpu_count(logical=False) or logical, logical
