"""What the chat's screen is made of: the conversation, the panel beside it, the status line and the box below it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import ModalScreen

from glimp_local.tui.completions import Completions
from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import Conversation
from glimp_local.tui.hints import Hints
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

    def on_key(self, event: events.Key) -> None:
        """Put a key that is no command into the box, wherever the focus is."""
        is_typed = event.is_printable and event.character is not None and event.key not in self.screen.active_bindings
        if is_typed and not isinstance(self.screen, ModalScreen) and not self.composer.has_focus:
            self.composer.focus()
            self.composer.insert(event.character or "")

    def on_paste(self, event: events.Paste) -> None:
        """Put what is pasted into the box, wherever the focus is."""
        self.composer.insert(event.text)
        if not isinstance(self.screen, ModalScreen):
            self.composer.focus()

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
