"""The help: all keys, and what the words on the screen mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from glimp_local.tui.screens.dialog import Dialog

_KEYS: dict[str, dict[str, str]] = {
    "While you write": {
        "Enter": "send",
        "Shift+Enter, Ctrl+J": "begin a new line",
        "↑ ↓": "earlier and later messages, at the first and the last line",
        "/": "commands, like /share 0.3, /pair NAME, /new; Tab completes them",
        "@": "a file whose text is sent with the message, like @notes.txt; Tab completes it",
    },
    "On the steps (Tab: there and back)": {
        "↑ ↓, k j": "choose a step, or an answer; so does a click, from anywhere",
        "Enter": "fold or unfold it, or an answer's thought; all thoughts, where none is chosen",
        "r": "have it written again by the other model, and continue from there; what stood there is kept",
        "← →": "the other versions of the chosen turn (2/3), with what stands behind each",
        "s, l": "the small, the large model writes the next step",
        "a": "end the thought, write the answer now",
        "g": "continue where you stopped; ask again, where the answer is complete",
        "e": "ask the chosen question, or the last one, in other words; what stood there is kept",
        "y, Y": "copy the step or answer, else the last answer; the whole conversation",
    },
    "Everywhere": {
        "Esc": "stop the models, or their loading; else back to the box",
        "Ctrl+C": "stop the models; with nothing to stop, empty the box; twice at rest, quit",
        "Ctrl+↑, Ctrl+↓": "more steps for the small, for the large model: moves the threshold, or the share",
        "PgUp, PgDn": "scroll",
        "Ctrl+T": "fold or unfold all thoughts",
        "Ctrl+O": "saved conversations: find, open, rename (Ctrl+R), export (Ctrl+E), copy (Ctrl+Y), delete (Ctrl+D)",
        "Ctrl+F": "find words in the conversation: Enter and ↓ the next, ↑ the previous, Tab stays there, Esc returns",
        "Ctrl+B": "show or hide the panel",
        "Ctrl+S": "settings: temperature, system message, budgets, policy",
        "Ctrl+P": "all commands: a new conversation, policies, pairs, themes",
        "Ctrl+Q": "quit; the conversation is saved",
    },
}
_WORDS: dict[str, str] = {
    "S, L": "The small and the large model of the pair: the letter, colour and border of a step name its writer.",
    "entropy": "How unsure the small model is of a step's first token: the number beside the letter.",
    "nats": "The unit of entropy: 0 is certain, 0.7 is a toss-up between two tokens, 2.3 between ten.",
    "threshold": "The entropy above which the large model writes the step, drawn as a line in the panel.",
    "share": "The part of the steps that the large model is to write; the threshold then moves by itself to meet it.",
    "policy": "The rule that decides who writes a step: by a threshold or a share, one model alone, or by chance.",
    "catch-up": "The time a model takes to read what the other one wrote, before it can write itself.",
    "drafts": "Tokens guessed ahead and checked in one batch, which changes none; 1.30x is how much faster that is.",
    "context": "The tokens a model has read of the conversation, and the most it can hold.",
    "tokens": "The pieces models read and write: three quarters of an English word each, roughly.",
}
_NAMES = 21
"""Columns of a key, or a word."""
_WIDE = 60
"""With fewer columns there is no room beside it."""


class HelpScreen(Dialog[None]):
    """All keys and words."""

    SHOWN_BY = "help"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,q", "leave", "Close")]

    def compose(self) -> ComposeResult:
        """Show the text."""
        with VerticalScroll(classes="dialog") as box:
            box.border_title = "glimp chat"
            box.border_subtitle = "↑ ↓ scroll, Esc closes"
            for title, rows in {**_KEYS, "What the words mean": _WORDS}.items():
                yield Static(_section(title, rows) if self.app.size.width >= _WIDE else _narrow_section(title, rows))


def _section(title: str, rows: Mapping[str, str]) -> Group:
    """Return the names beside what they do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=_NAMES)
    for name, what in rows.items():
        table.add_row(Text(f"  {name}"), what)
    return Group(Text(title, "bold"), table, Text())


def _narrow_section(title: str, rows: Mapping[str, str]) -> Group:
    """Return what they do below the names."""
    lines = (Group(Text(f"  {name}"), Padding(Text(what, "dim"), (0, 0, 0, 4))) for name, what in rows.items())
    return Group(Text(title, "bold"), *lines, Text())
