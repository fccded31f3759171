"""The machine a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import llama_cpp
import psutil

from glimp_local import __version__


def describe() -> str:
    """Name the machine and the versions in one line."""
    return (
        f"{_processor()}, {psutil.cpu_count(logical=False)} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; "
        f"{platform.system()}; Python {platform.python_version()}; llama-cpp-python {llama_cpp.__version__}; "
        f"glimp-local {__version__}; load before the run {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()
