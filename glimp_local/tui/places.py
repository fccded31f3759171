"""Where in a conversation some words are: questions, steps of thoughts and answers, paragraph by paragraph.

What is searched is the text as it is shown, folded thoughts included, whatever of it is on the screen: formulas
readable, and without the signs of Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from glimp_local.runs import Run
from glimp_local.text import harmless
from glimp_local.tui.maths import readable

_SIGNS = re.compile(r"[*_`~\\]")
_BLANK_LINE = re.compile(r"\n\s*\n")


class Place(NamedTuple):
    """A paragraph with the words."""

    turn: int
    """The turn's place in the conversation."""
    part: Literal["question", "step", "answer"]
    step: int
    """Its number; 0 for a question or an answer."""
    nth: int
    """The number of paragraphs with the words before this one in the same part."""


def places(runs: Iterable[Run], words: str) -> list[Place]:
    """Return all paragraphs that hold these words one behind the other, in reading order; none for a blank."""
    wanted = _plain(words)
    if not wanted:
        return []
    return [
        Place(turn, part, step, nth)
        for turn, run in enumerate(runs)
        for part, step, text in _parts(run)
        for nth in range(sum(wanted in paragraph for paragraph in _paragraphs(text)))
    ]


def pattern(words: str) -> re.Pattern[str]:
    """Return what finds the words in a text on the screen, wherever its lines are broken."""
    return re.compile(r"\s+".join(map(re.escape, words.split())), re.IGNORECASE)


def _parts(run: Run) -> Iterator[tuple[Literal["question", "step", "answer"], int, str]]:
    yield "question", 0, run.asked
    yield from (("step", step.index, step.text) for step in run.steps if step.part != "answer")
    yield "answer", 0, "".join(step.text for step in run.steps if step.part == "answer")


@lru_cache(maxsize=1 << 14)
def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(map(_plain, _BLANK_LINE.split(readable(harmless(text)))))


def _plain(text: str) -> str:
    """Return a text without capitals, signs of Markdown and breaks of lines."""
    return " ".join(_SIGNS.sub("", text).casefold().split())
