"""Tells files from texts in arguments that may be either: `glimp solve problem.txt`, `glimp solve "what is 12*7?"`.

A file of that name always wins. Otherwise what has a blank in it, or ends in a question mark, is a text, unless it
looks like the path of a file that is misspelt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from glimp_local.errors import UsageError

_BEGINS_LIKE_A_PATH = re.compile(r"(~\w*|\.{0,2}|[A-Za-z]:)[/\\]")
_ENDS_LIKE_A_FILE = re.compile(r"\.[A-Za-z]\w{0,4}$")
_SEPARATOR = re.compile(r"(?<![\d\s)])[/\\](?![\d\s(])")
"""One that stands in no division, as in 84 / 7."""
_SENTENCE = re.compile(r"[.!?;:,](\s|$)")
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
"""Of Latin, Chinese and Arabic script."""
_UNSAFE = re.compile(r'["$`\\!%\n]')
"""What a shell reads between double quotes, or what ends them."""
_MOST_SHOWN = 60
"""Characters of an argument in a message."""


def is_text(argument: str) -> bool:
    """Return whether an argument is a text, and not the name of a file or of one that is misspelt."""
    if argument == "-" or os.path.lexists(argument) or _looks_like_a_path(argument):
        return False
    return _has_blank(argument) or argument.strip().endswith(_QUESTION_MARKS)


def check_single(arguments: Sequence[str], command: str) -> None:
    """Raise UsageError if there is more than one argument: most likely a question without quotes."""
    if len(arguments) <= 1:
        return
    text = " ".join(arguments)
    if any(map(os.path.lexists, arguments)) or _looks_like_a_path(arguments[0]):
        raise UsageError(
            f"{len(arguments)} arguments are given, and {command} takes one: {shortened(text)}",
            hint=f'a question stands in quotes, as in {command} "what is 12*7?"',
        )
    raise UsageError(
        f"the question is in {len(arguments)} arguments: {shortened(text)}",
        hint=f"put it in quotes: {command} {quoted(text)}",
    )


def _looks_like_a_path(argument: str) -> bool:
    text = argument.strip()
    if "\n" in text:
        return False
    if _BEGINS_LIKE_A_PATH.match(text) or _ENDS_LIKE_A_FILE.search(text):
        return True
    is_sentence = _has_blank(text) and (text.endswith(_QUESTION_MARKS) or _SENTENCE.search(text))
    return not is_sentence and _SEPARATOR.search(text) is not None


def _has_blank(argument: str) -> bool:
    return any(map(str.isspace, argument.strip()))


def quoted(text: str) -> str:
    """Return a text between double quotes, to be typed in any shell; dots in place of one that is long or not safe."""
    return '"..."' if len(text) > _MOST_SHOWN or _UNSAFE.search(text) else f'"{text}"'


def shortened(text: str) -> str:
    """Return a text for a message, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."
