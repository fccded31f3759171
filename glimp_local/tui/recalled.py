"""The messages that the arrows bring back into the box, with what was made of them meanwhile. Knows no widgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Draft:
    """A message as it stands in the box."""

    text: str
    attached: Mapping[str, str] = field(default_factory=dict)
    """The texts of files it mentions, by their names, that need not be read."""


class Recalled:
    """The messages of this conversation, the last one latest, and behind them the one that is not sent yet."""

    def __init__(self) -> None:
        self._messages: list[Draft] = []
        self._at = 0
        self._changed: dict[int, Draft] = {}
        """What was made of the messages that were recalled, and of the one not sent yet."""

    def remember(self, draft: Draft) -> None:
        """Add a message behind all others; what else was being written meanwhile comes before it."""
        waiting = self._changed.get(len(self._messages))
        if waiting is not None and self._at < len(self._messages):
            self._add(waiting)
        self._add(draft)
        self._at, self._changed = len(self._messages), {}

    def _add(self, draft: Draft) -> None:
        if draft.text.strip() and (not self._messages or self._messages[-1].text != draft.text):
            self._messages.append(draft)

    def can_go(self, way: int) -> bool:
        """Is there one before (-1), or behind (1), the one that is shown?"""
        return 0 <= self._at + way <= len(self._messages)

    def go(self, way: int, shown: Draft) -> Draft:
        """Return the one before or behind the one that is shown, which is kept as it stands."""
        self._changed[self._at] = shown
        self._at += way
        if self._at in self._changed:
            return self._changed[self._at]
        return self._messages[self._at] if self._at < len(self._messages) else Draft("")
