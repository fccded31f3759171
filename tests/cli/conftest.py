"""A problem in a file, for the commands that read one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import QUESTION


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    path = tmp_path / "problem.txt"
    path.write_text(QUESTION + "\n")
    return path
