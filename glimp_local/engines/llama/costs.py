"""What a model's batches cost, in seconds, by their number of tokens: measured while it computes.

The cost does not grow evenly. A CPU computes repacked weights four rows at a time and the remaining rows one by one
(llama.cpp's repack.cpp), so three tokens cost more than four, and fifteen more than sixteen; a GPU's kernels for small
batches end at eight rows. Nothing is assumed of a processor: measurements decide which batch sizes are used.

What every batch costs grows with the text behind it and with what else the machine does. Sizes measured at different
moments are therefore compared by what a single token cost at each of them. Knows no models.
"""

from __future__ import annotations

from collections.abc import Mapping

LARGEST = 32
"""Tokens of the largest batch that is measured: in larger ones the remaining rows matter little."""
_FASTER, _SLOWER = 0.5, 0.05
"""Weight of a new measurement against those before: what else a machine does can only add to what a batch costs."""
_GAIN = 0.95
"""A padded batch has to cost less than this part of the plain one."""
_AGAIN = 16
"""Every 16th batch that could be padded is not: its own size may have been measured at a bad moment."""


class Costs:
    """The costs of one model on one machine; `seconds` are those known from before."""

    def __init__(self, seconds: Mapping[int, float] | None = None) -> None:
        self._seconds: list[float | None] = [None] * (LARGEST + 1)
        self._single: list[float | None] = [None] * (LARGEST + 1)  # what one token cost when each size was measured
        for tokens, cost in (seconds or {}).items():
            self._seconds[tokens] = cost
            self._single[tokens] = (seconds or {}).get(1)
        self.largest_known = max(seconds or {}, default=0)
        """The most tokens of a batch that was measured; 0 if none was."""
        self.is_measured = False
        """Did the last batch count as a measurement?"""
        self._last = 0
        self._padded = 0

    def forget(self) -> None:
        """Forget everything that was measured."""
        self._seconds = [None] * (LARGEST + 1)
        self._single = [None] * (LARGEST + 1)
        self.largest_known = 0

    def measure(self, tokens: int, seconds: float) -> None:
        """Record what a batch cost.

        One token behind another size of batch costs more than one among others of its kind, because its graph is built
        again: that tells nothing of a token by itself.
        """
        behind, self._last = self._last, tokens
        self.is_measured = tokens <= LARGEST and (tokens > 1 or behind == 1)
        if not self.is_measured:
            return
        before = self.known(tokens)
        if before is None:
            before = seconds
            self.largest_known = max(self.largest_known, tokens)
        self._seconds[tokens] = before + (_FASTER if seconds < before else _SLOWER) * (seconds - before)
        self._single[tokens] = self._seconds[1]

    def known(self, tokens: int) -> float | None:
        """Return what a batch costs now, in seconds; None if none of its size was measured."""
        if tokens > LARGEST or (seconds := self._seconds[tokens]) is None:
            return None
        now, then = self._seconds[1], self._single[tokens]
        return seconds * now / then if tokens > 1 and now and then else seconds

    @property
    def all_known(self) -> dict[int, float]:
        """All that was measured, by the number of tokens."""
        return {tokens: cost for tokens in range(1, LARGEST + 1) if (cost := self.known(tokens)) is not None}

    def padded(self, tokens: int, most: int) -> int:
        """Return the cheapest batch size, at most `most`, for `tokens` tokens: that many, or more."""
        plain = self.known(tokens)
        if plain is None:
            return tokens
        sizes = range(tokens + 1, min(most, LARGEST) + 1)
        best, cost = min(
            ((size, cost) for size in sizes if (cost := self.known(size)) is not None),
            key=lambda each: each[1],
            default=(tokens, plain),
        )
        if cost >= _GAIN * plain:
            return tokens
        self._padded += 1
        return best if self._padded % _AGAIN else tokens
