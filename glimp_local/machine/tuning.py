"""How many threads suit a model on this machine, and what its batches cost then: measured.

Knows one engine; nothing of pairs, files or terminals. The numbers of threads are measured in turns, and medians are
compared: llama.cpp's threads wait for each other by spinning, so one busy neighbour makes a single figure worthless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from statistics import median
from time import perf_counter

import msgspec
import numpy as np

from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.engines.llama.costs import LARGEST
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.protocol import Backend
from glimp_local.errors import CancelledError
from glimp_local.settings import MAX_THREADS

SECONDS = 30.0
"""About how long the threads of one model are measured,..."""
_BATCH_SECONDS = 6.0
"""...and the costs of its batches."""
CLOSE = 0.97
"""The fewest threads that reach this part of the best speed are chosen: more of them only disturb each other."""

_ROUNDS = 15
_SLOW = 0.5
"""Numbers of threads that never reached this part of the best speed are measured in the first round alone."""
_DECODED = 32
"""Tokens decoded in one measurement,..."""
_DECODE_SECONDS = 0.5
"""...or fewer where they would take longer than this."""
_PREFILL_SECONDS = 1.0
"""A prompt that would take longer than this is a shorter one,..."""
_SHORTEST = 16
"""...but no shorter than this, in tokens."""
_BEHIND = 64
"""Tokens that the batches of the costs stand behind."""
_BATCH_ROUNDS = 8


class Speed(msgspec.Struct, frozen=True):
    """What a number of threads reached: medians, None where it was left out for want of time."""

    threads: int
    decode_tokens_per_second: float | None
    """One token at a time."""
    decode_rounds: int
    """How often that was measured."""
    prefill_tokens_per_second: float | None
    """A prompt of `prompt_tokens`."""
    prefill_rounds: int


class Tuning(msgspec.Struct, frozen=True):
    """How many threads suit a model."""

    name: str
    """The model's own name."""
    prompt_tokens: int
    """Tokens of the prompts: what the engine computes at once, or fewer where that takes long."""
    speeds: list[Speed]
    """By the number of threads."""
    threads: int
    """Chosen for one token at a time."""
    threads_batch: int
    """Chosen for prompts."""
    batch_seconds: dict[int, float]
    """What a batch costs with them, by its number of tokens."""


def thread_counts(physical: int, logical: int) -> list[int]:
    """Choose the numbers of threads to measure: 1, 2, 3, 4, 6, 8, 12 and so on, both numbers of cores among them."""
    steps = (step << i for i in range(MAX_THREADS.bit_length()) for step in (1, 3))
    counts = [*(count for count in steps if count < physical), physical, logical]
    return sorted({min(count, MAX_THREADS) for count in counts})


def measurable(backend: Backend) -> Engine | None:
    """Return the engine of a model that this process computes; None for any other."""
    return backend.engine if isinstance(backend, LlamaBackend) else None


