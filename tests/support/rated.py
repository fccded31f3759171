"""Rates of a made-up machine, so that no test depends on how fast this one is."""

from __future__ import annotations

from functools import cache

import pytest

from glimp_local.engines.llama import proof
from glimp_local.engines.llama.rates import HELD_SIZES, KEPT, SIZES, Rate, Rates, Request
from glimp_local.hardware import cpus
from glimp_local.models.identity import identity
from glimp_local.paths import BUILTIN_FOLDER

BYTES_PER_SECOND = 25e9
"""Of weights, with one token at a time. Each further token costs an eighth of the first."""
COSTS = {size: 1 + (size - 1) / 8 for size in SIZES}
RATE = Rate(
    narrow_seconds={size: cost / BYTES_PER_SECOND for size, cost in COSTS.items()},
    wide_seconds={size: cost / BYTES_PER_SECOND for size, cost in COSTS.items()},
    cell_seconds={size: 2e-10 * size for size in HELD_SIZES},
)


def make_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing measured here; and in other processes, nothing that the listed pairs need."""

    def measured(_: Rates, request: Request) -> dict[str, Rate]:
        return dict.fromkeys(request.names, RATE)

    monkeypatch.setattr(Rates, "_measure", measured)
    KEPT.keep(proof.machine_key(), _devices())


@cache
def _devices() -> dict[str, dict[str, Rate]]:
    types = ["F16", "F32", "Q4_K", "Q6_K", "Q8_0"]
    known = dict.fromkeys([*types, *(identity(BUILTIN_FOLDER / f"{model}.gguf") for model in ("small", "large"))], RATE)
    return {f"CPU, {threads} threads": known for threads in (1, cpus().threads)}
