"""The llama-cpp-python this package is written for, and the commands that compile it."""

import platform
from collections.abc import Collection
from typing import Literal

RELEASE = "0.3.36"
RPC_PROTOCOL = (7, 0, 0)
"""Of llama.cpp's RPC in this release (its ggml-rpc.h). The last number changes with ggml's operations, which go over
the wire as numbers."""

_PORTABLE = ("AVX_VNNI", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16")
"""Instructions that a build which is not for this very processor leaves out unless it is asked for them; without AMX,
whose kernels crash in some virtual machines."""

Backend = Literal["CUDA", "Vulkan", "Metal"]
_OPTIONS = {"CUDA": "CUDA", "ROCm": "HIP", "MUSA": "MUSA", "Vulkan": "VULKAN", "MTL": "METAL", "SYCL": "SYCL"}
"""CMake's words for backends that compute on a GPU, by ggml's own."""


def install_command() -> str:
    """Give the command that compiles llama-cpp-python as it comes."""
    return f'pip install --no-cache-dir --force-reinstall "llama-cpp-python=={RELEASE}"'


def rebuild_command(backend: Backend, system: str | None = None) -> str:
    """Give the command that compiles llama-cpp-python with a backend, for the shell of this system."""
    return _with(f"-DGGML_{backend.upper()}=on", system)


def rpc_command(backends: Collection[str], system: str | None = None) -> str:
    """Return the command that compiles llama-cpp-python with RPC, and with the GPU backends that it has now."""
    kept = [option for name, option in _OPTIONS.items() if name in backends]
    return _with(" ".join(f"-DGGML_{option}=on" for option in [*kept, "RPC"]), system)


def portable_command(features: str, system: str | None = None) -> str:
    """Return the command that compiles llama-cpp-python without the kernels that are for this very processor alone.

    `features` is what the present build says it was compiled with: what is sound of it stays.
    """
    found = {word.strip() for part in features.split("|") for word in part.split(":")}
    wanted = [f"-DGGML_{name}=ON" for name in _PORTABLE if f"{name} = 1" in found]
    return _with(" ".join(["-DGGML_NATIVE=OFF", *wanted]), system)


def _with(arguments: str, system: str | None) -> str:
    if (system or platform.system()) == "Windows":
        return f'$env:CMAKE_ARGS = "{arguments}"; {install_command()}'
    return f'CMAKE_ARGS="{arguments}" {install_command()}'
