"""What is made once and read by every worker of a parallel run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Have the first worker that wants it make a folder; return it. Nobody may write into it afterwards."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker's own folder lies in the one of the run
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not folder.exists():
            partial = base / f"{name}.partial"
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder
