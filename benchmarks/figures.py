"""Medians, and ratios of what was measured in turns, as they stand in the tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np


def median(values: Sequence[float]) -> str:
    """Spell a median with three digits that count."""
    return number(statistics.median(values))


def number(value: float) -> str:
    """Spell a number with three digits that count, or as a whole number."""
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{digits}f}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Spell the median of the ratios of two series, round by round, and their middle half."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    low, high = np.quantile(ratios, [0.25, 0.75])
    return f"{statistics.median(ratios):.3f} ({low:.3f}-{high:.3f})"
