"""The export of a conversation: its format, and the new file it is written to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static

from glimp_local.errors import GlimpError
from glimp_local.records import exports, saved
from glimp_local.records.exports import Format
from glimp_local.text import harmless
from glimp_local.tui.screens.dialog import Dialog

_CHOICES: list[tuple[str, Format, bool]] = [
    ("Markdown: questions and answers", "markdown", False),
    ("Markdown with the thoughts", "markdown", True),
    ("JSON with all steps", "json", True),
    ("HTML: a page with every step and a plot, to look at offline", "html", True),
]
"""What is offered: its words, the format, whether the thoughts are in it."""
_NAME_LENGTH = 40


class ExportScreen(Dialog[None]):
    """Writes the conversation in `source` into a file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Format above", show=False),
        Binding("down", "move(1)", "Format below", show=False),
    ]

    class Failed(Message):
        """It could not be written."""

        def __init__(self, error: GlimpError) -> None:
            super().__init__()
            self.error = error

    class Written(Message):
        """It is written."""

    def __init__(self, source: Path, title: str) -> None:
        super().__init__()
        self._source = source
        self._file_name = file_name(title) or source.stem
        self._is_writing = False

    def compose(self) -> ComposeResult:
        """Show the formats, and a file to write to."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Export the conversation"
            box.border_subtitle = "↑ ↓ format · Enter writes it · Esc closes"
            yield OptionList(*(what for what, _, _ in _CHOICES), markup=False)
            yield Input(id="file")
            yield Static("Into this new file.", id="advice")

    def on_mount(self) -> None:
        """Begin in the box: the arrow keys choose the format from there."""
        self.query_one(OptionList).highlighted = 0
        self.query_one(Input).focus()

    def action_move(self, way: int) -> None:
        """Choose another format."""
        options = self.query_one(OptionList)
        options.highlighted = ((options.highlighted or 0) + way) % len(_CHOICES)

    @on(OptionList.OptionHighlighted)
    def _suggest(self, event: OptionList.OptionHighlighted) -> None:
        """Give the file the format's suffix."""
        file, suffix = self.query_one(Input), exports.SUFFIXES[_CHOICES[event.option_index][1]]
        if not file.value:
            file.value = _free(self._file_name, suffix) + suffix
            return
        before = Path(file.value).suffix
        file.value = (file.value.removesuffix(before) if before in exports.SUFFIXES.values() else file.value) + suffix

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _begin(self) -> None:
        row, file = self.query_one(OptionList).highlighted, self.query_one(Input).value.strip()
        if row is None or not file or self._is_writing:
            return
        self._is_writing = True
        _, kind, thoughts = _CHOICES[row]
        self._write(file, kind, thoughts=thoughts)

    @work(thread=True)
    def _write(self, file: str, kind: Format, *, thoughts: bool) -> None:
        try:
            path = Path(file).expanduser().absolute()
            exports.write_new(path, exports.export(saved.read(self._source), kind, thoughts=thoughts))
        except GlimpError as error:
            self.post_message(self.Failed(error))
        except (OSError, RuntimeError) as error:  # there is no such user's folder, or no folder to be in
            self.post_message(self.Failed(GlimpError(str(error), hint="name the file with its whole path")))
        else:
            self.notify(harmless(f"Written: {path}"), timeout=10, markup=False)
            self.post_message(self.Written())

    @on(Failed)
    def _complain(self, message: Failed) -> None:
        self._is_writing = False
        error = message.error
        said = harmless(f"{error}. {error.hint}" if error.hint else str(error))
        self.query_one("#advice", Static).update(Content(said).stylize("$text-error"))

    @on(Written)
    def _leave(self) -> None:
        self.dismiss()


def file_name(title: str) -> str:
    """Return a title as the name of a file: words and hyphens."""
    return re.sub(r"\W+", "-", title.lower())[:_NAME_LENGTH].strip("-")


def _free(name: str, suffix: str) -> str:
    """Return a path without its suffix, in the folder the chat was started in, that no file has."""
    try:
        folder = Path.cwd()
    except OSError:  # it was removed
        folder = Path.home()
    number, path = 1, folder / name
    while path.with_name(f"{path.name}{suffix}").exists():
        number += 1
        path = folder / f"{name}-{number}"
    return str(path)
