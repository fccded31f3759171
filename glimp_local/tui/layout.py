"""What the chat's screen is made of: the conversation, the panel beside it, the status line and the box below it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

from glimp_local.tui.completions import Completions
from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import STEERING, Conversation
from glimp_local.tui.hints import Hints
from glimp_local.tui.look import WITHOUT_PANEL
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.status_line import StatusLine
from glimp_local.tui.terminal_app import TerminalApp

NARROW = 90
"""With fewer columns there is no side panel."""


class ChatLayout(TerminalApp):
    """The screen, and the keys that only change what is seen of it."""

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        self.conversation = Conversation()
        self.completions = Completions()
        self.composer = Composer(self.completions)
        self.panel = SidePanel()
        self.status = StatusLine()
        with Horizontal(id="main"):
            yield self.conversation
            yield self.panel
        yield self.status
        yield self.completions
        yield self.composer
        yield Hints(compact=True, show_command_palette=False)

    def on_resize(self, event: events.Resize) -> None:
        """Hide the panel if there is no room for it."""
        self.set_class(event.size.width < NARROW, "narrow")

    async def on_event(self, event: events.Event) -> None:
        """Have what is typed, if it is no command, and what is pasted go to the box, wherever the focus is.

        It gets the focus before Textual passes the event on, so that the keys behind it follow in their order.
        """
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded and self._is_for_box(event):
            if isinstance(event, events.Key) and event.key in STEERING:  # commands, though nothing is being written
                self.notify("s, l and a steer while the models write; g continues.")
                return
            self.screen.set_focus(self.composer)
        await super().on_event(event)

    def _is_for_box(self, event: events.Key | events.Paste) -> bool:
        if isinstance(self.screen, ModalScreen) or isinstance(self.focused, Input | TextArea):
            return False
        return isinstance(event, events.Paste) or (event.is_printable and event.key not in self.screen.active_bindings)

    def action_switch(self) -> None:
        """Go from the message box to the steps, and back."""
        if self.composer.has_focus:
            self.conversation.take_focus()
        else:
            self.composer.focus()

    def action_scroll(self, way: int) -> None:
        """Scroll the conversation by a page."""
        if way < 0:
            self.conversation.scroll_page_up()
        else:
            self.conversation.scroll_on()

    async def action_fold_thoughts(self) -> None:
        """Fold or unfold all thoughts."""
        await self.conversation.fold_thoughts()

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel."""
        if self.has_class("narrow"):
            self.notify(f"The panel needs {NARROW} columns.")
        else:
            self.toggle_class(WITHOUT_PANEL)
