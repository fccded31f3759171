"""What drafting costs one model, and what it brings: measured while it writes.

A round computes one token and behind it some drafted ones in one batch. It pays where the tokens that come true save
more time than the larger batch and the drafting cost. What a batch of some size costs differs by a factor
between a GPU (hardly more than one token) and a few CPU cores (nearly that many tokens), and how often a draft comes
true differs from text to text: so both are measured, and nothing is assumed but a hopeful beginning. Knows no models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glimp_local.settings import MAX_DRAFT

_HOPE = 0.25
"""An unmeasured token of a batch is hoped to cost this part of one by itself, or of one measured before it."""
_FASTER, _SLOWER = 0.5, 0.05
"""Weight of a new measurement against those before: what else a machine does can only add to what a batch costs."""
_MARGIN = 0.15
"""Drafts must gain this part of what their batch costs: estimates are rough, and hopeful."""
_DOUBT = 0.01
"""Behind n batches of several tokens what one cost is doubted an nth of this more each round: what did not pay is tried
again, the later the less it did and the more often it was tried."""
_CAUTIOUS = 4
"""Longer drafts are tried once a token of such a one has cost less than _CHEAP of one computed by itself."""
_CHEAP = 0.6
_KEEP = 0.99
"""How much of what drafts brought counts on at the next outcome."""
_PRIOR = 4.0
"""A prior chance weighs as much as this many outcomes."""
_STALE = 128
"""A token is computed by itself at least once in this many rounds, to know what drafts are compared with."""


class Economy:
    """Decides how many drafted tokens are worth computing.

    A `grade` tells drafts of different reliability apart; `priors` has the chance of each grade that a token comes
    true, before any was seen.
    """

    def __init__(self, priors: Sequence[float]) -> None:
        self._priors = priors
        self._hits = [0.0] * len(priors)
        self._tries = [0.0] * len(priors)
        self._seconds: list[float | None] = [None] * (MAX_DRAFT + 2)  # by the number of tokens in a batch
        self._measured = [0] * (MAX_DRAFT + 2)  # when, in rounds
        self._tries_in_all = 0
        self._longest = _CAUTIOUS
        self._round = 0
        self._spent_seconds = self._gained_tokens = 0.0

    @property
    def plain_seconds(self) -> float | None:
        """What a token costs by itself, in seconds; None until one was computed so."""
        return self._seconds[1]

    def chance(self, grade: int) -> float:
        """Estimate the probability that a drafted token of a grade comes true."""
        return (self._hits[grade] + _PRIOR * self._priors[grade]) / (self._tries[grade] + _PRIOR)

    def judge(self, grade: int, *, came_true: bool) -> None:
        """Take note of what became of a drafted token."""
        self._hits[grade] = _KEEP * self._hits[grade] + came_true
        self._tries[grade] = _KEEP * self._tries[grade] + 1.0
        if came_true:
            self._gained_tokens += 1.0

    def measure(
        self, tokens: int, seconds: float, drafting_seconds: float = 0.0, *, behind_another: bool = False
    ) -> None:
        """Record what a batch of this many tokens cost, and the drafting before it.

        One token `behind_another` size of batch costs more than one among others of its kind: its graph is built again.
        That is a cost of the drafting, and tells nothing of a token by itself.
        """
        if not (behind_another and tokens == 1):
            before = self._seconds[tokens]
            if before is None:
                self._seconds[tokens] = seconds
            else:
                self._seconds[tokens] = before + (_FASTER if seconds < before else _SLOWER) * (seconds - before)
            self._measured[tokens] = self._round
        self._tries_in_all += tokens > 1
        if tokens > self._longest and seconds < _CHEAP * tokens * (self._seconds[1] or 0.0):
            self._longest = min(2 * self._longest, MAX_DRAFT)
        self._round += 1
        self._spent_seconds = _KEEP * self._spent_seconds + seconds + drafting_seconds
        self._gained_tokens = _KEEP * self._gained_tokens + 1.0

    def costs(self) -> list[float]:
        """Estimate what a batch costs, in seconds, by its number of tokens (index 0 is no batch).

        Between two sizes that were measured a straight line is drawn; beyond them it goes on hopefully.
        """
        plain = self._seconds[1] or 0.0
        costs, slope = [0.0, plain], _HOPE * plain
        for size in range(2, MAX_DRAFT + 2):
            if (known := self._known(size, plain)) is not None:
                start, rise = len(costs), (known - costs[-1]) / (size - len(costs) + 1)
                costs += [costs[start - 1] + rise * step for step in range(1, size - start + 2)]
                slope = _HOPE * max(known - plain, 0.0) / (size - 1)
        costs += [costs[-1] + slope * step for step in range(1, MAX_DRAFT + 3 - len(costs))]
        return costs

    def _known(self, size: int, plain: float) -> float | None:
        seconds = self._seconds[size]
        if seconds is None:
            return None
        hoped = plain * (1 + _HOPE * (size - 1))
        faith = math.exp(-_DOUBT / self._tries_in_all * (self._round - self._measured[size]))
        return seconds if seconds < hoped else hoped + faith * (seconds - hoped)

    @property
    def token_seconds(self) -> float:
        """What a token has cost lately, drafts included: what one that comes true is worth."""
        plain = self._seconds[1] or 0.0
        return min(plain, self._spent_seconds / self._gained_tokens) if self._gained_tokens else plain

    @property
    def is_due(self) -> bool:
        """Must a token be computed by itself now, to have a measure?"""
        return self._seconds[1] is None or self._round - self._measured[1] >= _STALE

    def best_length(self, chances: Sequence[float], each_seconds: float = 0.0) -> int:
        """Give how many drafted tokens are worth computing, 0 for none.

        `chances` has each token's probability to come true where those before it did; `each_seconds` is what drafting
        one costs, 0 where they are drafted already.
        """
        if self.is_due:
            return 0
        costs, worth = self.costs(), self.token_seconds
        best, best_gain, reach, expected = 0, 0.0, 1.0, 0.0
        for length, chance in enumerate(chances[: self._longest], start=1):
            reach *= chance
            expected += reach
            cost = costs[length + 1] + each_seconds * length
            gain = worth * expected + costs[1] - (1 + _MARGIN) * cost
            if gain > best_gain:
                best, best_gain = length, gain
        return best
