"""What drafting costs one model, and what it brings: measured while it writes.

A round computes one token and behind it some drafted ones in one batch. It pays where the tokens that come true save
more time than the larger batch and the drafting cost. What a batch of some size costs differs by a factor
between a GPU (hardly more than one token) and a few CPU cores (nearly that many tokens), and how often a draft comes
true differs from text to text: so both are measured, and nothing is assumed but a hopeful beginning. Knows no models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glimp_local.engines.llama.costs import Costs
from glimp_local.settings import MAX_DRAFT

_HOPE = 0.25
"""An unmeasured token of a batch is hoped to cost this part of one by itself, or of one measured before it."""
_MARGIN = 0.15
"""Drafts must gain this part of what their batch costs: estimates are rough, and hopeful."""
_DOUBT = 0.01
"""Behind n batches of several tokens what one cost is doubted an nth of this more each round: what did not pay is tried
again, the later the less it did and the more often it was tried."""
_CAUTIOUS = 3
"""Longer drafts are tried once a token of such a one has cost less than _CHEAP of one computed by itself."""
_ROWS = 4
"""Sizes that were never measured are tried as multiples of this: where costs have steps, those are the cheap sizes."""
_CHEAP = 0.6
_HOPED = 0.7
"""The chance of the other model's guesses before any was seen."""
_LATELY = 0.97
"""Weight of earlier guesses when one is added,..."""
_RECOVERY = 0.98
"""...and what remains of their chance's weight, and of their price, each time none is asked for."""
_WEIGHT = 0.1
"""Of the latest one in what a guess costs."""
_KEEP = 0.99
"""How much of what drafts brought counts on at the next outcome."""
_PRIOR = 4.0
"""A prior chance weighs as much as this many outcomes."""
_RISK = 0.005
"""Drafts that did not pay may have cost this part of the time spent lately."""
_CREDIT = 8.0
"""As many tokens' time may be lost at first, or after drafts that paid."""
_FADE = 0.998
"""How much of what was lost and spent counts on in the next round."""
_STALE = 128
"""A token is computed by itself at least once in this many rounds, to know what drafts are compared with."""


