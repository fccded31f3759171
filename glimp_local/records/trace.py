"""A run looked at again: its figures, why each step went where it did, and what another threshold would have done.

Knows nothing about files, terminals, pages or models.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glimp_local import units
from glimp_local.routing import Glimpse, Model, Reason, by_threshold
from glimp_local.runs import Run, Step

_NOT_BY_POLICY = frozenset({"user", "redo", "loop", "answer", "failure"})
"""Reasons of steps that no policy decides."""

_REASONS: dict[Reason, str] = {
    "policy": "the only writer",
    "random": "drawn",
    "loop": "in circles",
    "user": "forced",
    "redo": "written again",
    "answer": "by setting",
    "failure": "large failed",
}
_DIGITS = (2, 3, 4, 6, 9)
"""Two numbers are told apart with as few decimals as it takes."""


class Figures(msgspec.Struct, frozen=True):
    """The figures of a run, of the steps that count: what a redo has voided is gone."""

    steps: int
    """Steps of the thought (or reply) that hold a token; the answer is not counted."""
    steps_large: int
    share_steps: float
    """steps_large / steps."""
    tokens: int
    tokens_large: int
    share_tokens: float
    """tokens_large / tokens."""
    seconds: float
    """From the question to the end; of a run without an end, of its finished steps."""
    catch_up_tokens: int
    catch_up_seconds: float
    share_catch_up: float
    """catch_up_seconds / seconds."""
    small_tokens_per_second: float | None
    """None where the file does not say, or the model wrote nothing."""
    large_tokens_per_second: float | None
    network_seconds: float
    """Of models on servers: the way there and back; 0 where the file does not say."""


class WhatIf(msgspec.Struct, frozen=True):
    """What another threshold would have made of the glimpses of a run."""

    threshold_nats: float
    told: int
    """Steps the threshold can be held against: a policy decided them, and there is an entropy."""
    untold: int
    """Steps a policy decided without an entropy: they are left where they are."""
    fixed: int
    """Steps no policy decided (user, redo, loop, answer): they stay where they are."""
    moved: tuple[int, ...]
    """Indices of the steps that would have gone to the other model. Only the first one is certain."""
    to_small: int
    to_large: int
    share_steps_was: float
    """Share of steps on the large model, as in `Figures`."""
    share_steps_would_be: float


def figures(run: Run) -> Figures:
    """Compute the figures of a run; what each is stands with the fields of `Figures`."""
    routed = _routed(run.steps)
    large = [step for step in routed if step.model == "large"]
    tokens = sum(step.tokens for step in run.steps)
    tokens_large = sum(step.tokens for step in run.steps if step.model == "large")
    of_steps = sum(step.seconds for step in run.steps)
    # Where an older conversation was gone on with, the stats know only the time since.
    seconds = max(run.stats.seconds, of_steps) if run.stats else of_steps
    catch_up_seconds = sum(step.catch_up_seconds for step in run.steps)
    return Figures(
        steps=len(routed),
        steps_large=len(large),
        share_steps=_share(len(large), len(routed)),
        tokens=tokens,
        tokens_large=tokens_large,
        share_tokens=_share(tokens_large, tokens),
        seconds=seconds,
        catch_up_tokens=sum(step.catch_up_tokens for step in run.steps),
        catch_up_seconds=catch_up_seconds,
        share_catch_up=_share(catch_up_seconds, seconds),
        small_tokens_per_second=_speed(run, "small"),
        large_tokens_per_second=_speed(run, "large"),
        network_seconds=_network(run),
    )


def _network(run: Run) -> float:
    models = () if run.stats is None else (run.stats.small, run.stats.large)
    return sum((model.network_seconds for model in models if model is not None), 0.0)


def what_if(steps: Sequence[Step], threshold_nats: float) -> WhatIf:
    """Hold a threshold, in nats, against the entropies of a run: small if H <= threshold, as routing does."""
    told = [(step, writer) for step in steps if (writer := decided_by(threshold_nats, step))]
    moved = [(step, writer) for step, writer in told if writer != step.model]
    fixed = sum(step.reason in _NOT_BY_POLICY for step in steps)
    routed = _routed(steps)
    large = [step for step in routed if step.model == "large"]
    to_large = sum(writer == "large" for _, writer in moved)
    more = sum((1 if writer == "large" else -1) for step, writer in moved if step.part != "answer" and step.tokens)
    return WhatIf(
        threshold_nats=threshold_nats,
        told=len(told),
        untold=len(steps) - fixed - len(told),
        fixed=fixed,
        moved=tuple(step.index for step, _ in moved),
        to_small=len(moved) - to_large,
        to_large=to_large,
        share_steps_was=_share(len(large), len(routed)),
        share_steps_would_be=_share(len(large) + more, len(routed)),
    )


def decided_by(threshold_nats: float, step: Step) -> Model | None:
    """Give the model a threshold would have had write a step; None where it cannot be told, or is not its matter."""
    if step.entropy_nats is None or step.reason in _NOT_BY_POLICY:
        return None
    return by_threshold(Glimpse(step.entropy_nats, 0, 0), threshold_nats).model


def held_against(step: Step) -> tuple[str, str]:
    """Give a step's entropy and what it was held against, "0.12" and "<= 0.30"; empty where there was none."""
    entropy, threshold = step.entropy_nats, step.threshold_nats
    if entropy is None or threshold is None:
        return "" if entropy is None else f"{entropy:.2f}", ""
    sign = ">" if entropy > threshold else "<="
    shown = [(f"{entropy:.{digits}f}", f"{threshold:.{digits}f}") for digits in _DIGITS]
    first, second = next((pair for pair in shown if pair[0] != pair[1]), shown[0])
    return first, f"{sign} {second}"


