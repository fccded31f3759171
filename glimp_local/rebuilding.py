"""The llama-cpp-python this package is written for, and the commands that compile it."""

import platform
from typing import Literal

RELEASE = "0.3.36"

Backend = Literal["CUDA", "Vulkan", "Metal"]


def install_command() -> str:
    """Give the command that compiles llama-cpp-python as it comes."""
    return f'pip install --no-cache-dir --force-reinstall "llama-cpp-python=={RELEASE}"'


def rebuild_command(backend: Backend, system: str | None = None) -> str:
    """Give the command that compiles llama-cpp-python with a backend, for the shell of this system."""
    arguments = f"-DGGML_{backend.upper()}=on"
    if (system or platform.system()) == "Windows":
        return f'$env:CMAKE_ARGS = "{arguments}"; {install_command()}'
    return f'CMAKE_ARGS="{arguments}" {install_command()}'
