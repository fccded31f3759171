"""What can be put in the place of what is being typed, above the box: commands behind a slash, files behind an @."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.content import Content
from textual.widgets import Static

from glimp_local.text import one_line

_MOST = 8


class Completion(NamedTuple):
    """Something that can be put into the box."""

    text: str
    help: str = ""


class Completions(Static):
    """The list, with one of them chosen; hidden while there is none."""

    def __init__(self) -> None:
        super().__init__(id="completions")
        self.display = False
        self._found: list[Completion] = []
        self._at = 0

    @property
    def chosen(self) -> Completion | None:
        """The one that Tab takes; None if none is offered."""
        return self._found[self._at] if self._found else None

    def offer(self, found: Iterable[Completion]) -> None:
        """Offer these; nothing hides the list."""
        self._found, self._at = list(found), 0
        self.display = bool(self._found)
        self._draw()

    def move(self, way: int) -> None:
        """Choose the next one (1) or the one before (-1)."""
        self._at = (self._at + way) % len(self._found)
        self._draw()

    def _draw(self) -> None:
        first = max(0, min(self._at - _MOST // 2, len(self._found) - _MOST))
        shown = self._found[first : first + _MOST]
        width = max((len(one_line(found.text)) for found in shown), default=0)
        lines = []
        for number, found in enumerate(shown, first):
            line = Content.assemble(one_line(found.text).ljust(width), "  ", (one_line(found.help), "dim"))
            lines.append(line.stylize("reverse", 0, width) if number == self._at else line)
        self.update(Content("\n").join(lines))
