"""Python processes of our own beside this one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def command(module: str) -> list[str]:
    """Return the command that runs a module of this package in a process of its own."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """Return the environment for it.

    It finds packages where this process does, however this one was started, and nothing else in the working directory.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}


def ending(code: int) -> str:
    """Describe how a process ended, from its exit code."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the code {code:#x}"
