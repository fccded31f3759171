"""What a model's batches cost, from one run to the next: a file in the data folder.

Costs depend on the model, the build of llama.cpp, the machine, the devices of the layers and the number of threads; if
one of these changes, they are measured again. The file is only a convenience: errors in reading or writing it are
ignored.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from glimp_local.engines.llama import proof
from glimp_local.engines.llama.costs import LARGEST, Costs
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.findings import Findings

_DIGITS = 4
"""Of a number of seconds."""


_costs = Findings[dict[int, float]]("costs.json", "costs", dict[int, float], most=64)
"""By key, seconds by the number of tokens in a batch."""


def read(engine: Engine) -> Costs:
    """Return what is known of an engine's batches, which may be nothing."""
    try:
        known = _costs.read().get(_key(engine), {})
    except OSError:  # the model's file is gone
        known = {}
    return Costs({tokens: cost for tokens, cost in known.items() if 1 <= tokens <= LARGEST and cost > 0})


def keep(engine: Engine) -> None:
    """Keep what an engine's batches cost, if anything was measured."""
    measured = engine.costs.all_known
    if not measured:
        return
    with suppress(OSError):
        rounded = {tokens: float(f"{cost:.{_DIGITS}g}") for tokens, cost in measured.items()}
        _costs.keep(_key(engine), rounded)


def _key(engine: Engine) -> str:
    """Hash what the costs depend on; raises OSError."""
    placement, options = engine.placement, engine.options
    parts = [engine.identity, proof.machine_key(), placement.where, options.flash_attention, options.cache_type]
    return hashlib.sha256("\n".join([*parts, str(options.extra_buffers)]).encode()).hexdigest()
