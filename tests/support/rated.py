"""Rates of a made-up machine, so that no test depends on how fast this one is."""

from __future__ import annotations

import pytest

from glimp_local.engines.llama.rates import HELD_SIZES, SIZES, Rate, Rates, Request

BYTES_PER_SECOND = 25e9
"""Of weights, with one token at a time. Each further token costs an eighth of the first."""
COSTS = {size: 1 + (size - 1) / 8 for size in SIZES}
RATE = Rate(
    narrow_seconds={size: cost / BYTES_PER_SECOND for size, cost in COSTS.items()},
    wide_seconds={size: cost / BYTES_PER_SECOND for size, cost in COSTS.items()},
    cell_seconds={size: 2e-10 * size for size in HELD_SIZES},
)


def make_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing measured."""

    def measured(_: Rates, request: Request) -> dict[str, Rate]:
        return dict.fromkeys(request.names, RATE)

    monkeypatch.setattr(Rates, "_measure", measured)
