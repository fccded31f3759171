"""How the catalogue's pairs would go into machines people own: planned from what is known of the files."""

from __future__ import annotations

from benchmarks.document import table
from benchmarks.setup import Setup
from glimp_local.machine.choice import plan_of
from glimp_local.machine.plan import CPU, Plan
from glimp_local.machine.survey import Gpu, Machine, repacked
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import packaged_file
from glimp_local.settings import PairConfig

HEADING = "The catalogue's pairs on machines of 8, 16 and 24 GB"

_GB = 2**30
_MEMORY, _GPU = (8, 16, 24), (0, 8, 16, 24)
_SYSTEM = 1.5 * _GB
"""What the system and a browser leave nobody."""
_DISPLAY = 0.5 * _GB
"""What a screen takes of a GPU."""


def measure(setup: Setup) -> list[str]:  # noqa: ARG001 - a section is given the setup
    """Plan each pair for each machine; nothing is loaded."""
    pairs = {name: pair for name, pair in load_catalogue(packaged_file()).pairs.items() if pair.only is None}
    rows = [
        [name, f"{memory} GB", f"{gpu} GB" if gpu else "none", *_cells(pair, memory, gpu)]
        for name, pair in pairs.items()
        for memory in _MEMORY
        for gpu in _GPU
    ]
    about = (
        f"Of the memory {_SYSTEM / _GB:g} GB are taken for the system, of a GPU {_DISPLAY / _GB:g}. `layers` are those "
        "of the small and of the large model on the GPU. With `disk` weights are read from the disk again and again, "
        "which is very slow; with `no` the pair cannot be loaded."
    )
    columns = ("pair", "memory", "GPU", "fits", "layers", "context", "cache", "GiB on the CPU", "GiB on the GPU")
    return [table(columns, rows), about]


def _cells(pair: PairConfig, memory: int, gpu: int) -> list[str]:
    gpus = (Gpu("GPU", int(gpu * _GB - _DISPLAY)),) if gpu else ()
    plan = plan_of(pair, Machine(int(memory * _GB - _SYSTEM), gpus, repacked()))
    assert plan is not None  # every file of the catalogue is known
    small, large = plan.models["small"], plan.models["large"]
    layers = f"{small.gpu_layers}/{small.layers}, {large.gpu_layers}/{large.layers}" if gpu else ""
    fits = "yes" if plan.fits else "disk" if plan.runs else "no"
    return [fits, layers, f"{large.context:,}", large.cache_type, _taken(plan, CPU), _taken(plan, "GPU") if gpu else ""]


def _taken(plan: Plan, device: str) -> str:
    (room,) = (room for room in plan.rooms if room.device == device)
    return f"{room.needed_bytes / _GB:.1f} of {room.free_bytes / _GB:.1f}"
