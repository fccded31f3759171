"""The last line: the keys that do something now, as many as fit. Those for the help and for all commands always do."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.widgets import Footer

_ALWAYS = ("help", "command_palette")
"""Actions that lead to all that has no room."""
_GAP = 2
"""Columns between a key and its description, and behind it."""


class Hints(Footer):
    """Keys in the order of their bindings; what does not fit is left out from the end."""

    def compose(self) -> ComposeResult:
        """Yield the keys that fit."""
        keys: list[Any] = list(super().compose())  # Textual's FooterKey, which it does not export
        always = [key for key in keys if key.action in _ALWAYS]
        room = self.app.size.width - sum(map(_width, always))
        for key in keys:
            if key.action not in _ALWAYS:
                room -= _width(key)
                if room < 0:
                    break
                yield key
        yield from always

    def on_resize(self, event: events.Resize) -> None:
        """Choose again for another width."""
        del event
        self.call_after_refresh(self.recompose)


def _width(key: Any) -> int:
    return len(key.key_display) + len(key.description) + _GAP