class Guesses:
    """What the other model's guesses are like: what one costs, and the chance that the next one comes true."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        """What a guess costs; None before the first."""
        self._chances = self._count = 0.0

    @property
    def chance(self) -> float:
        """The chance to come true of a guess that was not made yet."""
        return (self._chances + _PRIOR * _HOPED) / (self._count + _PRIOR)

    def add(self, chance: float) -> None:
        """Count a guess by its chance."""
        self._chances = _LATELY * self._chances + chance
        self._count = _LATELY * self._count + 1.0

    def spend(self, seconds: float) -> None:
        """Count what a guess cost."""
        self.seconds = seconds if self.seconds is None else self.seconds + _WEIGHT * (seconds - self.seconds)

    def hope(self) -> None:
        """Count that none was asked for, because they did not pay: they may do so again."""
        if self.chance < _HOPED:
            self._chances, self._count = _RECOVERY * self._chances, _RECOVERY * self._count
        if self.seconds is not None:
            self.seconds *= _RECOVERY


class Economy:
    """Decides how many drafted tokens are worth computing.

    A `grade` tells drafts of different reliability apart; `priors` has the chance of each grade that a token comes
    true, before any was seen. `costs` is what the model's batches cost, which others measure.
    """

    def __init__(self, priors: Sequence[float], costs: Costs) -> None:
        self.guesses = Guesses()
        """The other model's."""
        self._costs = costs
        self._priors = priors
        self._hits = [0.0] * len(priors)
        self._tries = [0.0] * len(priors)
        self._computed = [0] * (MAX_DRAFT + 2)  # by the number of tokens: in which round a batch was last computed
        self._tries_in_all = 0
        self._longest = _CAUTIOUS
        self._round = 0
        self._spent_seconds = self._gained_tokens = 0.0
        self._lost, self._spent = -_CREDIT, 0.0  # by drafting, and in all: in plain tokens' time

    @property
    def is_measured(self) -> bool:
        """Did the last batch count as a measurement?"""
        return self._costs.is_measured

    @property
    def plain_seconds(self) -> float | None:
        """What a token costs by itself, in seconds; None until one was computed so."""
        return self._costs.known(1)

    def chance(self, grade: int) -> float:
        """Estimate the probability that a drafted token of a grade comes true."""
        return (self._hits[grade] + _PRIOR * self._priors[grade]) / (self._tries[grade] + _PRIOR)

    def judge(self, grade: int, *, came_true: bool) -> None:
        """Take note of what became of a drafted token."""
        self._hits[grade] = _KEEP * self._hits[grade] + came_true
        self._tries[grade] = _KEEP * self._tries[grade] + 1.0
        if came_true:
            self._gained_tokens += 1.0
            self._lost = max(self._lost - 1.0, -_CREDIT)

    def spend(self, tokens: int, seconds: float, drafting_seconds: float = 0.0) -> None:
        """Add the seconds of a batch and of the drafting before it; call it after the batch was measured."""
        if self._costs.is_measured:
            self._computed[tokens] = self._round
        self._tries_in_all += tokens > 1
        if tokens > self._longest and seconds < _CHEAP * tokens * (self.plain_seconds or 0.0):
            self._longest = min(2 * self._longest + 1, MAX_DRAFT)
        self._round += 1
        spent = seconds + drafting_seconds
        self._spent_seconds = _KEEP * self._spent_seconds + spent
        self._gained_tokens = _KEEP * self._gained_tokens + 1.0
        if plain := self.plain_seconds:
            # What such a batch usually costs: a machine that was busy for a moment says nothing of drafts.
            lost = ((self._costs.known(tokens) or seconds) + drafting_seconds) / plain - 1.0
            self._lost = _FADE * self._lost + (min(lost, 2.0 * tokens) if tokens > 1 or drafting_seconds else 0.0)
            self._spent = _FADE * self._spent + spent / plain

    def costs(self) -> list[float]:
        """Estimate what a batch costs, in seconds, by its number of tokens (index 0 is no batch).

        Sizes between two measured ones are interpolated linearly; larger ones than any are assumed to be cheap, so that
        they are tried. A batch costs no more than a larger one, because it can be padded.
        """
        plain = self.plain_seconds or 0.0
        costs, slope = [0.0, plain], _HOPE * plain
        for size in range(2, self._costs.largest_known + 1):
            if (known := self._known(size, plain)) is not None:
                start, rise = len(costs), (known - costs[-1]) / (size - len(costs) + 1)
                costs += [costs[start - 1] + rise * step for step in range(1, size - start + 2)]
                slope = _HOPE * max(known - plain, 0.0) / (size - 1)
        costs += [costs[-1] + slope * step for step in range(1, MAX_DRAFT + 3 - len(costs))]
        for size in range(len(costs) - 2, 1, -1):
            costs[size] = min(costs[size], costs[size + 1])
        return costs[: MAX_DRAFT + 2]

    def _known(self, size: int, plain: float) -> float | None:
        seconds = self._costs.known(size)
        if seconds is None:
            return None
        hoped = plain * (1 + _HOPE * (size - 1))
        if size > MAX_DRAFT + 1:  # a catch-up: no draft is that long
            return seconds
        faith = math.exp(-_DOUBT / max(self._tries_in_all, 1) * (self._round - self._computed[size]))
        return seconds if seconds < hoped else hoped + faith * (seconds - hoped)

    @property
    def token_seconds(self) -> float:
        """What a token has cost lately, drafts included: what one that comes true is worth."""
        plain = self.plain_seconds or 0.0
        return min(plain, self._spent_seconds / self._gained_tokens) if self._gained_tokens else plain

    @property
    def is_due(self) -> bool:
        """Must a token be computed by itself now, to have a measure?"""
        return self.plain_seconds is None or self._round - self._computed[1] >= _STALE

    def best_length(self, chances: Sequence[float], each_seconds: float = 0.0) -> int:
        """Give how many drafted tokens are worth computing, 0 for none.

        `chances` has each token's probability to come true where those before it did; `each_seconds` is what drafting
        one costs, 0 where they are drafted already.
        """
        if self.is_due or self._lost > _RISK * self._spent:
            return 0
        costs, worth = self.costs(), self.token_seconds
        best, best_gain, reach, expected = 0, 0.0, 1.0, 0.0
        longest = max(self._longest, self._costs.largest_known - 1)
        for length, chance in enumerate(chances[:longest], start=1):
            reach *= chance
            expected += reach
            cost = costs[length + 1] + each_seconds * length
            gain = worth * expected + costs[1] - (1 + _MARGIN) * cost
            if gain > best_gain:
                best, best_gain = length, gain
        if best and self._costs.known(best + 1) is None:
            rounded = -(-(best + 1) // _ROWS) * _ROWS - 1
            return rounded if rounded <= min(len(chances), longest) else best
        return best
