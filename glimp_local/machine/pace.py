"""How fast a pair would write on a machine, roughly, before anything of it is downloaded.

To write a token a model reads all weights that work on it once, so the memory's bandwidth decides. What is assumed of
it is on the careful side; whether a pair is worth its download needs no more than the order of magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping

from glimp_local.machine.plan import CPU, Part, Plan
from glimp_local.machine.planning import USUAL_SHARE
from glimp_local.machine.survey import Machine
from glimp_local.models.footprint import Footprint
from glimp_local.routing import Model

_CORE_BYTES, _CPU_BYTES = 10e9, 25e9
"""Bytes a second that one core reads, and all cores of a laptop together. Two cores of an EPYC read 29e9
(docs/benchmarks.md, the model of 1.5B parameters)."""
_SHARED_GPU_BYTES, _GPU_BYTES = 50e9, 200e9
"""The same of a GPU that shares the CPU's memory, and of one with memory of its own."""


def tokens_per_second(plan: Plan, footprints: Mapping[Model, Footprint], machine: Machine) -> float:
    """Estimate the speed of a routed run whose large model writes a quarter of the tokens, or that of a model alone."""
    shares: dict[Model, float] = {"small": 1 - USUAL_SHARE, "large": USUAL_SHARE}
    if len(footprints) < len(shares):
        shares = dict.fromkeys(footprints, 1.0)
    speeds = {gpu.name: _SHARED_GPU_BYTES if gpu.shares_memory else _GPU_BYTES for gpu in machine.gpus}
    speeds[CPU] = min(machine.cores * _CORE_BYTES, _CPU_BYTES)
    seconds = sum(
        shares[part.model] * _read_bytes(part, footprints[part.model]) / speeds[part.device] for part in plan.parts
    )
    return 1 / seconds


def _read_bytes(part: Part, footprint: Footprint) -> float:
    """Return how many bytes of a part are read for a token."""
    if not part.layers:  # nothing but the table of embeddings, of which one row is read
        return 0.0
    return part.weights_bytes * (1 - footprint.idle_bytes / footprint.weights_bytes)
