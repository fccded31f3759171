"""What all screens over the chat have in common."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A screen over the chat. Ctrl+C stops the models from there, too; at rest it closes it."""

    SHOWN_BY: ClassVar = ""
    """The action of the chat that shows it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "app.interrupt", show=False),
        Binding("escape", "leave", "Close"),
    ]

    def action_leave(self) -> None:
        """Close without a result."""
        self.dismiss(None)

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close, with a result. What a second key asks for, pressed before the first was seen to, is too late."""
        return super().dismiss(result) if self.is_current else AwaitComplete.nothing()  # type: ignore[no-untyped-call]  # it has no annotations
