"""The machine a figure was measured on. Knows nothing of models."""

from __future__ import annotations

import platform

import psutil

from glimp_local import __version__
from glimp_local.engine.binding import RELEASE
from glimp_local.hardware import processor


def describe() -> str:
    """Name the machine and the versions in one line."""
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
