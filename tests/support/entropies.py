"""The entropies that the tests find stored for a pair."""

from __future__ import annotations

from pathlib import Path

from glimp_local.models.identity import identity
from glimp_local.records.entropies import EntropyHistory


def history_of(small: Path, large: Path, *, task: str = "") -> EntropyHistory:
    """Return the history of the pair of two files, as `Pair.entropies` does."""
    return EntropyHistory(identity(small), identity(large), task=task, files=[small, large])
