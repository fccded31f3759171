"""Which threshold sends which share of the steps to the large model, on one pair and one kind of task.

Knows entropies alone; runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Context

import msgspec
import numpy as np

from glimp_local.routing import threshold_for

SHARES = (0.05, 0.10, 0.20, 0.30, 0.50)
FEW = 100
"""From fewer entropies than this a threshold is a rough figure."""

_DRAWS = 1000
_ROUNDED = Context(prec=4, rounding=ROUND_CEILING)
"""Upwards: the entropy that a threshold was must not lie above it."""


class Cut(msgspec.Struct, frozen=True):
    """A share, and the threshold that gives it."""

    share: float
    threshold_nats: float
    low_nats: float | None
    """Lower end of the threshold's 95% interval; None where there is but one problem."""
    high_nats: float | None


def cuts(entropies_nats: Sequence[Sequence[float]], shares: Sequence[float] = SHARES) -> list[Cut]:
    """Find the threshold of each share, with a 95% interval from a bootstrap over the problems.

    `entropies_nats` has the entropies of each problem, in nats. Raises ValueError where there is none at all.
    """
    problems = [np.asarray(problem, dtype=np.float64) for problem in entropies_nats if len(problem)]
    if not problems:
        raise ValueError("nothing was glimpsed")
    rng = np.random.default_rng(0)
    draws = [
        np.sort(np.concatenate([problems[i] for i in rng.integers(0, len(problems), len(problems))])).tolist()
        for _ in range(_DRAWS)
    ]
    seen = np.sort(np.concatenate(problems)).tolist()
    found = []
    for share in shares:
        low, high = np.quantile([threshold_for(share, draw) for draw in draws], [0.025, 0.975])
        ends = (None, None) if len(problems) == 1 else (_rounded(low), _rounded(high))
        found.append(Cut(share, _rounded(threshold_for(share, seen)), *ends))
    return found


def _rounded(nats: float) -> float:
    return float(_ROUNDED.create_decimal_from_float(max(float(nats), 0.0)))
