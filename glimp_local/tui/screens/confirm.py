"""One question before something that cannot be undone."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from glimp_local.tui.screens.dialog import Dialog


class ConfirmScreen(Dialog[bool]):
    """Asks `question`; gives True for `yes`. What is chosen at first is `no`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
    ]

    def __init__(self, question: str, yes: str, no: str) -> None:
        super().__init__()
        self._question = question
        self._answers = no, yes

    def compose(self) -> ComposeResult:
        """Show the question and both answers."""
        with Vertical(classes="dialog") as box:
            box.border_subtitle = "y or n, or ↑ ↓ and Enter"
            yield Static(Content(self._question))
            yield OptionList(*self._answers, markup=False)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.action_answer(event.option_index == 1)

    def action_answer(self, agreed: bool) -> None:
        """Answer."""
        self.dismiss(agreed)
