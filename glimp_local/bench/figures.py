"""The figures of a bench: what its runs come to, as records. All intervals are of 95%."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

import msgspec
import numpy as np
import numpy.typing as npt

from glimp_local.bench.arms import Arm, Kind
from glimp_local.bench.runs import Looks, Run
from glimp_local.bench.statistics import Estimate, clustered_auroc, difference, mcnemar, rate, ratio
from glimp_local.events import ModelStats


class Seconds(msgspec.Struct, frozen=True):
    """Where the time of a run goes, in mean seconds."""

    prompt: float
    """Reading the prompt, by each model that is used."""
    small: float
    """The small model's writing."""
    large: float
    """The large model's writing."""
    catch_up: float
    """Reading what the other model wrote."""
    rest: float
    """Glimpses, scores (`specreason`), cutting text, Python."""
    network: float
    """The way to servers and back, beside what the servers tell of their own."""


class Difference(msgspec.Struct, frozen=True):
    """An arm less another one, on the same problems."""

    correct: Estimate
    """Difference of the shares of right answers."""
    p: float
    """Exact McNemar test, two-sided."""
    time: Estimate
    """Ratio of the times."""
    share_steps: float
    """The other arm's share of steps on the large model."""


class ArmFigures(msgspec.Struct, frozen=True):
    """What one arm comes to."""

    name: str
    kind: Kind
    value: float | None
    runs: int
    correct: Estimate
    """Share of right answers."""
    median_seconds: float
    mean_seconds: float
    seconds: Seconds
    tokens_small: float
    """Mean tokens the small model wrote in a run, those of steps that were refused (`specreason`) included."""
    tokens_large: float
    tokens_per_second: float
    """Tokens of thoughts and answers, by the whole time."""
    share_steps: float
    """Share of all steps that the large model wrote."""
    share_tokens: float
    """Share of all tokens that the large model wrote, answers included."""
    catch_up_share: float
    """Share of the whole time."""
    unfinished: int
    """Runs whose answer was cut: by a budget, the context, a loop or a failure."""
    less_large: Difference | None
    """This arm less `large`."""
    less_random: Difference | None
    """This arm less its control, random routing at its share."""


class AgreementFigures(msgspec.Struct, frozen=True):
    """How the entropy goes with the two models' agreement on a step's first token."""

    glimpses: int
    otherwise: float
    """Share of the glimpses at which the large model would have begun otherwise."""
    auroc: Estimate
    """Of the entropy, for telling these; not a number where all are alike."""


class Figures(msgspec.Struct, frozen=True):
    """What a bench comes to."""

    problems: int
    repeats: int
    arms: tuple[ArmFigures, ...]
    agreement: AgreementFigures | None

    def arm(self, kind: Kind) -> ArmFigures | None:
        """Give the first arm of a kind."""
        return next((arm for arm in self.arms if arm.kind == kind), None)


def figures(arms: Sequence[Arm], runs: Sequence[Sequence[Run]], looks: Sequence[Looks]) -> Figures:
    """Compute the figures; `runs` has for each arm its runs, of the same problems in the same order."""
    by_name = {arm.name: of_arm for arm, of_arm in zip(arms, runs, strict=True)}
    controls = {arm.control_of: by_name[arm.name] for arm in arms if arm.control_of is not None}
    large = by_name.get("large")
    found = tuple(
        _arm(arm, of_arm, None if arm.kind == "large" else large, controls.get(arm.name))
        for arm, of_arm in zip(arms, runs, strict=True)
    )
    return Figures(
        problems=len({run.problem for run in runs[0]}),
        repeats=len({run.repeat for run in runs[0]}),
        arms=found,
        agreement=agreement(looks),
    )


def _arm(arm: Arm, runs: Sequence[Run], large: Sequence[Run] | None, control: Sequence[Run] | None) -> ArmFigures:
    all_stats = [run.solution.stats for run in runs]
    models = {
        model: [found for stats in all_stats if (found := getattr(stats, model)) is not None]
        for model in ("small", "large")
    }
    tokens = sum(stats.tokens for stats in all_stats)
    spent = sum(run.seconds for run in runs)
    seconds = _seconds(models["small"], models["large"], spent, len(runs))
    return ArmFigures(
        name=arm.name,
        kind=arm.kind,
        value=arm.value,
        runs=len(runs),
        correct=rate(by_problem(runs, [run.correct for run in runs])),
        median_seconds=median(run.seconds for run in runs),
        mean_seconds=fmean(run.seconds for run in runs),
        seconds=seconds,
        tokens_small=sum(model.tokens for model in models["small"]) / len(runs),
        tokens_large=sum(model.tokens for model in models["large"]) / len(runs),
        tokens_per_second=tokens / spent,
        share_steps=share_steps(runs),
        share_tokens=sum(stats.tokens_large for stats in all_stats) / max(tokens, 1),
        catch_up_share=seconds.catch_up * len(runs) / spent,
        unfinished=sum(run.solution.finish_reason != "done" for run in runs),
        less_large=None if large is None else compare(runs, large),
        less_random=None if control is None else compare(runs, control),
    )


def _seconds(small: Sequence[ModelStats], large: Sequence[ModelStats], spent: float, runs: int) -> Seconds:
    writing = [sum(map(_writing, models)) / runs for models in (small, large)]
    prompt = sum(model.prefill_seconds for model in (*small, *large)) / runs
    catch_up = sum(model.catch_up_seconds for model in (*small, *large)) / runs
    network = sum(model.network_seconds for model in (*small, *large)) / runs
    return Seconds(
        prompt=prompt,
        small=writing[0],
        large=writing[1],
        catch_up=catch_up,
        rest=max(spent / runs - sum(writing) - prompt - catch_up - network, 0.0),
        network=network,
    )


def _writing(model: ModelStats) -> float:
    return model.decode_seconds + model.sample_seconds + model.draft_seconds


def compare(one: Sequence[Run], other: Sequence[Run]) -> Difference:
    """Compare two arms' runs of the same problems."""
    right = [by_problem(runs, [run.correct for run in runs]) for runs in (one, other)]
    times = [by_problem(runs, [run.seconds for run in runs]) for runs in (one, other)]
    return Difference(correct=difference(*right), p=mcnemar(*right), time=ratio(*times), share_steps=share_steps(other))


def share_steps(runs: Sequence[Run]) -> float:
    """Give the share of all steps that the large model wrote."""
    steps = sum(run.solution.stats.steps for run in runs)
    return sum(run.solution.stats.steps_large for run in runs) / max(steps, 1)


def by_problem(runs: Sequence[Run], values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Give the mean of each problem's repeats, problems in the order of their first run."""
    found: dict[str, list[float]] = {}
    for run, value in zip(runs, values, strict=True):
        found.setdefault(run.problem, []).append(value)
    return np.array([fmean(repeats) for repeats in found.values()])


def agreement(looks: Sequence[Looks]) -> AgreementFigures | None:
    """Compute how the entropy goes with agreement; None where nobody looked."""
    clusters: dict[str, list[tuple[float, bool]]] = {}
    for of_run in looks:
        clusters.setdefault(of_run.problem, []).extend((look.entropy_nats, not look.agrees) for look in of_run.looks)
    filled = [cluster for cluster in clusters.values() if cluster]
    if not filled:
        return None
    otherwise = [differs for cluster in filled for _, differs in cluster]
    return AgreementFigures(
        glimpses=len(otherwise),
        otherwise=fmean(otherwise),
        auroc=clustered_auroc(
            [[nats for nats, _ in cluster] for cluster in filled],
            [[differs for _, differs in cluster] for cluster in filled],
        ),
    )
