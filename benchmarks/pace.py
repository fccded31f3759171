"""One model: a session against llama.cpp's own llama-bench, and against a bare loop in Python.

Same file, threads, batch, flash attention and cache; and the same depth, for a token behind 300 others takes longer
than the first one. llama-bench samples nothing, so a session's forward passes are told apart from all it does.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from time import perf_counter

import msgspec

from benchmarks.bare_loop import bare_loop
from benchmarks.document import table
from benchmarks.figures import median, ratio
from benchmarks.llama_cpp import LlamaBench, find
from benchmarks.setup import QUESTION, MissingError, Setup, fresh_session, prompt_of
from glimp_local.engines.glimpse import glimpse
from glimp_local.engines.llama.backend import engine_of
from glimp_local.events import fold
from glimp_local.pair import Pair

HEADING = "Pace: one model in a session, and in llama-bench"

_PROMPT_TOKENS = 256
_DEFAULT_BATCH = 2048
"""llama-bench's own; it is computed in parts of 512."""
_GLIMPSES = 300


class Round(msgspec.Struct, frozen=True):
    """What was measured in one turn, in tokens per second."""

    prefill: float
    bench_prefill: float
    bench_prefill_default: float
    passes: float
    """The session's forward passes alone."""
    whole: float
    """All that the session does behind the prompt."""
    bare: float
    bench: float
    bench_python: float
    """llama-bench with the libraries that Python uses."""


def measure(setup: Setup) -> list[str]:
    """Measure both models of the pair of two vocabularies, one at a time; raises MissingError."""
    files = setup.two_vocabularies()
    path = find(setup.llama_bench)
    rows: list[list[str]] = []
    glimpses: list[str] = []
    for model in (files.small, files.large):
        assert model is not None
        with setup.open_alone(model, sampling={"temperature": 0}) as pair:
            parties = Parties(pair, path)
            rounds = [parties.round(number) for number in range(setup.rounds)]
            rows += _rows(pair, rounds)
            glimpses.append(_glimpse(pair))
    columns = ("model", "of", "this", "against this", "ratio")
    about = (
        f"{setup.rounds} rounds, each beginning with another one, tokens per second: a prompt of {_PROMPT_TOKENS} "
        f"tokens, and up to {setup.tokens} tokens written behind it; llama-bench decodes at the same depth and samples "
        "nothing. Each begins with a warm-up of its own. `session, passes` are its calls of `llama_decode` alone; "
        "`session` is all it does behind the prompt: sampling, text, events. The bare loop is `llama_sampler_sample` "
        "and `llama_decode` in Python, with nothing around, on the same context."
    )
    return [table(columns, rows), about, f"One glimpse takes {' and '.join(glimpses)}."]


def _question(pair: Pair) -> str:
    """Lengthen the question until the prompt has so many tokens."""
    question = QUESTION
    while len(prompt_of(pair, question)) < _PROMPT_TOKENS:
        question += " Wheels, frames, chains and brakes."
    return question


class Parties:
    """All that is measured on one model, each by a method that gives tokens per second under the names of `Round`."""

    def __init__(self, pair: Pair, path: Path) -> None:
        self._pair, self._engine, self._question = pair, engine_of(pair.backends["small"]), _question(pair)
        self._prompt = prompt_of(pair, self._question)
        self._bench, self._python = LlamaBench(path), LlamaBench(path, python_library=True)
        self._session()
        self._written = self._engine.ids[len(self._prompt) :]  # but the last token, which nobody needed
        if not self._written:
            raise MissingError(f"{self._engine.name} writes nothing: there is no pace to measure")
        self._bare()
        self._all = (self._session, self._bare, self._prefill, self._prefill_default, self._decode, self._decode_python)

    def round(self, number: int) -> Round:
        """Measure all, each time beginning with another one: none always comes behind the same one."""
        first = number % len(self._all)
        found: dict[str, float] = {}
        for party in (*self._all[first:], *self._all[:first]):
            found |= party()
        return Round(**found)

    def _warm_up(self) -> None:
        """Touch all that will be computed with, as llama-bench does: while others had their turn it lay idle."""
        self._engine.rewind(0)
        self._engine.feed(self._prompt)

    def _session(self) -> dict[str, float]:
        self._warm_up()
        solution = fold(fresh_session(self._pair).ask(self._question))
        stats = solution.stats.small
        assert stats is not None
        passes = max(len(self._engine.ids) - len(self._prompt), 1)
        return {
            "prefill": stats.prefill_tokens / stats.prefill_seconds,
            "passes": passes / stats.decode_seconds,
            "whole": passes / (solution.stats.seconds - stats.prefill_seconds),
        }

    def _bare(self) -> dict[str, float]:
        passes = len(self._written)
        self._warm_up()
        tokens, seconds = bare_loop(self._engine, self._prompt, passes + 1)
        if tokens[:passes] != self._written:
            raise MissingError(f"{self._engine.name} wrote other tokens in the bare loop: nothing to compare")
        return {"bare": passes / seconds}

    def _prefill(self) -> dict[str, float]:
        batch = self._engine.batch_size
        return {"bench_prefill": self._bench.prefill(self._engine, len(self._prompt), batch=batch)}

    def _prefill_default(self) -> dict[str, float]:
        found = self._bench.prefill(self._engine, len(self._prompt), batch=_DEFAULT_BATCH)
        return {"bench_prefill_default": found}

    def _decode(self) -> dict[str, float]:
        return {"bench": self._bench.decode(self._engine, len(self._written), depth=len(self._prompt))}

    def _decode_python(self) -> dict[str, float]:
        return {"bench_python": self._python.decode(self._engine, len(self._written), depth=len(self._prompt))}


def _rows(pair: Pair, rounds: list[Round]) -> list[list[str]]:
    series = {name: [getattr(each, name) for each in rounds] for name in Round.__struct_fields__}
    compared = [
        ("prefill", "session", "prefill", "llama-bench, same batch", "bench_prefill"),
        ("prefill", "session", "prefill", "llama-bench, its batch", "bench_prefill_default"),
        ("decode", "session, passes", "passes", "llama-bench", "bench"),
        ("decode", "session", "whole", "llama-bench", "bench"),
        ("decode", "session", "whole", "bare loop", "bare"),
        ("decode", "bare loop", "bare", "llama-bench", "bench"),
        ("decode", "llama-bench, Python's library", "bench_python", "llama-bench", "bench"),
    ]
    engine = engine_of(pair.backends["small"])
    return [
        [
            f"{engine.path.stem}, {engine.placement.where}",
            what,
            f"{one}: {median(series[ours])}",
            f"{other}: {median(series[theirs])}",
            ratio(series[ours], series[theirs]),
        ]
        for what, one, ours, other, theirs in compared
    ]


def _glimpse(pair: Pair) -> str:
    """Say how long one glimpse at the logits takes, the view on them included."""
    engine, times = engine_of(pair.backends["small"]), []
    engine.feed(engine.vocabulary.tokenize("Once"))
    for _ in range(_GLIMPSES):
        start = perf_counter()
        glimpse(engine.logits())
        times.append(perf_counter() - start)
    return f"{statistics.median(times) * 1e6:,.0f} µs at {engine.vocabulary.size:,} tokens"
