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
from benchmarks.setup import QUESTION, MissingError, Setup, fresh_session
from glimp_local.entropy import glimpse
from glimp_local.events import fold
from glimp_local.pair import Pair, load_pair

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
        with _alone(setup, model) as pair:
            rounds = [_round(pair, path) for _ in range(setup.rounds + 1)][1:]  # the first one warms up
            rows += _rows(pair, rounds)
            glimpses.append(_glimpse(pair))
    columns = ("model", "of", "this", "against this", "ratio")
    about = (
        f"{setup.rounds} rounds in turns, tokens per second: a prompt of {_PROMPT_TOKENS} tokens, and up to "
        f"{setup.tokens} tokens written behind it; llama-bench decodes at the same depth and samples nothing. "
        "`session, passes` are its calls of `llama_decode` alone; `session` is all it does behind the prompt: "
        "sampling, text, events. The bare loop is `llama_sampler_sample` and `llama_decode` in Python, with nothing "
        "around, on the same context."
    )
    return [table(columns, rows), about, f"One glimpse takes {' and '.join(glimpses)}."]


def _alone(setup: Setup, model: Path) -> Pair:
    return load_pair(
        small=model,
        policy="small",
        draft="off",
        thinking="none",
        sampling={"temperature": 0},
        max_answer=setup.tokens,
        engine_options={"small": {"gpu_layers": setup.gpu_layers}},
    )


def _question(pair: Pair) -> str:
    """Lengthen the question until the prompt has so many tokens."""
    question = QUESTION
    while len(pair.prompts["small"].prompt([{"role": "user", "content": question}])) < _PROMPT_TOKENS:
        question += " Wheels, frames, chains and brakes."
    return question


def _round(pair: Pair, path: Path) -> Round:
    engine, question = pair.engines["small"], _question(pair)
    prompt = pair.prompts["small"].prompt([{"role": "user", "content": question}])
    solution = fold(fresh_session(pair).ask(question))
    stats = solution.stats.small
    assert stats is not None
    written = engine.ids[len(prompt) :]  # but the last token, which nobody needed
    passes = len(written)
    if not passes:
        raise MissingError(f"{engine.name} writes nothing: there is no pace to measure")
    bare_tokens, bare_seconds = bare_loop(engine, prompt, passes + 1)
    if bare_tokens[:passes] != written:
        raise MissingError(f"{engine.name} wrote other tokens in the bare loop: nothing to compare")
    bench, python = LlamaBench(path), LlamaBench(path, python_library=True)
    batch = engine._batch_size  # noqa: SLF001 - what the session's prompt was read in
    return Round(
        prefill=stats.prefill_tokens / stats.prefill_seconds,
        bench_prefill=bench.prefill(engine, len(prompt), batch=batch),
        bench_prefill_default=bench.prefill(engine, len(prompt), batch=_DEFAULT_BATCH),
        passes=passes / stats.decode_seconds,
        whole=passes / (solution.stats.seconds - stats.prefill_seconds),
        bare=passes / bare_seconds,
        bench=bench.decode(engine, passes, depth=len(prompt)),
        bench_python=python.decode(engine, passes, depth=len(prompt)),
    )


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
    engine = pair.engines["small"]
    return [
        [
            f"{engine.path.stem}, {engine.device}",
            what,
            f"{one}: {median(series[ours])}",
            f"{other}: {median(series[theirs])}",
            ratio(series[ours], series[theirs]),
        ]
        for what, one, ours, other, theirs in compared
    ]


def _glimpse(pair: Pair) -> str:
    """Say how long one glimpse at the logits takes, the view on them included."""
    engine, times = pair.engines["small"], []
    engine.feed(engine.vocabulary.tokenize("Once"))
    for _ in range(_GLIMPSES):
        start = perf_counter()
        glimpse(engine.logits())
        times.append(perf_counter() - start)
    return f"{statistics.median(times) * 1e6:,.0f} µs at {engine.vocabulary.size:,} tokens"
