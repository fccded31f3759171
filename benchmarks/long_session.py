"""A long session: seconds of a token at its end against its beginning, and against llama-bench at the same depths.

The session is a conversation: long questions, short answers, until its context holds what was asked for.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.document import table
from benchmarks.figures import number
from benchmarks.llama_cpp import LlamaBench, find
from benchmarks.setup import QUESTION, MissingError, Setup, prompt_of
from glimp_local.engines.llama.backend import engine_of
from glimp_local.events import fold
from glimp_local.pair import Pair
from glimp_local.session.session import Session

HEADING = "A long session: its end against its beginning"

_TURNS = 16
_ENDS = 2
"""So many turns are the beginning, and so many the end."""


class Exchange(msgspec.Struct, frozen=True):
    """One question and its answer."""

    depth: int
    """Tokens in the context when the answer began."""
    passes: int
    decode_seconds: float
    seconds: float
    """Of everything behind the reading of the question."""


def measure(setup: Setup) -> list[str]:
    """Measure each model of the pair of two vocabularies, as far as its context goes; raises MissingError."""
    files = setup.two_vocabularies()
    path = find(setup.llama_bench)
    blocks: list[str] = []
    for model in (files.small, files.large):
        assert model is not None
        with setup.open_alone(model, context=setup.session_tokens) as pair:
            blocks += _measure(setup, pair, path)
    return blocks


def _measure(setup: Setup, pair: Pair, path: Path) -> list[str]:
    engine = engine_of(pair.backends["small"])
    exchanges = converse(setup, pair, engine.context)
    bench = LlamaBench(path)
    rows, ends = [], []
    for words, chosen in (("beginning", exchanges[:_ENDS]), ("end", exchanges[-_ENDS:])):
        passes = sum(exchange.passes for exchange in chosen)
        depth = sum(exchange.depth for exchange in chosen) // len(chosen)
        each = sum(exchange.decode_seconds for exchange in chosen) / passes
        whole = sum(exchange.seconds for exchange in chosen) / passes
        theirs = 1 / bench.decode(engine, passes // len(chosen), depth=depth)
        ends.append((each, whole, theirs))
        figures = [f"{number(seconds * 1000)} ms" for seconds in (each, whole, theirs)]
        rows.append([words, f"{depth:,}", *figures, f"{theirs / each:.3f}"])
    slower = [f"{end / begin:.2f} times" for begin, end in zip(*ends, strict=True)]
    rows.append(["end to beginning", "", *slower, ""])
    columns = ("part", "depth", "a forward pass", "a token, all in all", "llama-bench, a pass", "llama-bench to ours")
    about = (
        f"{engine.path.stem}, {engine.placement.where}: a conversation of {len(exchanges)} questions that fills "
        f"{exchanges[-1].depth + exchanges[-1].passes:,} tokens of context; the first and the last {_ENDS} answers."
    )
    return [about, table(columns, rows)]


def converse(setup: Setup, pair: Pair, context: int) -> list[Exchange]:
    """Ask and answer until nearly all of the context is taken."""
    session, engine = Session(pair, seed=1), engine_of(pair.backends["small"])
    filler = " Wheels, frames, chains and brakes."
    exchanges: list[Exchange] = []
    each = len(prompt_of(pair, filler * 10)) / 10
    question = QUESTION + filler * int((context / _TURNS - setup.tokens) / each)
    while len(engine.ids) + context // _TURNS < context:
        before = engine.fed
        stats = fold(session.ask(f"{len(exchanges) + 1}. {question}")).stats
        small = stats.small
        assert small is not None
        passes = small.tokens - 1
        if passes < 1:
            raise MissingError(f"{engine.name} has nothing to say: there is no pace to measure")
        exchanges.append(
            Exchange(len(engine.ids) - passes, passes, small.decode_seconds, stats.seconds - small.prefill_seconds)
        )
        assert engine.fed > before
    return exchanges
