"""The screens over the chat, the search in it, and what becomes of what is chosen there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glimp_local.errors import GlimpError, UsageError
from glimp_local.records.saved import SavedSession, read
from glimp_local.text import one_line
from glimp_local.tui.chat_base import ChatBase
from glimp_local.tui.screens.help import HelpScreen
from glimp_local.tui.search_bar import SearchBar

if TYPE_CHECKING:
    from glimp_local.tui.screens.conversations import Choice
    from glimp_local.tui.screens.settings import Changes


class ChatScreens(ChatBase):
    """The chat with its screens. See `ChatApp`."""

    def action_help(self) -> None:
        """Show all keys, and what the words mean."""
        self.push_screen(HelpScreen())

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel, in later chats, too."""
        super().action_toggle_panel()
        self._look.remember_panel()

    async def action_settings(self) -> None:
        """Show the settings, and use what is changed in them."""
        from glimp_local.tui import configuring  # noqa: PLC0415 - not before it is wanted: the first paint is

        session = self.session

        async def use(choice: Changes | None) -> None:
            if choice is None:
                return
            try:
                if self.session is not session:
                    raise UsageError("another pair was loaded meanwhile: nothing was changed")
                for said in configuring.configure(self._engines, self.request, choice, has_begun=self._has_begun):
                    await self.conversation.note(said)
            except GlimpError as error:
                await self._pump.complain(error)
            self._pump.show_panel()

        if self._pump.loading:
            self.notify("The settings are the pair's, and one is being loaded.")
            return
        try:
            screen = configuring.settings_screen(self._engines, self.request, has_begun=self._has_begun)
        except GlimpError as error:
            await self._pump.complain(error)
            return
        if screen is None:
            self.notify("The settings are the pair's, and none is loaded yet.")
        else:
            await self.push_screen(screen, use)

    async def set_system(self, text: str) -> None:
        """Have a system message before new conversations, and before this one if nothing was asked in it.

        Without a text, show the settings, which have the present one. Raises UsageError until a pair is loaded.
        """
        from glimp_local.tui import configuring  # noqa: PLC0415 - as above
        from glimp_local.tui.screens.settings import Changes  # noqa: PLC0415 - as above

        if not text:
            await self.action_settings()
            return
        settings = self._engines.settings
        if settings is None or self._pump.loading:
            raise UsageError("no pair is loaded yet", hint="it can be set once one is")
        choice = Changes(settings, text, kept=False)
        for said in configuring.configure(self._engines, self.request, choice, has_begun=self._has_begun):
            await self.conversation.note(said)

    @property
    def _has_begun(self) -> bool:
        """Was anything asked in this conversation?"""
        return self.busy or bool(self.conversation.turns)

    async def action_find(self) -> None:
        """Search the conversation on the screen."""
        bar = next(iter(self.query(SearchBar)), None)
        if bar is None:
            bar = SearchBar(self.conversation, self.focused)
            await self.mount(bar, before=self.status)
        bar.begin()

    def action_conversations(self) -> None:
        """Show the saved conversations, and open the one that is chosen; this one stays saved."""
        from glimp_local.tui.screens.conversations import ConversationsScreen  # noqa: PLC0415 - as above

        def take(choice: Choice | None) -> None:
            if choice is None:
                return
            self.composer.focus()
            if choice.deletes:
                if self._can_ask():
                    self._engines.delete(choice.entry.path)
            elif self.busy:
                self.notify("The models are still writing: Esc stops them.")
            elif choice.entry.path != self.saved.path:
                self._engines.open(choice.entry.path)

        self.push_screen(ConversationsScreen(self.saved), take)

    def action_rename(self) -> None:
        """Give the conversation another title than its first question."""
        from glimp_local.tui.screens.rename import RenameScreen  # noqa: PLC0415 - as above

        log = self.saved  # it may be another one by the time the title is typed

        def rename(title: str | None) -> None:
            if title is None:
                return
            try:
                log.rename(title)
            except UsageError as error:
                self.notify(f"{error}.", severity="warning", markup=False)
            if log.error is not None:
                why = one_line(log.error.strerror or str(log.error))
                self.notify(f"The title is not saved yet: {why}.", severity="warning", markup=False)

        if (found := self._saved_here()) is not None:
            self.push_screen(RenameScreen(found.title), rename)

    def action_export(self) -> None:
        """Write the conversation into a file: Markdown, JSON, or a page."""
        from glimp_local.tui.screens.export import ExportScreen  # noqa: PLC0415 - as above

        if (found := self._saved_here()) is not None:
            self.push_screen(ExportScreen(found.path, found.title))

    def _saved_here(self) -> SavedSession | None:
        """Return the conversation as it is on the disk; if it is not, say so."""
        try:
            if (error := self.saved.error) is not None:
                said = f"The end of the conversation is not in its file: {error.strerror or error}."
                self.notify(one_line(said), severity="warning", markup=False)
            if self.saved.is_written:
                return read(self.saved.path)
            self.notify("Nothing is saved yet: ask something first.")
        except GlimpError as error:
            self.notify(one_line(str(error)), severity="warning", markup=False)
        return None
