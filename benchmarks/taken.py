"""A process of its own that loads one model, and prints what it took: `python -m benchmarks.taken`.

What is planned is planned here, too, by the same code and with the same memory free.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import psutil

import glimp_local
from benchmarks.apart import asked_for, tell
from benchmarks.resident import Buffers
from glimp_local.engines.llama.engine import Engine
from glimp_local.machine.plan import Part
from glimp_local.machine.planning import make_plan, resolved
from glimp_local.machine.survey import survey
from glimp_local.models.footprint import CacheType, footprint
from glimp_local.models.gguf.header import read_header
from glimp_local.settings import MAX_DRAFT, EngineOptions, ModelSource, PairConfig

BUILTIN = Path(glimp_local.__file__).parent / "builtin"


_COPIES, _TINY_BYTES = 16, 64_000_000


class Load(msgspec.Struct, frozen=True):
    """What the process is to load: one JSON object on its standard input."""

    path: Path
    context: int
    cache_type: CacheType


class Taken(msgspec.Struct, frozen=True):
    """What it printed, in bytes."""

    planned: Part
    """Of the CPU."""
    context: int
    second_copy_bytes: int
    """Pages of the file that stay in the figure beside weights in another order, though nobody needs them any more."""
    allocated_bytes: int
    """What llama.cpp says it allocated: weights, cache, buffers of the computation and of the outputs."""
    resident_bytes: int
    """By how much the process grew from before loading to after one whole batch, and one with drafts."""


def main() -> None:
    """Load what is asked for and print what it took."""
    asked = asked_for(Load)
    options = EngineOptions(gpu_layers=0, cache_type=asked.cache_type)
    config = PairConfig(large=ModelSource(path=str(asked.path), options=options), policy="large", context=asked.context)
    model = footprint(read_header(asked.path))
    plan = make_plan({"large": model}, config, survey())
    (part,) = plan.parts
    buffers, log = Buffers(), logging.getLogger("glimp_local.llama")
    log.setLevel(logging.DEBUG)
    log.addHandler(buffers)
    process = psutil.Process()
    # What the first model of a process takes once and for all (code, threads) is no model's.
    Engine(BUILTIN / "small.gguf", options, context=256).close()
    buffers.bytes.clear()
    before = process.memory_info().rss
    chosen = plan.models["large"]
    # One tiny model is lost in what Python itself takes and gives back meanwhile: several are told apart from that.
    copies = _COPIES if asked.path.stat().st_size < _TINY_BYTES else 1
    with ExitStack() as stack:
        for _ in range(copies):
            engine = stack.enter_context(closing(Engine(asked.path, resolved(options, chosen), context=chosen.context)))
            engine.feed([0] * min(engine.batch_size, engine.context - MAX_DRAFT - 1))
            engine.decode(0, [0] * MAX_DRAFT if engine.keeps_past else [])
        taken = Taken(
            planned=part,
            context=engine.context,
            second_copy_bytes=model.weights_bytes - part.mapped_bytes if part.mapped_bytes else 0,
            allocated_bytes=sum(buffers.bytes.values()) // copies,
            resident_bytes=(process.memory_info().rss - before) // copies,
        )
    tell(taken)


if __name__ == "__main__":
    main()
