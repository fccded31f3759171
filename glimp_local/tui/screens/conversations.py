"""The saved conversations: found as you type, opened, renamed, deleted, exported and copied.

They are read in a thread, and shown as they come: there may be thousands, and a file may be large.
"""

from __future__ import annotations

from time import monotonic
from typing import ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from glimp_local import units
from glimp_local.errors import GlimpError
from glimp_local.records import conversations, exports, saved, session_log
from glimp_local.records.listing import Entry
from glimp_local.records.session_log import SessionLog
from glimp_local.text import one_line
from glimp_local.tui.conversation import Conversation
from glimp_local.tui.screens.confirm import ConfirmScreen
from glimp_local.tui.screens.dialog import Dialog
from glimp_local.tui.screens.export import ExportScreen
from glimp_local.tui.screens.rename import RenameScreen

_BATCH_SECONDS = 0.1
"""How often the list grows while the conversations are read."""
_MOST_SHOWN = 200
"""Rows: each is laid out whenever a letter is typed. What else is found is counted."""


class Choice(NamedTuple):
    """What is to be done with a conversation that only the chat itself can do."""

    entry: Entry
    deletes: bool
    """Is it the one on the screen, to be deleted? Else it is to be opened."""


class _Search(Input):
    """The box above the list; two keys that would mean something else in it, by other keys, too, are the list's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+d", "screen.delete", "Delete", show=False),
        Binding("ctrl+e", "screen.export", "Export", show=False),
    ]


class ConversationsScreen(Dialog[Choice | None]):
    """All saved conversations, the one written to last first. `log` is where the one on the screen is written."""

    SHOWN_BY = "conversations"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(key, f"move('{action}')", action, show=False)
            for key, action in {
                "up": "cursor_up",
                "down": "cursor_down",
                "pageup": "page_up",
                "pagedown": "page_down",
            }.items()
        ),
        Binding("ctrl+d", "delete", "Delete"),
        Binding("ctrl+e", "export", "Export"),
        Binding("ctrl+y", "copy", "Copy"),
        Binding("ctrl+r,f2", "rename", "Rename"),
    ]

    class Read(Message):
        """Some more conversations were read."""

        def __init__(self, entries: list[Entry], *, is_all: bool) -> None:
            super().__init__()
            self.entries = entries
            self.is_all = is_all

    class Changed(Message):
        """A conversation was renamed, or, without what it is now, deleted."""

        def __init__(self, before: Entry, after: Entry | None) -> None:
            super().__init__()
            self.before = before
            self.after = after

    def __init__(self, log: SessionLog) -> None:
        super().__init__()
        self._log = log
        self._entries: list[Entry] = []
        self._shown: list[Entry] = []
        """Those in the list, row by row."""
        self._found = 0
        self._is_all = False

    def compose(self) -> ComposeResult:
        """Lay the list out."""
        with Vertical(classes="dialog tall") as box:
            box.border_title = "Conversations"
            box.border_subtitle = "Enter opens · ^r rename · ^e export · ^y copy · ^d delete"
            yield _Search(placeholder="Search titles and text…", compact=True, id="search")
            yield OptionList(id="found", markup=False)
            yield Static(id="advice")

    def on_mount(self) -> None:
        """Begin to read."""
        self._describe()
        self._read()

    # Reading.

    @work(thread=True)
    def _read(self) -> None:
        worker, batch, due = get_current_worker(), [], monotonic()
        try:
            for found in conversations.scan():
                if worker.is_cancelled:
                    return
                batch.append(Entry.of(found))
                if monotonic() >= due:
                    self.post_message(self.Read(batch, is_all=False))
                    batch, due = [], monotonic() + _BATCH_SECONDS
        except OSError as error:
            self._complain(f"The conversations cannot be read: {error.strerror or error}.")
        self.post_message(self.Read(batch, is_all=True))

    @on(Read)
    def _add(self, message: Read) -> None:
        self._entries += message.entries
        self._is_all = message.is_all
        words = self._words
        found = [entry for entry in message.entries if entry.has(words)]
        self._found += len(found)
        self._append(found[: max(0, _MOST_SHOWN - len(self._shown))])
        self._describe()

    # The list.

    @property
    def _words(self) -> list[str]:
        return self.query_one("#search", Input).value.split()

    @property
    def _list(self) -> OptionList:
        return self.query_one("#found", OptionList)

    @property
    def _chosen(self) -> Entry | None:
        row = self._list.highlighted
        return self._shown[row] if row is not None and row < len(self._shown) else None

    def _append(self, entries: list[Entry]) -> None:
        self._shown += entries
        self._list.add_options(Option(self._prompt(entry)) for entry in entries)
        if self._list.highlighted is None and self._shown:
            self._list.highlighted = 0

    @on(Input.Changed, "#search")
    def _search(self) -> None:
        """Show those with the words that are typed; the chosen one stays chosen where it has them."""
        chosen, words = self._chosen, self._words
        found = [entry for entry in self._entries if entry.has(words)]
        self._found, self._shown = len(found), []
        self._list.clear_options()
        self._append(found[:_MOST_SHOWN])
        if chosen in self._shown:
            self._list.highlighted = self._shown.index(chosen)
        self._describe()

    def _prompt(self, entry: Entry) -> Content:
        if entry.is_lost:
            damage = Content(one_line(f"cannot be restored: {entry.damage}")).stylize("$text-error")
            return Content.assemble((one_line(exports.spelled(entry.id)), "bold"), "\n", f"{entry.age} · ", damage)
        turns = f"{entry.turns} turn{'' if entry.turns == 1 else 's'}"
        parts = [entry.age, entry.pair, turns, units.file_size(entry.size_bytes)]
        if entry.path == self._log.path:
            parts.append("on the screen")
        about = Content(one_line(" · ".join(parts))).stylize("dim")
        if entry.damage is not None:
            about += "\n" + Content(one_line(f"damaged: {entry.damage}")).stylize("$text-warning")
        return Content.assemble((one_line(saved.short(entry.title)) or "(no title)", "bold"), "\n", about)

    @on(OptionList.OptionHighlighted)
    def _describe(self) -> None:
        """Show below the list how many there are, and where the chosen one has what is searched."""
        if not self._entries:
            said = "No conversation was saved yet." if self._is_all else "Reading…"
        elif not self._shown:
            said = "None has these words." if self._is_all else "Reading…"
        else:
            count = f"{self._found:,} of {len(self._entries):,}" if self._words else f"{len(self._entries):,} saved"
            more = "" if self._found <= _MOST_SHOWN else f", the last {_MOST_SHOWN} are shown"
            said = f"{count}{more}{'' if self._is_all else ', reading…'}"
            if self._chosen is not None and self._words:
                said += f"\n{one_line(self._chosen.around(self._words))}"
        self.query_one("#advice", Static).update(Content(said))

    def action_move(self, action: str) -> None:
        """Move in the list from wherever the focus is."""
        getattr(self._list, f"action_{action}")()

    # What can be done with one.

    def _restorable(self) -> Entry | None:
        """Return the chosen one; if nothing of it can be restored, show that."""
        entry = self._chosen
        if entry is not None and entry.is_lost:
            self._complain(f"It cannot be restored: {entry.damage}. Ctrl+D deletes it.")
            return None
        return entry

    def _complain(self, what: str) -> None:
        self.notify(one_line(what), severity="warning", markup=False)

    @on(Input.Submitted, "#search")
    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        if (entry := self._restorable()) is not None:
            self.dismiss(Choice(entry, deletes=False))

    def action_export(self) -> None:
        """Ask for a format and a file."""
        if (entry := self._restorable()) is not None:
            self.app.push_screen(ExportScreen(entry.path, entry.title))

    def action_copy(self) -> None:
        """Copy it as Markdown."""
        if (entry := self._restorable()) is not None:
            self._copy(entry)

    @work(thread=True)
    def _copy(self, entry: Entry) -> None:
        try:
            text = exports.as_markdown(saved.read(entry.path))
        except GlimpError as error:
            self._complain(f"{error}.")
        else:
            self.post_message(Conversation.Copy("The conversation", text))

    def action_rename(self) -> None:
        """Ask for another title."""

        def rename(title: str | None) -> None:
            if title is not None and entry is not None and title != entry.title:
                self._rename(entry, title)

        if (entry := self._restorable()) is not None:
            self.app.push_screen(RenameScreen(entry.title), rename)

    @work(thread=True)
    def _rename(self, entry: Entry, title: str) -> None:
        try:
            if entry.path == self._log.path:
                self._log.rename(title)
                if self._log.error is not None:
                    raise self._log.error
            else:
                session_log.rename(saved.read(entry.path), title)
            after = Entry.of(saved.read(entry.path))
        except GlimpError as error:
            self._complain(f"{error}.")
        except OSError as error:
            self._complain(f"It cannot be renamed: {error.strerror or error}.")
        else:
            self.post_message(self.Changed(entry, after))

    def action_delete(self) -> None:
        """Ask whether it is to be deleted."""

        def delete(agreed: bool | None) -> None:
            if not agreed or entry is None:
                return
            if entry.path == self._log.path:
                self.dismiss(Choice(entry, deletes=True))
            else:
                self._delete(entry)

        if (entry := self._chosen) is not None:
            title = one_line(saved.short(entry.title) or exports.spelled(entry.id))
            self.app.push_screen(ConfirmScreen(f"Delete “{title}” from the disk?", "Delete it", "Keep it"), delete)

    @work(thread=True)
    def _delete(self, entry: Entry) -> None:
        try:
            conversations.remove(entry.path)
        except FileNotFoundError:  # somebody else has removed it
            pass
        except GlimpError as error:
            self._complain(f"{error}. {error.hint or ''}")
            return
        except OSError as error:
            self._complain(f"It cannot be deleted: {error.strerror or error}.")
            return
        self.post_message(self.Changed(entry, None))

    @on(Changed)
    def _show_change(self, message: Changed) -> None:
        row = self._list.highlighted
        self._entries = [
            after
            for entry in self._entries
            if (after := message.after if entry.path == message.before.path else entry) is not None
        ]
        self._search()
        if self._shown and row is not None:
            self._list.highlighted = min(row, len(self._shown) - 1)
