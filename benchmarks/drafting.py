"""Drafting on against off inside the large model's steps: speed-up and acceptance, by the number of drafted tokens."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec

from benchmarks.document import table
from benchmarks.figures import median, ratio
from benchmarks.setup import Files, MissingError, Setup, fresh_session, with_builtin
from glimp_local.events import Stats, fold
from glimp_local.pair import Pair
from glimp_local.routing import Speculative

HEADING = "Drafting inside the large model's steps"

_DRAFTS: tuple[str | int, ...] = ("off", 1, 2, 3, 4, 7, 8, 15, "auto")


class Drafted(msgspec.Struct, frozen=True):
    """One run."""

    rate: float
    """Tokens per second behind the prompts, drafting and sampling included."""
    drafted: int
    accepted: int


def measure(setup: Setup) -> list[str]:
    """Measure the built-in pair, and one other of one vocabulary where it is there."""
    chosen, missing = with_builtin(setup.one_vocabulary)
    rows = [row for files in chosen for row in _rows(setup, files)]
    columns = ("pair", "drafted at once", "tokens/s", "to off", "drafted", "came true")
    about = (
        f"{setup.rounds} rounds in turns: the large model writes everything (policy `speculative`), {setup.tokens} "
        "tokens at most, and the small one drafts for it; `auto`, the default, drafts as many as it finds to pay."
    )
    return [table(columns, rows), about, *missing]


def _rows(setup: Setup, files: Files) -> list[list[str]]:
    rounds: dict[str | int, list[Drafted]] = {draft: [] for draft in _DRAFTS}
    with ExitStack() as opened:
        # One pair for each: what drafting costs and brings is learnt by a pair.
        pairs = {draft: opened.enter_context(_open(setup, files, draft)) for draft in _DRAFTS}
        for number in range(setup.rounds + 1):
            for draft, pair in pairs.items():
                run = _run(files, pair)
                if number:  # the first round warms up
                    rounds[draft].append(run)
    off = [run.rate for run in rounds["off"]]
    rows = []
    for draft, runs in rounds.items():
        rates, drafted = [run.rate for run in runs], sum(run.drafted for run in runs)
        accepted = f"{sum(run.accepted for run in runs) / drafted:.0%}" if drafted else "-"
        rows.append(
            [files.name, str(draft), median(rates), ratio(rates, off), f"{drafted / len(runs):,.0f} a run", accepted]
        )
    return rows


def _open(setup: Setup, files: Files, draft: str | int) -> Pair:
    settings = {"max_answer": setup.tokens, "max_thought": setup.tokens, "sampling": {"temperature": 0}}
    return setup.open(files, draft=draft, policy="speculative", **settings)


def _run(files: Files, pair: Pair) -> Drafted:
    stats = fold(fresh_session(pair, policy=Speculative()).ask(files.asked(pair))).stats
    large = stats.large
    if large is None or not large.tokens:
        raise MissingError(f"the large model of {files.name} wrote nothing: there is nothing to draft")
    return Drafted(large.tokens / (stats.seconds - _prefill_seconds(stats)), large.drafted, large.draft_accepted)


def _prefill_seconds(stats: Stats) -> float:
    return sum(model.prefill_seconds for model in (stats.small, stats.large) if model is not None)
