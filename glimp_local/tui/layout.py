"""What the chat's screen is made of: the conversation, the panel beside it, the status line and the box below it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Footer

from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import Conversation
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
        self.composer = Composer()
        self.panel = SidePanel()
        self.status = StatusLine()
        with Horizontal(id="main"):
            yield self.conversation
            yield self.panel
        yield self.status
        yield self.composer
        yield Footer(compact=True, show_command_palette=False)

    def on_resize(self, event: events.Resize) -> None:
        """Hide the panel if there is no room for it."""
        self.set_class(event.size.width < NARROW, "narrow")

    def action_switch(self) -> None:
        """Go from the message box to the steps, and back."""
        (self.conversation if self.composer.has_focus else self.composer).focus()

    def action_scroll(self, way: int) -> None:
        """Scroll the conversation by a page."""
        if way < 0:
            self.conversation.scroll_page_up()
        else:
            self.conversation.scroll_page_down()

    async def action_fold_thoughts(self) -> None:
        """Fold or unfold all thoughts."""
        await self.conversation.fold_thoughts()

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel."""
        if self.has_class("narrow"):
            self.notify(f"The panel needs {NARROW} columns.")
        else:
            self.toggle_class("without-panel")
