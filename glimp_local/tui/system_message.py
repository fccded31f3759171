"""The conversation's system message, on top of it."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from glimp_local.text import harmless

_FOLDED_LINES = 3
_FOLDED_CHARACTERS = 240


class SystemBlock(Static, can_focus=True):
    """What the models are told before the first question, dimmed; only the beginning of a long one until unfolded."""

    FOCUS_ON_CLICK = False

    folded = reactive(True, init=False)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        """As the models get it."""
        self._whole = harmless(text.strip())
        self._beginning = _beginning(self._whole)

    def on_mount(self) -> None:
        """Show it folded."""
        self.watch_folded()

    def watch_folded(self) -> None:
        """Show all of it, or its beginning."""
        shown = self._beginning if self.folded else self._whole
        self.update(Content.assemble(("system  ", "bold"), shown))


def _beginning(text: str) -> str:
    """Return the first few lines, with an ellipsis if there are more."""
    cut = "\n".join(text.splitlines()[:_FOLDED_LINES])[:_FOLDED_CHARACTERS].rstrip()
    return text if cut == text else f"{cut} …"
