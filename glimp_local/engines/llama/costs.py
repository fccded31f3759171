"""What a model's batches cost, in seconds, by their number of tokens: measured while it computes.

The cost does not grow evenly. A CPU computes repacked weights four rows at a time and the remaining rows one by one
(llama.cpp's repack.cpp), so three tokens cost more than four, and fifteen more than sixteen; a GPU's kernels for small
batches end at eight rows. Nothing is assumed of a processor: measurements decide which batch sizes are used.

All of them cost more behind a long text. Costs are therefore kept in a table for each range of depths, and a size that
was not measured in a range is estimated from the range before, by what the other sizes cost in both. Knows no models.
"""

from __future__ import annotations

from collections.abc import Mapping

LARGEST = 32
"""Tokens of the largest batch that is measured: in larger ones the remaining rows matter little."""
_FASTER, _SLOWER = 0.5, 0.05
"""Weight of a new measurement against those before: what else a machine does can only add to what a batch costs."""
_RATIO = 0.5
"""Weight of a new measurement in the ratio of two ranges."""
_GAIN = 0.95
"""A padded batch has to cost less than this part of the plain one."""
_AGAIN = 16
"""Every 16th batch that could be padded is not: its own size may have been measured at a bad moment."""
_SHALLOW = 64
"""The first range of depths, in tokens, ends at twice this; each one behind it is twice as long."""


class Costs:
    """The costs of one model on one machine; `seconds` are those known from before, behind a short text."""

    def __init__(self, seconds: Mapping[int, float] | None = None) -> None:
        self.largest_known = 0
        """The most tokens of a batch that was measured; 0 if none was."""
        self.is_measured = False
        """Did the last batch count as a measurement?"""
        self.latest = 0.0
        """What the last batch cost, in seconds, whether it counts or not."""
        self._last = self._padded = 0
        self.put(seconds or {})

    def put(self, seconds: Mapping[int, float]) -> None:
        """Replace everything that was measured; these were, behind a short text."""
        self._range = _range_of(0)
        self._here = _Table([seconds.get(tokens) for tokens in range(LARGEST + 1)])
        self._tables = {self._range: self._here}
        self.largest_known = max(seconds, default=0)

    def measure(self, tokens: int, seconds: float, *, depth: int = 0) -> None:
        """Record what a batch cost behind `depth` tokens.

        One token behind another size of batch costs more than one among others of its kind, because its graph is built
        again: that tells nothing of a token by itself.
        """
        behind, self._last, self.latest = self._last, tokens, seconds
        self.is_measured = tokens <= LARGEST and (tokens > 1 or behind == 1)
        if self._range != (now := _range_of(depth)):
            before, self._range = self._here, now
            self._here = self._tables.setdefault(now, _Table([None] * (LARGEST + 1)))
            self._here.estimate_from(before)
        if self.is_measured:
            self._here.measure(tokens, seconds)
            self.largest_known = max(self.largest_known, tokens)

    def known(self, tokens: int) -> float | None:
        """Return what a batch costs now, in seconds; None if none of its size was measured."""
        return self._here.known(tokens) if tokens <= LARGEST else None

    @property
    def all_known(self) -> dict[int, float]:
        """All that was measured, by the number of tokens: behind a short text, or the shortest there was."""
        tables = (self._tables[number] for number in sorted(self._tables))
        shortest = next((table for table in tables if any(table.measured)), self._here)
        return {tokens: cost for tokens in range(1, LARGEST + 1) if (cost := shortest.known(tokens)) is not None}

    def padded(self, tokens: int, most: int) -> int:
        """Return the cheapest batch size, at most `most`, for `tokens` tokens: that many, or more."""
        plain = self.known(tokens)
        if plain is None:
            return tokens
        sizes = range(tokens + 1, min(most, LARGEST) + 1)
        best, cost = min(
            ((size, cost) for size in sizes if (cost := self._here.known(size)) is not None),
            key=lambda each: each[1],
            default=(tokens, plain),
        )
        if cost >= _GAIN * plain:
            return tokens
        self._padded += 1
        return best if self._padded % _AGAIN else tokens


class _Table:
    """The costs in one range of depths, by the number of tokens."""

    def __init__(self, measured: list[float | None]) -> None:
        self.measured = measured
        self._elsewhere: list[float | None] = [None] * len(measured)
        self._ratio: float | None = None  # of the costs here to those elsewhere

    def estimate_from(self, other: _Table) -> None:
        """Estimate sizes of which nothing is known from another range."""
        for tokens, cost in enumerate(self._elsewhere):
            if cost is None:
                self._elsewhere[tokens] = other.known(tokens)

    def measure(self, tokens: int, seconds: float) -> None:
        before, elsewhere = self.measured[tokens], self._elsewhere[tokens]
        if before is None:
            self.measured[tokens] = seconds
        else:
            self.measured[tokens] = before + (_FASTER if seconds < before else _SLOWER) * (seconds - before)
        if elsewhere:
            ratio = seconds / elsewhere
            self._ratio = ratio if self._ratio is None else self._ratio + _RATIO * (ratio - self._ratio)

    def known(self, tokens: int) -> float | None:
        if (seconds := self.measured[tokens]) is not None:
            return seconds
        elsewhere = self._elsewhere[tokens]
        return elsewhere if elsewhere is None or self._ratio is None else elsewhere * self._ratio


def _range_of(depth: int) -> int:
    """Return the number of the range that a depth is in."""
    return max(depth, _SHALLOW).bit_length()
