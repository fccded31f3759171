"""Which model writes the next step, and why.

A policy turns one glimpse into a decision. Policies know nothing about models, text or terminals; the session adds
what no policy can know: steps forced by the user, by a loop, or by a redo.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, get_args

import msgspec

Model = Literal["small", "large"]
MODELS: tuple[Model, ...] = get_args(Model)

PolicyName = Literal["threshold", "share", "small", "large", "random", "speculative"]

Reason = Literal[
    "confident",  # the entropy is at or below the threshold: the small model writes
    "uncertain",  # the entropy is above the threshold: the large model writes
    "policy",  # the policy knows only one model
    "random",  # the random policy drew it
    "loop",  # the step before went in circles, or repeated itself
    "user",  # the user forced the step
    "redo",  # the step is being written again
    "answer",  # the setting says who writes the answer
    "failure",  # the large model has failed, and the small one continues
]


class Glimpse(msgspec.Struct, frozen=True):
    """What one look at a next-token distribution shows."""

    entropy_nats: float
    """H = -sum p ln p over the vocabulary (or over the `top_k` likeliest tokens, renormalised), in nats."""
    top1_probability: float
    """Probability of the likeliest token, over the same tokens as the entropy."""
    margin: float
    """Probability of the likeliest token less that of the second."""


class Decision(msgspec.Struct, frozen=True):
    """Who writes a step, and why."""

    model: Model
    reason: Reason
    threshold_nats: float | None = None
    """The threshold the entropy was held against; None where none was."""


class Policy(Protocol):
    """Decides who writes a step."""

    name: PolicyName
    models: tuple[Model, ...]
    """The models the policy needs; the others need not be loaded."""
    glimpses: bool
    """Is the small model, where it is loaded, to look at each step's first token?"""

    def decide(self, glimpse: Glimpse | None) -> Decision:
        """Choose the writer of a step from the small model's glimpse (None where no small model is loaded)."""
        ...


def by_threshold(glimpse: Glimpse | None, threshold_nats: float) -> Decision:
    """Apply GlimpRouter's rule (arXiv 2601.05110): small if H <= threshold, else large. Equality goes to small."""
    if glimpse is None:
        raise ValueError("a threshold needs a glimpse to be held against")
    if glimpse.entropy_nats > threshold_nats:
        return Decision("large", "uncertain", threshold_nats)
    return Decision("small", "confident", threshold_nats)


def threshold_for(share: float, entropies_nats: Sequence[float]) -> float:
    """Give the threshold that at most `share` of the entropies, in rising order, lie above: a quantile in nats.

    It is one of them; where all have to lie above it, it is negative, below every entropy.
    """
    above = int(share * len(entropies_nats))
    return -1.0 if above >= len(entropies_nats) else entropies_nats[len(entropies_nats) - 1 - above]


class Threshold:
    """The paper's rule: a fixed threshold in nats."""

    name: PolicyName = "threshold"
    models = MODELS
    glimpses = True

    def __init__(self, threshold_nats: float) -> None:
        self.threshold_nats = threshold_nats

    def decide(self, glimpse: Glimpse | None) -> Decision:
        """Hold the entropy against the threshold."""
        return by_threshold(glimpse, self.threshold_nats)


class Share:
    """Aims at a share of steps on the large model.

    The threshold is the (1 - share) quantile of the entropies seen so far: the pair's stored history first, then
    this session's own. Until there are MINIMUM of them, `threshold_nats` stands in. A step's own entropy counts
    only for the steps behind it.
    """

    name: PolicyName = "share"
    models = MODELS
    glimpses = True
    MINIMUM = 10

    def __init__(self, share: float, *, threshold_nats: float, history: Iterable[float] = ()) -> None:
        self.share = share
        self._first_threshold_nats = threshold_nats
        self._seen = sorted(history)

    @property
    def threshold_nats(self) -> float:
        """The threshold the next step will meet, in nats."""
        if len(self._seen) < self.MINIMUM:
            return self._first_threshold_nats
        return threshold_for(self.share, self._seen)

    def decide(self, glimpse: Glimpse | None) -> Decision:
        """Hold the entropy against the running quantile, then let it count."""
        decision = by_threshold(glimpse, self.threshold_nats)
        if glimpse is not None:
            insort(self._seen, glimpse.entropy_nats)
        return decision


class Alone:
    """One model writes everything; the other is not loaded."""

    glimpses = True

    def __init__(self, model: Model) -> None:
        self.name: PolicyName = model
        self.models: tuple[Model, ...] = (model,)

    def decide(self, glimpse: Glimpse | None) -> Decision:  # noqa: ARG002 - nothing a glimpse shows can change it
        """Choose the one model there is."""
        return Decision(self.models[0], "policy")


class Random:
    """Draws the writer: the control every other policy has to beat at the same share."""

    name: PolicyName = "random"
    models = MODELS
    glimpses = True

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self._random = random.Random(seed)  # noqa: S311 - a reproducible draw is the point

    def decide(self, glimpse: Glimpse | None) -> Decision:  # noqa: ARG002 - a control must not look
        """Draw the large model with the probability `share`."""
        return Decision("large" if self._random.random() < self.share else "small", "random")


class Speculative:
    """The large model writes everything, and the small one only drafts for it: the rival without routing."""

    name: PolicyName = "speculative"
    models = MODELS
    glimpses = False

    def decide(self, glimpse: Glimpse | None) -> Decision:  # noqa: ARG002 - nothing a glimpse shows can change it
        """Choose the large model."""
        return Decision("large", "policy")
