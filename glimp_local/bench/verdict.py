"""What a bench's figures mean, in words: does routing pay on this pair?

A difference of accuracy counts where its 95% interval leaves no difference out and McNemar's test agrees, one of time
where its interval does; what the problems cannot tell is said to be so.
"""

from __future__ import annotations

import math
from typing import Literal

from glimp_local import units
from glimp_local.bench.figures import AgreementFigures, ArmFigures, Difference, Figures
from glimp_local.bench.statistics import Estimate

MARGIN = 0.05
"""An arm is as right as another one if it loses less than this, even at the interval's lower end."""

_CHANCE = 0.5
_FEW = 10
"""With fewer glimpses of either kind an AUROC says nothing."""
_WORTH_SAYING = 0.01
"""Of the time a problem takes the large model alone."""
_SIGNIFICANT = 0.05

Side = Literal["more", "less", "unclear"]

_IN_WORDS: dict[tuple[Side, Side], str] = {
    ("more", "less"): "beats the large model alone: more often right, and quicker",
    ("more", "unclear"): "beats the large model alone: more often right, in about the same time",
    ("more", "more"): "is more often right than the large model alone, and slower",
    ("unclear", "unclear"): "is not distinguishable from the large model alone",
    ("unclear", "more"): (
        "costs more than it saves: slower than the large model alone, and not shown to be more often right"
    ),
    ("less", "less"): "trades accuracy for time: less often right than the large model alone, and quicker",
    ("less", "unclear"): (
        "costs more than it saves: less often right than the large model alone, and not shown to be quicker"
    ),
    ("less", "more"): "costs more than it saves: less often right than the large model alone, and slower",
}
"""What right answers and time, beside those of the large model alone, come to."""


def verdict(figures: Figures, *, parallel: int = 1) -> list[str]:
    """Say what the bench shows, a paragraph each; `parallel` is the number of runs that shared the models at a time."""
    large, small = figures.arm("large"), figures.arm("small")
    said = []
    if parallel > 1:
        said.append(
            f"What is said of time below is of servers that {parallel} runs shared, and does not carry over to one run "
            "at a time: measure that without --parallel."
        )
    if large is None:
        said.append("Without the policy `large` there is nothing to hold the others against.")
    elif large.correct.value == 0:
        said.append("The large model alone solved none of these problems: they cannot tell what routing is good for.")
    said += [_routed(arm, large, figures) for arm in figures.arms if arm.kind in {"threshold", "share"}]
    if small is not None and small.less_large is not None and (alone := _small_alone(small.less_large)):
        said.append(alone)
    said += [
        f"{arm.name}: {_against_large(arm.less_large, figures.problems)}."
        for arm in figures.arms
        if arm.kind in {"specreason", "speculative"} and arm.less_large is not None
    ]
    if figures.agreement is not None:
        said.append(agreement_in_words(figures.agreement))
    return said


def _small_alone(found: Difference) -> str | None:
    """Say whether the large model is better at all; None where it is."""
    if _right(found) == "less":
        return None
    which = f"the small model alone is as right as the large one ({_points(found)})"
    if found.correct.low >= -MARGIN:
        return f"Within {100 * MARGIN:.0f} points {which}: here routing has nothing to win."
    return f"These problems cannot tell whether {which}, and so whether routing has anything to win."


def _routed(arm: ArmFigures, large: ArmFigures | None, figures: Figures) -> str:
    sentences = []
    if arm.less_large is not None and large is not None:
        sentences.append(f"{_against_large(arm.less_large, figures.problems)}. {_account(arm, large)}")
    if arm.less_random is not None:
        sentences.append(_against_chance(arm, arm.less_random))
    name = f"{arm.name} nats" if arm.kind == "threshold" else arm.name
    on_large = f"{units.share(arm.share_steps)} of the steps on the large model"
    return f"{name} ({on_large}): {' '.join(sentences) or 'no comparison.'}"


def _against_large(found: Difference, problems: int) -> str:
    said = _IN_WORDS.get((_right(found), _side(found.time, 1.0)))
    if said is None and found.correct.low >= -MARGIN:
        said = f"beats the large model alone: quicker, and as right within {100 * MARGIN:.0f} points"
    elif said is None:
        said = (
            f"is quicker than the large model alone, but {_problems(problems)} cannot tell whether it is as right"
            f"{_enough(found.correct, problems)}"
        )
    return f"{said} ({_points(found)}; {_times(found.time)})"


