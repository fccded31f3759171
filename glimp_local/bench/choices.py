r"""Problems of multiple choice: how their choices are shown, and which letter an answer names.

The letter is expected in a `\boxed{}`. An answer without one counts if it says "the answer is (C)", or is nothing but
a choice; a letter in running text ("A man ...") never does. Knows nothing of models or files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from string import ascii_uppercase

from glimp_local.events import last_boxed

MOST = len(ascii_uppercase)
"""Choices of one problem."""

_STYLE = re.compile(r"\\(?:text|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|mathsf|mbox)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"\\(?:left|right)\b|\\[()\[\]]|\*\*|__|\$")
_SPACES = re.compile(r"\\[,;:! ]|~|\s+")
_ALONE = re.compile(r"(?i:(?:the\s+)?(?:answer|option|choice)\s*:?\s*(?:is\s+)?)?[(\[]?([A-Za-z])[)\].:]*")
_WITH_TEXT = re.compile(r"[(\[]?([A-Z])(?:[)\]][.:]?\s*|[.:]\s+|\s+[-\u2013\u2014]\s+)(\S.*)", re.DOTALL)
_OTHERS = re.compile(r"(?:(?:\s*(?:,|/|&|and\b|or\b)\s*[(\[]?|\s*[(\[])[A-Z]\b[)\]]?)+\.?")
"""Behind a letter: further ones, and nothing else."""
_SAID = re.compile(
    r"""
    (?i: \b (?: answer | (?: correct | right | best ) \s+ (?: option | choice ) )
         (?: \s+ (?: is | would\ be ) \b \s* :? | \s* : ) \s*
         (?: (?: option | choice ) \s+ )? )
    (?: [(\[] (?P<bracketed> [A-Z] ) [)\]]
      | (?P<bare> [A-Z] ) (?= \s* $ | [),;!] | [.:] (?! \s* [a-z] ) | \s+ [-\u2013\u2014] \s ) )
    (?! [)\]]? \s* (?: , | / | \b or \b | \b and \b ) \s* [(\[]? [A-Z] \b )
    """,
    re.VERBOSE | re.MULTILINE,
)
_LINE = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\]](?=[ \t.:]|$)", re.MULTILINE)
"""A line that begins with the letter of a choice, in brackets."""


def shown(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices below it, each on a line behind its letter: (A), (B), ..."""
    lines = (f"({letter}) {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))
    return f"{question}\n\n" + "\n".join(lines)


def shuffled(question: str, choices: Sequence[str]) -> list[str]:
    """Return the choices in an order that hangs on their text and the question's alone.

    It is the same in every run, wherever the problem stands in its file and in whichever order its choices came.
    """

    def place(choice: str) -> bytes:
        return blake2b(f"{question}\0{choice}".encode()).digest()

    return sorted(choices, key=place)


def letters(choices: Sequence[str]) -> str:
    """Return the letters of the choices, in their order."""
    return ascii_uppercase[: len(choices)]


def chosen(answer_text: str, choices: Sequence[str]) -> str | None:
    r"""Return the letter of the choice that an answer names; None if it names none, or several.

    The last `\boxed{}` decides, if there is one: it may hold the letter in any usual spelling, with or without the
    choice's text, or that text alone.
    """
    boxed = last_boxed(answer_text)
    if boxed is not None:
        return _read(_plain(boxed), choices)
    text = _plain(answer_text)
    found = _read(text, choices) if "\n" not in text else None
    return found or _said(text, choices) or _begun(text, choices)


def _read(text: str, choices: Sequence[str]) -> str | None:
    """Read a text that is nothing but a choice."""
    alone = _ALONE.fullmatch(text)
    if alone and alone[1] in letters(choices):
        return alone[1]
    # Before what only looks like a letter: "c" may be a speed, and "A. thaliana" a plant.
    if (same := _of_text(text, choices)) is not None:
        return same
    with_text = _WITH_TEXT.fullmatch(text)
    if with_text and _OTHERS.fullmatch(with_text[2]):
        return None
    letter = alone[1].upper() if alone else with_text[1] if with_text else None
    return letter if letter and letter in letters(choices) else None


def _of_text(text: str, choices: Sequence[str]) -> str | None:
    """Find the one choice whose text this is, with regard to case if that tells two apart."""
    spelled: tuple[Callable[[str], str], ...] = (_spelled, lambda one: _spelled(one).casefold())
    for spell in spelled:
        wanted = spell(text)
        same = [letter for letter, choice in zip(letters(choices), choices, strict=True) if spell(choice) == wanted]
        if wanted and len(same) == 1:
            return same[0]
    return None


def _said(text: str, choices: Sequence[str]) -> str | None:
    said = [found["bracketed"] or found["bare"] for found in _SAID.finditer(text)]
    return said[-1] if said and said[-1] in letters(choices) else None


def _begun(text: str, choices: Sequence[str]) -> str | None:
    """Return the one letter that lines begin with: several do in an answer that goes through all choices."""
    begun = {found[1] for found in _LINE.finditer(text)}
    letter = begun.pop() if len(begun) == 1 else ""
    return letter if letter and letter in letters(choices) else None


def _plain(text: str) -> str:
    r"""Leave out what is of no account beside a letter: emphasis, the signs of a formula, `\text{}` and its kin."""
    before = None
    while before != text:
        before, text = text, _STYLE.sub(r"\1", text)
    return _MARKS.sub("", text).strip()


def _spelled(text: str) -> str:
    return re.sub(r"[{}]", "", _SPACES.sub("", _plain(text))).rstrip(".")
