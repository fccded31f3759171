"""What `glimp plan` counts against what llama.cpp really takes, for each model at hand."""

from __future__ import annotations

from pathlib import Path

from benchmarks.apart import ask
from benchmarks.document import table
from benchmarks.setup import Setup
from benchmarks.taken import BUILTIN, Load, Taken
from glimp_local.models.footprint import CacheType, footprint
from glimp_local.models.gguf.header import read_header

HEADING = "The memory plan against what is taken"

_SHORTEST = 256
_CACHES: tuple[CacheType, ...] = ("f16", "q8_0", "q4_0")


def measure(setup: Setup) -> list[str]:
    """Load each model alone, with three contexts and cache types, in a process of its own each time."""
    builtin = [BUILTIN / "small.gguf", BUILTIN / "large.gguf"]
    files = [path for path in (*builtin, setup.small, setup.large, setup.shared_small, setup.shared_large) if path]
    rows: list[list[str]] = []
    allocated: list[tuple[float, str]] = []
    resident: list[tuple[float, str]] = []
    for path in (path for path in files if path.exists()):
        model = footprint(read_header(path))
        for context in _contexts(model.trained_context):
            for cache in _CACHES if model.roundable else _CACHES[:1]:
                taken = ask("benchmarks.taken", Load(path, context, cache), Taken)
                rows.append(_row(path, cache, taken))
                where = f"{path.stem}, {context:,} tokens, {cache}"
                allocated.append((_allocated(taken), where))
                resident.append((_resident(taken), f"{where}: {_planned(taken) - taken.resident_bytes:+,} bytes"))
    about = (
        "MiB of a model alone on the CPU. `planned` is what the plan counts, without the pages of the file that nobody "
        "needs any more; `+ copies` are those: weights in the file's order that llama.cpp keeps in another one. Both "
        "together are compared with the sum of llama.cpp's own log lines (it tells nothing of the tokeniser's tables, "
        "which are left out of the plan there) and with the growth of the process; of a model of a few megabytes so "
        "many are loaded at once that what Python takes meanwhile does not count."
    )
    columns = (
        "model",
        "context",
        "cache type",
        "planned",
        "+ copies",
        "llama.cpp says",
        "plan / that",
        "process grew",
        "plan / that",
    )
    farthest = (
        f"Farthest from 1: {_farthest(allocated)} against llama.cpp's own lines, {_farthest(resident)} against the "
        "growth of the process."
    )
    return [table(columns, rows), farthest, about]


def _contexts(trained: int) -> list[int]:
    """Choose three contexts: the longest up to 16,384 tokens, a half and an eighth of it; fewer for a short one."""
    longest = min(trained, 16384)
    return sorted({max(longest // parts, min(_SHORTEST, longest)) for parts in (8, 2, 1)})


def _allocated(taken: Taken) -> float:
    return (_planned(taken) - taken.planned.other_bytes) / taken.allocated_bytes


def _resident(taken: Taken) -> float:
    return _planned(taken) / taken.resident_bytes


def _planned(taken: Taken) -> int:
    return taken.planned.total_bytes + taken.second_copy_bytes


def _farthest(ratios: list[tuple[float, str]]) -> str:
    ratio, where = max(ratios, key=lambda found: abs(found[0] - 1))
    return f"{ratio:.3f} ({where})"


def _row(path: Path, cache: CacheType, taken: Taken) -> list[str]:
    sizes = (taken.planned.total_bytes, taken.second_copy_bytes, taken.allocated_bytes, taken.resident_bytes)
    planned, copies, allocated, resident = (f"{size / 2**20:,.1f}" for size in sizes)
    return [
        path.stem,
        f"{taken.context:,}",
        cache,
        planned,
        copies,
        allocated,
        f"{_allocated(taken):.3f}",
        resident,
        f"{_resident(taken):.3f}",
    ]
