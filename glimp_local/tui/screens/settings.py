"""The settings of the conversation: changed for it alone, or kept for its pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Select, Static, TextArea

from glimp_local.pair import Pair
from glimp_local.settings import RunSettings
from glimp_local.text import harmless, one_line
from glimp_local.tui import settings_form as form
from glimp_local.tui.screens.dialog import Dialog
from glimp_local.tui.settings_form import Field

_WHEN = "Policy, threshold and share count from the next step, all else from the next question."


class Changes(NamedTuple):
    """What was chosen."""

    settings: RunSettings
    system: str | None
    """The system message of new conversations, empty for none; None if it stays as it is."""
    kept: bool
    """Is it to be kept for the pair?"""


class SettingRow(Horizontal):
    """One setting: its name, its value, and what it does or what is wrong with the value."""

    def __init__(self, field: Field, settings: RunSettings) -> None:
        super().__init__()
        self.field = field
        self._before = form.shown(settings, field.key)
        self._control: Input | Select[str]
        if words := form.choices(field.key):
            self._control = Select(
                [(word, word) for word in words], value=self._before, allow_blank=False, compact=True
            )
        else:
            self._control = Input(self._before, compact=True, select_on_focus=True)
        self._note = Static(field.what, classes="note")

    def compose(self) -> ComposeResult:
        """Put the three beside each other."""
        yield Static(self.field.label, classes="label")
        yield self._control
        yield self._note

    @property
    def text(self) -> str:
        """The value as it stands in the field."""
        return str(self._control.value)

    @property
    def is_changed(self) -> bool:
        """Does it differ from what holds now?"""
        return self.text.strip() != self._before

    def show(self, problem: str | None) -> None:
        """Show what is wrong with the value; None if nothing is."""
        self.set_class(problem is not None, "wrong")
        self._note.update(Content(harmless(problem or self.field.what)))

    def focus_field(self) -> None:
        """Go to the value."""
        self._control.focus()


class SettingsScreen(Dialog[Changes | None]):
    """The settings as they hold for the next step and question. Returns what was chosen.

    `system` is the system message of a new conversation; a conversation that `has_begun` keeps its own.
    `drafting_obstacle` is what keeps the small model from drafting, `keeping_obstacle` why nothing can be kept.
    """

    SHOWN_BY = "settings"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "use(False)", "Use"),
    ]

    def __init__(
        self,
        settings: RunSettings,
        pair: Pair,
        *,
        system: str,
        has_begun: bool,
        drafting_obstacle: str | None,
        keeping_obstacle: str | None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._pair = pair
        self._system_before = system.strip()
        self._has_begun = has_begun
        self._drafting_obstacle = drafting_obstacle
        self._keeping_obstacle = keeping_obstacle
        self._warned = False

    def compose(self) -> ComposeResult:
        """Show all settings, in groups."""
        with VerticalScroll(classes="dialog", can_focus=False, id="settings") as box:
            box.border_title = Content(f"Settings · {one_line(self._pair.name)}")
            box.border_subtitle = "Enter uses them · Tab: the next one · Esc closes"
            yield Static(_WHEN, classes="note")
            for title, fields in form.GROUPS.items():
                yield Static(title, classes="group")
                yield from (SettingRow(field, self._settings) for field in fields)
            yield Static("System message", classes="group")
            yield Static(self._about_system(), classes="note")
            self._system = TextArea(self._system_before, id="system", compact=True, show_line_numbers=False)
            yield self._system
            with Horizontal(id="ways"):
                yield Button("Use for this conversation", id="use", compact=True, variant="primary")
                yield Button(
                    Content(f"Keep for {one_line(self._pair.name)}"),
                    id="keep",
                    compact=True,
                    disabled=self._keeping_obstacle is not None,
                )
            yield Static(Content(harmless(self._keeping_obstacle or "")), id="said")

    def _about_system(self) -> str:
        if self._has_begun:
            return (
                "For new conversations. This one has begun and keeps the message it began with, or none: "
                "its answers were written with that."
            )
        return "Read by both models before the first question; also in new conversations, until the chat is left."

    @property
    def _rows(self) -> Iterator[SettingRow]:
        yield from self.query(SettingRow)

    @on(Input.Changed)
    @on(Select.Changed)
    def _check(self, event: Input.Changed | Select.Changed) -> None:
        """Say at once what is wrong with a value, at its field."""
        self._warned = False
        row = event.control.parent if event.control is not None else None
        if isinstance(row, SettingRow):
            row.show(self._read(row)[1])

    @on(TextArea.Changed)
    def _note_change(self) -> None:
        self._warned = False

    def _read(self, row: SettingRow) -> tuple[Any, str | None]:
        """Return a field's value, and what is wrong with it."""
        try:
            value = form.read(row.field.key, row.text)
        except ValueError as error:
            return None, str(error)
        if row.field.key == "policy" and row.is_changed:
            return value, form.obstacle(value, self._pair, self._drafting_obstacle)
        return value, None

    @on(Input.Submitted)
    def _submit(self) -> None:
        self.action_use(kept=False)

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        self.action_use(kept=event.button.id == "keep")

    def action_use(self, kept: bool) -> None:
        """Take what is written, unless something is wrong with it."""
        values, wrong = {}, []
        for row in self._rows:
            value, problem = self._read(row)
            row.show(problem)
            if problem is not None:
                wrong.append(row)
            elif row.is_changed:
                values[row.field.key] = value
        if wrong:
            wrong[0].focus_field()
            names = ", ".join(row.field.label for row in wrong)
            self._say(f"Nothing is used yet. To be corrected: {names}.")
            return
        system = self._system.text.strip()
        changed = None if system == self._system_before else system
        self.dismiss(Changes(form.replaced(self._settings, values), changed, kept))

    def action_leave(self) -> None:
        """Close; if something was changed, say so first."""
        is_changed = self._system.text.strip() != self._system_before or any(row.is_changed for row in self._rows)
        if is_changed and not self._warned:
            self._warned = True
            self._say("Nothing is used yet: Ctrl+S uses it, Esc again drops it.")
        else:
            self.dismiss(None)

    def _say(self, text: str) -> None:
        said = self.query_one("#said", Static)
        said.update(text)
        said.add_class("error")
        self.notify(text, severity="warning")
