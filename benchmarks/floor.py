"""A routed run's wall time against its floor, and where the rest goes.

The floor is what the run's forward passes alone would take: the tokens each model was fed at the rate at which it reads
a prompt, the tokens it wrote at the rate at which it decodes by itself, both measured in turns with the run.
"""

from __future__ import annotations

import statistics

import msgspec

from benchmarks.document import table
from benchmarks.figures import number, ratio
from benchmarks.setup import Files, MissingError, Setup, fresh_session, with_builtin
from glimp_local.events import ModelStats, Stats, fold
from glimp_local.pair import Pair
from glimp_local.routing import MODELS, Alone, Decision, Glimpse, Model, Random

HEADING = "Floor: a routed run's wall time, and where the rest goes"


class EverySecond(Random):
    """Every second step is the large model's: as many switches as there can be, whatever a pair's entropies are."""

    def __init__(self) -> None:
        super().__init__(0.5, seed=0)
        self._steps = 0

    def decide(self, glimpse: Glimpse | None) -> Decision:  # noqa: ARG002 - it is looked at, and not heeded
        """Choose the model that did not write the step before."""
        self._steps += 1
        return Decision("small" if self._steps % 2 else "large", "random")


class Spent(msgspec.Struct, frozen=True):
    """Seconds of one run."""

    wall: float
    prompt: float
    prompt_floor: float
    catch_up: float
    catch_up_floor: float
    passes: float
    passes_floor: float
    sampling: float
    glimpse: float

    @property
    def floor(self) -> float:
        """Give what the forward passes alone would take."""
        return self.prompt_floor + self.catch_up_floor + self.passes_floor

    @property
    def rest(self) -> float:
        """Give what none of the accounts has: Python, hand-over, events."""
        return self.wall - self.prompt - self.catch_up - self.passes - self.sampling - self.glimpse


def measure(setup: Setup) -> list[str]:
    """Measure the built-in pair, and that of two vocabularies where it is there."""
    blocks = []
    chosen, missing = with_builtin(setup.two_vocabularies)
    for files in chosen:
        with _open(setup, files) as pair:
            rounds = [_round(files, pair) for _ in range(setup.rounds + 1)][1:]
            blocks += [f"**{files.name}**: {_said(rounds)}", _table(rounds)]
    about = (
        f"{setup.rounds} rounds in turns with each model alone on the same question; every second step goes to "
        f"the large model; drafting is off, catch-up lazy. Mean seconds of runs of some "
        f"{setup.tokens} tokens; `rest` is Python: hand-over, text, events."
    )
    return [about, *blocks, *missing]


def _open(setup: Setup, files: Files) -> Pair:
    budgets = {"max_answer": setup.tokens, "max_thought": setup.tokens, "max_step": 64}
    return setup.open(files, draft="off", catch_up="lazy", **budgets)


def _round(files: Files, pair: Pair) -> Spent:
    question = files.asked(pair)
    alone = {
        model: _stats(fold(fresh_session(pair, policy=Alone(model)).ask(question)).stats, model) for model in MODELS
    }
    routed = fold(fresh_session(pair, policy=EverySecond()).ask(question)).stats
    each = {model: _stats(routed, model) for model in MODELS}
    read = {model: alone[model].prefill_seconds / alone[model].prefill_tokens for model in MODELS}
    wrote = {model: alone[model].decode_seconds / alone[model].tokens for model in MODELS}
    return Spent(
        wall=routed.seconds,
        prompt=sum(stats.prefill_seconds for stats in each.values()),
        prompt_floor=sum(read[model] * stats.prefill_tokens for model, stats in each.items()),
        catch_up=sum(stats.catch_up_seconds for stats in each.values()),
        catch_up_floor=sum(read[model] * stats.catch_up_tokens for model, stats in each.items()),
        passes=sum(stats.decode_seconds for stats in each.values()),
        passes_floor=sum(wrote[model] * stats.tokens for model, stats in each.items()),
        sampling=sum(stats.sample_seconds for stats in each.values()),
        glimpse=routed.glimpse_seconds,
    )


def _stats(stats: Stats, model: Model) -> ModelStats:
    found = stats.small if model == "small" else stats.large
    if found is None or not found.prefill_seconds:
        raise MissingError(f"the {model} model computed nothing: there is no rate to measure")
    return found


def _said(rounds: list[Spent]) -> str:
    return f"floor over wall time {ratio([each.floor for each in rounds], [each.wall for each in rounds])}"


def _table(rounds: list[Spent]) -> str:
    def mean(name: str) -> float:
        return statistics.mean(float(getattr(each, name)) for each in rounds)

    wall = mean("wall")
    parts = [
        ("prompt", "prompt", "prompt_floor"),
        ("catch-up", "catch_up", "catch_up_floor"),
        ("own tokens", "passes", "passes_floor"),
        ("sampling", "sampling", None),
        ("glimpses", "glimpse", None),
        ("rest", "rest", None),
        ("wall time", "wall", "floor"),
    ]
    rows = []
    for words, spent, floor in parts:
        least = mean(floor) if floor else 0.0
        over = mean(spent) - least
        rows.append([words, number(mean(spent)), number(least), f"{over / wall:.1%}"])
    return table(("part", "seconds", "floor", "over the floor, of the wall time"), rows)
