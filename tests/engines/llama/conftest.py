"""An engine with a small context and small batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local.engines.llama.engine import Engine
from glimp_local.settings import EngineOptions


@pytest.fixture
def engine(tiny: Path) -> Iterator[Engine]:
    engine = Engine(tiny / "attention.gguf", EngineOptions(batch=32), context=256)
    yield engine
    engine.close()
