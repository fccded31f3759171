"""Files in a question: each one's text stands between two marks, so that a saved conversation knows it for a file's.

The first mark says how many lines there are: whatever stands in the text, its end is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from glimp_local import units

_BEGIN = re.compile(r"<file name=\"([^\"\n]*)\" lines=\"([0-9]{1,9})\">\n")
_END = "\n</file>"


def block(name: str, text: str) -> str:
    """Return what is sent for a file: its text, between the marks."""
    count = text.count("\n") + 1
    return f'<file name="{name.replace(chr(34), chr(39))}" lines="{count}">\n{text}{_END}'


def replaced(question: str, replace: Callable[[str, str], str]) -> str:
    """Return a question with what `replace` makes of each file's name and text in the file's place."""
    parts, at = [], 0
    while (begin := _BEGIN.search(question, at)) is not None:
        end = _end(question, begin.end(), int(begin[2]))
        parts.append(question[at : begin.start()])
        if end is None:  # no file: somebody has typed the mark
            parts.append(begin[0])
            at = begin.end()
        else:
            parts.append(replace(begin[1], question[begin.end() : end]))
            at = end + len(_END)
    return "".join([*parts, question[at:]])


def _end(question: str, start: int, lines: int) -> int | None:
    """Return where a file's text of `lines` lines ends; None if no end mark stands there."""
    end = start
    for _ in range(lines):
        end = question.find("\n", end)
        if end < 0:
            return None
        end += 1
    end -= 1
    return end if lines and question.startswith(_END, end) else None


def with_chips(question: str) -> str:
    """Return a question as it is shown: a file's name and size in the place of its text."""
    return replaced(question, lambda name, text: f"[{Path(name).name}, {size_of(text)}]")


def texts_in(question: str) -> list[str]:
    """Return the texts of the files in a question."""
    texts: list[str] = []

    def keep(_name: str, text: str) -> str:
        texts.append(text)
        return ""

    replaced(question, keep)
    return texts


def size_of(text: str) -> str:
    """Return how long a text is, in words."""
    lines = text.count("\n") + 1
    return f"{lines:,} line{'' if lines == 1 else 's'}, {units.file_size(len(text.encode()))}"
