"""One model on a machine that has other things to do: threads that adapt, threads that do not, and llama-bench."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter

import msgspec

from benchmarks.document import table
from benchmarks.figures import median, ratio
from benchmarks.llama_cpp import LlamaBench, find
from benchmarks.setup import Setup
from glimp_local.engines.llama.engine import Engine
from glimp_local.hardware import cpus
from glimp_local.settings import EngineOptions

HEADING = "Busy: one model beside other work"

_SECONDS = 3.0
"""A measurement of ours takes this long, or a little longer: a batch is not cut."""
_SETTLING_SECONDS = 1.5
"""Passes of each party before it is measured, as llama-bench has its warm-up."""
_STARTING_SECONDS = 1.0
"""A neighbour has this long to get going."""
_DEPTH = 128
_BENCH_TOKENS = 16
"""That llama-bench writes: it cannot be told for how long."""
_SPINNING = (sys.executable, "-c", "while True: pass")

_AIMS = {"idle": None, "1 busy process": 0.5, "2 busy processes": 0.35, "another llama.cpp": 0.4}
"""What is next to it, and the part of its idle speed that a model should keep."""


class Speeds(msgspec.Struct, frozen=True):
    """Tokens per second."""

    prefill: float
    decode: float


def measure(setup: Setup) -> list[str]:
    """Measure both models of the pair of two vocabularies; raises MissingError."""
    files = setup.two_vocabularies()
    path = find(setup.llama_bench)
    assert files.small is not None
    rows: list[list[str]] = []
    for model in (files.small, files.large):
        assert model is not None
        rows += _rows(model.stem, _rounds(model, files.small, path, setup.rounds))
    threads = cpus().threads
    about = (
        f"{setup.rounds} rounds, tokens per second. `adapting` is what glimp does by itself; `fixed` (--threads) and "
        f"llama-bench use {threads} threads throughout. Each reads prompts, and decodes behind {_DEPTH} tokens, for "
        f"{_SECONDS:g} seconds after {_SETTLING_SECONDS:g} seconds of settling in; llama-bench reads {_DEPTH} and "
        f"writes {_BENCH_TOKENS} tokens, so at less depth, after its own warm-up. A busy process is a loop in Python; "
        f"another llama.cpp is llama-bench with {threads} threads on the small model. `adapting, of idle` is "
        "against `fixed` on the idle machine, round by round."
    )
    columns = ("model", "beside it", "of", "adapting", "fixed", "llama-bench", "adapting, of idle", "aim")
    return [table(columns, rows), about]


def _rounds(model: Path, neighbour: Path, bench: Path, count: int) -> dict[str, list[dict[str, Speeds]]]:
    """Measure all parties beside all neighbours, in turns; by neighbour, a list of rounds."""
    found: dict[str, list[dict[str, Speeds]]] = {name: [] for name in _AIMS}
    threads = cpus().threads
    with ExitStack() as stack:
        adapting = stack.enter_context(closing(Engine(model, context=2048)))
        fixed = stack.enter_context(closing(Engine(model, EngineOptions(threads=threads), context=2048)))
        llama_bench = LlamaBench(bench)
        parties: dict[str, Callable[[], Speeds]] = {
            "adapting": lambda: _ours(adapting),
            "fixed": lambda: _ours(fixed),
            "llama-bench": lambda: Speeds(
                llama_bench.prefill(fixed, _DEPTH, batch=fixed.batch_size),
                llama_bench.decode(fixed, _BENCH_TOKENS, depth=_DEPTH),
            ),
        }
        for number in range(count):
            first = number % len(parties)
            order = [*list(parties)[first:], *list(parties)[:first]]
            for name in _AIMS:
                with _beside(name, bench, neighbour):
                    found[name].append({party: parties[party]() for party in order})
    return found


@contextmanager
def _beside(name: str, bench: Path, neighbour: Path) -> Iterator[None]:
    """Have something at work inside the block."""
    llama = (str(bench), "-m", str(neighbour), "-t", str(cpus().threads), "-p", "0", "-n", "4096", "-r", "1000")
    commands: dict[str, list[tuple[str, ...]]] = {
        "1 busy process": [_SPINNING],
        "2 busy processes": [_SPINNING, _SPINNING],
        "another llama.cpp": [llama],
    }
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - built here
        for command in commands.get(name, [])
    ]
    try:
        time.sleep(_STARTING_SECONDS)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _ours(engine: Engine) -> Speeds:
    """Measure an engine: prompts read in its batches, and tokens one at a time."""
    _decode(engine, _SETTLING_SECONDS)
    return Speeds(_prefill(engine), _decode(engine, _SECONDS))


def _prefill(engine: Engine) -> float:
    ids = _ids(engine, engine.batch_size)
    count, began = 0, perf_counter()
    while perf_counter() - began < _SECONDS:
        engine.rewind(0)
        engine.feed(ids)
        count += len(ids)
    return count / (perf_counter() - began)


def _decode(engine: Engine, seconds: float) -> float:
    engine.rewind(0)
    ids = _ids(engine, engine.context)
    engine.feed(ids[:_DEPTH])
    count, began = 0, perf_counter()
    for token in ids[_DEPTH:]:
        engine.decode(token)
        count += 1
        if perf_counter() - began > seconds:
            break
    return count / (perf_counter() - began)


def _ids(engine: Engine, count: int) -> list[int]:
    """Choose tokens to compute: any will do."""
    return [number % engine.vocabulary.size for number in range(count)]


def _rows(model: str, found: dict[str, list[dict[str, Speeds]]]) -> list[list[str]]:
    rows = []
    for name, aim in _AIMS.items():
        for phase in ("prefill", "decode"):
            series = {
                party: [getattr(each[party], phase) for each in found[name]]
                for party in ("adapting", "fixed", "llama-bench")
            }
            idle = [getattr(each["fixed"], phase) for each in found["idle"]]
            kept = ratio(series["adapting"], idle)
            rows.append([model, name, phase, *map(median, series.values()), kept, f"{aim or 0.97:g}"])
    return rows