def why(step: Step) -> str:
    """Say why a step went where it did: "confident: 0.12 <= 0.30"."""
    entropy, threshold = held_against(step)
    return f"{step.reason}: {f'{entropy} {threshold}' if threshold else _REASONS.get(step.reason, '')}".rstrip(": ")


def in_words(found: WhatIf) -> list[str]:
    """Say what a what-if has found, a sentence each."""
    if not found.told:
        if found.untold:
            return ["the small model did not look at any step, so no threshold can be held against it"]
        return ["there is no step that a policy decided, so no threshold can be held against it"]
    many = f"{len(found.moved)}" if found.moved else "none"
    parts = f": {found.to_large} to the large one, {found.to_small} to the small one" if found.moved else ""
    of = f"of the {_steps(found.told)} with a glimpse"
    said = [f"at {found.threshold_nats:.4g} nats, {many} {of} would have gone to the other model{parts}"]
    if found.moved:
        said.append(
            f"steps on the large model: {units.share(found.share_steps_was)} as it was, "
            f"{units.share(found.share_steps_would_be)} so"
        )
        said.append(f"only the first of them, step {found.moved[0]}, is certain: what follows would be another text")
    if found.untold:
        said.append(f"{_steps(found.untold)} without a glimpse cannot be told")
    return said


def about(run: Run) -> str:
    """Say what kind of run it was and how it ended."""
    parts = [part for part in (run.pair, run.policy, None if run.seed is None else f"seed {run.seed}") if part]
    if run.problem is not None:
        parts = [of_bench(run), *parts]
    parts.append("cut short" if run.finish is None else run.finish.replace("_", " "))
    return " · ".join([*parts, *(["damaged"] if run.damaged else [])])


def of_bench(run: Run) -> str:
    """Say which run of a bench it is, and what came of it."""
    verdict = "right" if run.correct else "wrong"
    return " · ".join([f"problem {run.problem}", f"arm {run.arm}", f"repeat {run.repeat}", verdict])


def totals(run: Run) -> str:
    """Put the figures of a run into one line."""
    found = figures(run)
    speeds = (("small", found.small_tokens_per_second), ("large", found.large_tokens_per_second))
    return " · ".join(
        [
            f"{_steps(found.steps)}, {units.share(found.share_steps)} large",
            f"{found.tokens:,} tokens, {units.share(found.share_tokens)} large",
            *(f"{model} {units.speed(speed)}" for model, speed in speeds if speed is not None),
            units.duration(found.seconds),
            f"catch-up {units.share(found.share_catch_up)} of it ({found.catch_up_tokens:,} tokens)",
            *([f"network {units.duration(found.network_seconds)}"] if found.network_seconds else []),
        ]
    )


def as_json(run: Run, number: int, what_if: WhatIf | None) -> bytes:
    """Give a run as one line of JSON; docs/json.md describes it field by field."""
    value = {
        "run": number,
        "question": run.question,
        "system": run.system,
        "pair": run.pair,
        "policy": run.policy,
        "seed": run.seed,
        "finish_reason": run.finish,
        "thought_end": run.thought_end,
        "problem": run.problem,
        "arm": run.arm,
        "repeat": run.repeat,
        "correct": run.correct,
        "damaged": run.damaged,
        "figures": figures(run),
        "what_if": what_if,
        "notices": run.notices,
        "answer": run.answer,
        "steps": run.steps,
    }
    return msgspec.json.encode(value)


def _routed(steps: Sequence[Step]) -> list[Step]:
    """Give the steps that shares are of, as `Stats` has them."""
    return [step for step in steps if step.part != "answer" and step.tokens]


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _speed(run: Run, model: Model) -> float | None:
    found = getattr(run.stats, model) if run.stats else None
    return found.tokens_per_second if found and found.tokens else None


def _steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"
