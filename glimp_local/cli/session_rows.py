"""The table of `glimp sessions list`: a heading, and a row for each conversation as it is read.

A terminal gets as many columns as leave room for the title, and the title cut to its width; a pipe gets all of it.
"""

from __future__ import annotations

import shutil
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from glimp_local import units
from glimp_local.records.exports import spelled
from glimp_local.records.listing import Entry
from glimp_local.text import harmless, one_line

_GAP = "  "
_TITLE_WIDTH = 24
"""Columns are left out until this much of each row is left for the title."""


class _Column(NamedTuple):
    heading: str
    width: int
    is_figure: bool = False


_ID = _Column("ID", 20)
_MORE = (
    _Column("AGE", 13),
    _Column("TURNS", 5, is_figure=True),
    _Column("PAIR", 20),
    _Column("SIZE", 8, is_figure=True),
)


class Rows:
    """Makes the lines of the table. `on_terminal` cuts them to the terminal's width, and shows all of it harmless."""

    def __init__(self, ids: list[str], *, on_terminal: bool) -> None:
        self._cuts = on_terminal
        longest = max((cell_len(spelled(id_)) for id_ in ids), default=0)
        self._columns = [_ID._replace(width=max(_ID.width, longest)), *_MORE]
        if on_terminal:
            room = shutil.get_terminal_size().columns
            while len(self._columns) > 1 and self._taken + _TITLE_WIDTH > room:
                self._columns.pop()
            self._title_width = max(0, room - self._taken)

    @property
    def _taken(self) -> int:
        return sum(column.width + len(_GAP) for column in self._columns)

    def heading(self) -> str:
        """Return the line above the rows."""
        return self._line([column.heading for column in self._columns], "TITLE")

    def row(self, entry: Entry) -> str:
        """Return the line of a conversation."""
        cells = [
            spelled(entry.id),
            entry.age,
            "" if entry.is_lost else f"{entry.turns:,}",
            entry.pair,
            units.file_size(entry.size_bytes),
        ]
        return self._line(cells, f"(cannot be restored: {entry.damage})" if entry.is_lost else entry.title)

    def _line(self, cells: list[str], title: str) -> str:
        parts = [self._cell(column, cell) for column, cell in zip(self._columns, cells, strict=False)]
        return _GAP.join([*parts, self._cut(title, self._title_width) if self._cuts else title]).rstrip()

    def _cell(self, column: _Column, cell: str) -> str:
        if self._cuts:
            # An id is whole: a part of it names the conversation, and is copied from here.
            cell = harmless(cell) if column.heading == _ID.heading else self._cut(cell, column.width)
        padding = " " * max(0, column.width - cell_len(cell))
        return padding + cell if column.is_figure else cell + padding

    @staticmethod
    def _cut(text: str, width: int) -> str:
        text = one_line(text)
        return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"
