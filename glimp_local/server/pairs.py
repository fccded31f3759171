"""The pairs of a server: one, or all that are on this machine, which are loaded when they are first asked for.

If memory is short for one, the one that was not used for the longest time makes room for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from glimp_local.load import LoadRequest
from glimp_local.server import names
from glimp_local.server.hand import Hand
from glimp_local.server.line import Line


class Pairs:
    """Hands for the pairs with these names; the first one is loaded at once, and answers what names no other.

    Those named in `elsewhere` have no model on this machine.
    """

    def __init__(self, requests: Mapping[str, LoadRequest], line: Line, *, elsewhere: Collection[str] = ()) -> None:
        self.line = line
        self._hands: dict[str, Hand] = {}
        for name, request in requests.items():
            self._hands[name] = Hand(request, line, _Others(self, name), is_elsewhere=name in elsewhere)
        self.first = next(iter(self._hands.values()))

    def __iter__(self) -> Iterator[Hand]:
        return iter(self._hands.values())

    def items(self) -> Iterator[tuple[str, Hand]]:
        """Yield the names, and who holds the pairs."""
        yield from self._hands.items()

    def of(self, model: str | None) -> Hand:
        """Return who holds the pair of a model's id; the first one without. Raises UnknownModelError."""
        if not model:
            return self.first
        found = [name for name in self._hands if names.is_of(model, name)]
        if not found:
            raise names.UnknownModelError(model, list(self._hands))
        return self._hands[max(found, key=len)]  # a name may have a colon

    async def close(self) -> None:
        """Cancel what is running and free all pairs."""
        for hand in self:
            await hand.close()


class _Others:
    """All pairs but one."""

    def __init__(self, pairs: Pairs, name: str) -> None:
        self._pairs = pairs
        self._name = name

    def _loaded(self) -> list[Hand]:
        return [hand for name, hand in self._pairs.items() if name != self._name and hand.ready is not None]

    @property
    def mapped_bytes(self) -> int:
        """Pages of their files that they need."""
        return sum(hand.ready.mapped_bytes for hand in self._loaded() if hand.ready is not None)

    async def make_room(self) -> bool:
        """Unload the one that was not used for the longest time, is not at work, and takes memory of this machine."""
        idle = [hand for hand in self._loaded() if not hand.is_busy and hand.ready and hand.ready.computes_here]
        if not idle:
            return False
        await min(idle, key=lambda hand: hand.used).unload()
        return True
