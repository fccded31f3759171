"""What models have read of conversations they are not in now, kept in memory for when these continue.

One shelf has a limit in bytes over all models that use it. Where it is full, what was used longest ago goes first; what
was asked only once, like a request for a title, counts as older than it is. What a model needs to come back is its own
business: here it is a thing of some size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

_ONCE = 32
"""Uses by which single questions count as older. A chat window asks for a title, tags and follow-up questions behind
each answer: with two models that is eight uses a turn, and none of them may push out a conversation."""


def tokens_of(ids: Sequence[int]) -> Tokens:
    """Return token ids in the form that is compared here."""
    return np.array(ids, np.int32)


def common_length(one: Tokens, other: Tokens) -> int:
    """Count the tokens with which both begin."""
    shorter = min(len(one), len(other))
    differing = one[:shorter] != other[:shorter]
    return int(differing.argmax()) if differing.any() else shorter


def reach(common: int, length: int, stops: Sequence[int] | None) -> int:
    """Return how many tokens are left of `length` when at most `common` may be: any number, or one of the `stops`."""
    if stops is None or common == length:
        return common
    return max((stop for stop in stops if stop <= common), default=0)


@dataclass(eq=False)
class Kept:
    """What one model has read of one conversation."""

    owner: object
    """The model."""
    ids: Tokens
    content: Any
    """What the model comes back with."""
    size_bytes: int
    stops: tuple[int, ...] | None
    """The lengths that it can be cut to; None is any."""
    goes_on: bool
    """Is it more than a single question?"""
    used: int = 0
    """When it was used last, in the shelf's own count."""

    def spares(self, ids: Tokens) -> int:
        """Return how many tokens at the beginning of a text need not be read by whoever has this."""
        return reach(common_length(self.ids, ids), len(self.ids), self.stops)


class Shelf:
    """Takes `limit_bytes` at most."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._kept: list[Kept] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """What it takes now."""
        return sum(kept.size_bytes for kept in self._kept)

    def of(self, owner: object) -> list[Kept]:
        """Return all that is kept of a model."""
        return [kept for kept in self._kept if kept.owner is owner]

    def best(self, owner: object, ids: Tokens) -> tuple[Kept | None, int]:
        """Return what spares a model most of reading `ids`, and how many tokens."""
        found = [(kept.spares(ids), kept.used, kept) for kept in self.of(owner)]
        spared, _, kept = max(found, key=lambda each: each[:2], default=(0, 0, None))
        return (kept, spared) if spared else (None, 0)

    def make_room(self, size_bytes: int, *, goes_on: bool, beside: Kept | None) -> bool:
        """Remove what has to make room for `size_bytes`; return False if there is not enough.

        What is younger than what comes, and what stands in `beside`, stays.
        """
        self._count += 1
        missing, leaving = self.size_bytes + size_bytes - self.limit_bytes, []
        for kept in sorted((kept for kept in self._kept if kept is not beside), key=self._age, reverse=True):
            if missing <= 0 or self._age(kept) < _handicap(goes_on):
                break
            leaving.append(kept)
            missing -= kept.size_bytes
        if missing > 0:
            return False
        for kept in leaving:
            self.remove(kept)
        return True

    def _age(self, kept: Kept) -> int:
        return self._count - kept.used + _handicap(kept.goes_on)

    def put(self, kept: Kept) -> None:
        """Keep something that room was made for."""
        self._kept.append(kept)
        self.use(kept)

    def use(self, kept: Kept) -> None:
        """Note that something was used now."""
        self._count += 1
        kept.used = self._count

    def remove(self, kept: Kept) -> None:
        """Let go of something."""
        self._kept.remove(kept)

    def forget(self, owner: object) -> None:
        """Let go of all that is of a model."""
        self._kept = [kept for kept in self._kept if kept.owner is not owner]


def _handicap(goes_on: bool) -> int:
    return 0 if goes_on else _ONCE