def _enough(correct: Estimate, problems: int) -> str:
    """Say how many problems could tell, if the rest are like these: the interval narrows with their square root."""
    half, room = (correct.high - correct.low) / 2, correct.value + MARGIN
    if room <= 0:
        return ""
    wanted = math.ceil(problems * (half / room) ** 2 / 10) * 10
    return f" within {100 * MARGIN:.0f} points; about {wanted:,} could" if wanted > problems else ""


def _account(arm: ArmFigures, large: ArmFigures) -> str:
    """Say what routing saves, and what it pays for that, in seconds a problem."""
    changes = {
        "the large model's writing": arm.seconds.large - large.seconds.large,
        "the small model's writing": arm.seconds.small - large.seconds.small,
        "catching up": arm.seconds.catch_up - large.seconds.catch_up,
        "reading the prompt": arm.seconds.prompt - large.seconds.prompt,
        "the network": arm.seconds.network - large.seconds.network,
        "all else": arm.seconds.rest - large.seconds.rest,
    }
    named = sorted(((abs(change), change, what) for what, change in changes.items()), reverse=True)
    counted = [(change, what) for size, change, what in named if size >= _WORTH_SAYING * large.mean_seconds]
    saved = ", ".join(f"{units.duration(-change)} of {what}" for change, what in counted if change < 0)
    paid = ", ".join(f"{units.duration(change)} for {what}" for change, what in counted if change > 0)
    tokens = (arm.tokens_small + arm.tokens_large) / max(large.tokens_small + large.tokens_large, 1)
    length = f" It writes {tokens - 1:+.0%} tokens." if abs(tokens - 1) >= MARGIN else ""
    return f"A problem, it saves {saved or 'nothing'} and pays {paid or 'nothing'}.{length}"


def _against_chance(arm: ArmFigures, found: Difference) -> str:
    on_large = f"{units.share(arm.share_steps)} of the steps on the large model, {units.share(found.share_steps)} there"
    beside = f"random routing ({on_large})"
    figures = f"{_points(found)}, p {p_value(found.p)}"
    match _right(found):
        case "more":
            return f"Entropy beats {beside}: {figures}."
        case "less":
            return f"Entropy does worse than {beside}: {figures}."
        case "unclear":
            return f"Entropy cannot be told from {beside}: {figures}."


def auroc_in_words(auroc: Estimate) -> str:
    """Write an AUROC with its interval, which one problem alone has not."""
    interval = "one problem alone: no interval" if math.isnan(auroc.low) else f"{auroc.low:.3f} to {auroc.high:.3f}"
    return f"AUROC {auroc.value:.3f} ({interval})"


def agreement_in_words(found: AgreementFigures) -> str:
    """Say how well the entropy tells where the large model would have begun a step otherwise."""
    steps = f"{units.share(found.otherwise)} of {found.glimpses:,} steps"
    begins = f"The large model would have begun {steps} with another token"
    otherwise = round(found.otherwise * found.glimpses)
    if min(otherwise, found.glimpses - otherwise) < _FEW:
        return f"{begins}: too much alike, or too few, to say what the entropy tells of it."
    auroc = auroc_in_words(found.auroc)
    if found.auroc.low > _CHANCE:
        return f"{begins}; the entropy tells which, {auroc}."
    return f"{begins}; the entropy is not shown to tell which, {auroc}."


def _right(found: Difference) -> Side:
    return _side(found.correct, 0.0) if found.p < _SIGNIFICANT else "unclear"


def _side(found: Estimate, nothing: float) -> Side:
    if found.low > nothing:
        return "more"
    return "less" if found.high < nothing else "unclear"


def _problems(count: int) -> str:
    return f"{count:,} problem{'s' * (count != 1)}"


def _points(found: Difference) -> str:
    correct = found.correct
    return f"{points(correct.value)} points ({points(correct.low)} to {points(correct.high)})"


def _times(time: Estimate) -> str:
    return f"{time.value:.2f} times the time ({time.low:.2f} to {time.high:.2f})"


def points(fraction: float) -> str:
    """Write a difference of shares in points, without a negative zero."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"


def p_value(p: float) -> str:
    """Write a p value behind its "p"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"  # noqa: PLR2004 - the least that three decimals can say
