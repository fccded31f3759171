"""Memory that may be taken beside a loaded pair, for what its models have read of conversations."""

from __future__ import annotations

from typing import Literal

from glimp_local import hardware, units
from glimp_local.machine.plan import CPU, Plan

_USUAL_BYTES = 2 * 10**9
_USUAL_PART = 0.25
"""Of what is free, at most."""
_MOST_PART = 0.9
"""The same where a size is asked for: the machine does other things, too."""


def for_conversations(
    asked_gb: Literal["auto"] | float, plan: Plan | None, free_bytes: int | None = None
) -> tuple[int, str | None]:
    """Return how many bytes to take of what is free now, and a remark where that is less than was asked for.

    `plan` is the loaded pair's: the pages of its files count as free to the system, and are needed.
    """
    free = hardware.memory().free_bytes if free_bytes is None else free_bytes
    if plan is not None:
        free = max(0, free - sum(part.mapped_bytes for part in plan.parts if part.device == CPU))
    if asked_gb == "auto":
        return min(_USUAL_BYTES, int(_USUAL_PART * free)), None
    asked, most = asked_gb * 1e9, int(_MOST_PART * free)
    if asked <= most:
        return int(asked), None
    return most, (
        f"{asked_gb:g} GB were to keep what is read of other conversations (--cache-ram), but there is room for "
        f"{units.memory_size(most)}: that is taken"
    )
