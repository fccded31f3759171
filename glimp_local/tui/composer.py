"""The box a message is written in."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """Several lines; Enter sends, Shift+Enter (or Ctrl+J) begins a new line, the arrows at its ends recall messages."""

    BINDINGS = [  # noqa: RUF012 - Textual's way
        # For the footer; the keys are taken in their turn behind those typed before (`_on_key`).
        Binding("enter", "send", "Send"),
        Binding("shift+enter,ctrl+j", "newline", "New line", show=False),
    ]

    class Sent(Message):
        """A message is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Edited(Message):
        """A message is to take the place of the last one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, show_line_numbers=False, compact=True, highlight_cursor_line=False)
        self.placeholder = "Ask something…"
        self._sent: list[str] = []
        self._at = 0
        self._draft = ""
        self._edits = False

    def revise(self, text: str) -> None:
        """Take up a message that was sent, to be sent in other words; what stands in the box can be recalled."""
        if self.text.strip():
            self.remember(self.text)
        self._edits = True
        self.border_title = "in place of the last question"
        self.load_text(text)
        self.move_cursor(self.document.end)
        self.focus()

    def remember(self, text: str) -> None:
        """Add a message to those the arrows recall."""
        if not self._sent or self._sent[-1] != text:
            self._sent.append(text)
        self._at = len(self._sent)

    def action_send(self) -> None:
        """Send what is written; it stays until the application takes it."""
        if self.text.strip():
            self.post_message(self.Edited(self.text) if self._edits else self.Sent(self.text))

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def taken(self) -> None:
        """Empty the box: its message is on its way."""
        self.remember(self.text)
        self._draft = ""
        self._leave_edit()
        self.clear()

    def _leave_edit(self) -> None:
        self._edits = False
        self.border_title = None

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
            return
        up = event.key == "up" and self.cursor_at_first_line
        down = event.key == "down" and self.cursor_at_last_line
        if (up and self._at > 0) or (down and self._at < len(self._sent)):
            event.stop()
            event.prevent_default()
            self._recall(self._at - 1 if up else self._at + 1)
            return
        await super()._on_key(event)

    def _recall(self, at: int) -> None:
        self._leave_edit()
        if self._at == len(self._sent):
            self._draft = self.text
        self._at = at
        self.load_text(self._sent[at] if at < len(self._sent) else self._draft)
        self.move_cursor(self.document.end)