def tune(
    engine: Engine,
    counts: Sequence[int],
    *,
    seconds: float = SECONDS,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Tuning:
    """Measure an engine with each number of threads and choose; it is left empty and with the chosen threads.

    `counts`, one at least, come in the order of their chances: where `seconds` are too few, the last ones are left out.
    `on_progress` hears the fraction done (0 to 1). Raises CancelledError when the engine's cancel is set.
    """
    ids = np.random.default_rng(0).integers(0, engine.vocabulary.size, engine.context).tolist()

    def decode(threads: int) -> float:
        _begin(engine, threads, ids[0])
        began, count = perf_counter(), 0
        for token in ids[1 : 1 + _DECODED]:
            engine.decode(token)
            count += 1
            if perf_counter() - began > _DECODE_SECONDS:
                break
        return count / (perf_counter() - began)

    decoded = _in_turns(engine, decode, counts, seconds / 2, lambda done: on_progress(done / 2))
    prompt = ids[1 : 1 + _prompt_tokens(engine, {counts[0], choose(decoded)}, ids)]

    def prefill(threads: int) -> float:
        _begin(engine, threads, ids[0])
        began = perf_counter()
        engine.feed(prompt)
        return len(prompt) / (perf_counter() - began)

    prefilled = _in_turns(engine, prefill, counts, seconds / 2, lambda done: on_progress((1 + done) / 2))
    engine.set_threads(choose(decoded), choose(prefilled))
    costs = measure_costs(engine, ids)
    speeds = [
        Speed(count, *_median(decoded.get(count, [])), *_median(prefilled.get(count, []))) for count in sorted(counts)
    ]
    return Tuning(engine.name, len(prompt), speeds, engine.placement.threads, engine.placement.threads_batch, costs)


def measure_costs(engine: Engine, ids: Sequence[int], *, seconds: float = _BATCH_SECONDS) -> dict[int, float]:
    """Measure what batches of an engine cost, by their number of tokens: the least of several rounds.

    It knows it then, and is left empty. Each size is measured once at least, whatever time that takes. Raises
    CancelledError when the engine's cancel is set; then it knows what it knew.
    """
    before = engine.costs.all_known
    try:
        found = before = _least_costs(engine, ids, seconds)
    finally:
        engine.costs.put(before)
    engine.rewind(0)
    return found


def _least_costs(engine: Engine, ids: Sequence[int], seconds: float) -> dict[int, float]:
    engine.rewind(0)
    least: dict[int, float] = {}
    start = min(_BEHIND, engine.context - LARGEST - 1)
    engine.feed(ids[:start])
    began = perf_counter()
    for number in range(_BATCH_ROUNDS):
        for size in range(1, min(LARGEST, engine.batch_size) + 1):
            if engine.cancel.is_set():
                raise CancelledError("cancelled while measuring")
            if number and perf_counter() - began > seconds:
                break
            for _ in range(2 if size == 1 else 1):  # the first one behind another size does not count
                engine.feed(ids[start : start + size])
                engine.rewind(start)
            least[size] = min(least.get(size, inf), engine.costs.latest)
    return least


def choose(speeds: dict[int, list[float]]) -> int:
    """Give the fewest threads whose median speed comes close to the best one."""
    medians = {threads: median(of_one) for threads, of_one in speeds.items()}
    return min(threads for threads, speed in medians.items() if speed >= CLOSE * max(medians.values()))


def _begin(engine: Engine, threads: int, token: int) -> None:
    """Empty the engine and wake its threads up."""
    engine.set_threads(threads, threads)
    engine.rewind(0)
    engine.feed([token])


def _prompt_tokens(engine: Engine, counts: Iterable[int], ids: Sequence[int]) -> int:
    """Choose how long the prompts are: what the engine computes at once, halved while that takes too long."""
    tokens = min(engine.batch_size, engine.context - 1)
    first = ids[1 : 1 + min(_SHORTEST, tokens)]
    seconds = []
    for threads in counts:
        _begin(engine, threads, ids[0])
        began = perf_counter()
        engine.feed(first)
        seconds.append(perf_counter() - began)
    while tokens > _SHORTEST and tokens * min(seconds) / len(first) > _PREFILL_SECONDS:
        tokens //= 2
    return tokens


def _in_turns(
    engine: Engine,
    measure: Callable[[int], float],
    counts: Sequence[int],
    seconds: float,
    on_progress: Callable[[float], None],
) -> dict[int, list[float]]:
    """Measure the speeds of each number of threads, one after the other, round by round.

    The first round takes half of the time at most, and at least two measurements.
    """
    began = perf_counter()
    speeds: dict[int, list[float]] = {}
    for number in range(_ROUNDS):
        for threads in counts if number == 0 else _promising(speeds):
            spent = (perf_counter() - began) / seconds
            on_progress(min(spent, 1.0))
            if engine.cancel.is_set():
                raise CancelledError("cancelled while measuring")
            if len(speeds) > 1 and spent > (1.0 if number else 0.5):
                break
            speeds.setdefault(threads, []).append(measure(threads))
    on_progress(1.0)
    return speeds


def _promising(speeds: dict[int, list[float]]) -> list[int]:
    best = max(map(max, speeds.values()))
    return [threads for threads, of_one in speeds.items() if max(of_one) >= _SLOW * best]


def _median(speeds: Sequence[float]) -> tuple[float | None, int]:
    return (median(speeds) if speeds else None), len(speeds)
