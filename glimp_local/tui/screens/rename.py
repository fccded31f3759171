"""Another title for a conversation."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from glimp_local.text import one_line
from glimp_local.tui.screens.dialog import Dialog

_MOST = 200
"""Characters."""


class RenameScreen(Dialog[str | None]):
    """Gives the title that is typed, or None if it stays as it is."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = one_line(title)

    def compose(self) -> ComposeResult:
        """Show the title there is."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Rename the conversation"
            box.border_subtitle = "Enter renames it, Esc closes"
            yield Input(self._title, max_length=_MOST)
            yield Static("An empty title is its first question again.", id="advice")

    @on(Input.Submitted)
    def _rename(self, event: Input.Submitted) -> None:
        title = one_line(event.value)
        self.dismiss(None if title == self._title else title)
