"""Whether a question is of the one kind a narrow pair was made for, and what to do where it is not.

Knows only the question's words and the pair's vocabulary: a pair trained on one kind of text holds its words as whole
tokens and spells all others in pieces.
"""

from __future__ import annotations

import re

from glimp_local.engine import Vocabulary

_MOST_UNKNOWN = 1 / 3
"""From this share of unknown words on, a question is not of the pair's kind."""
_EXAMPLES = 3
_WORDS = re.compile(r"[^\W\d_]+|[^\w\s.,;:!?'\"()%\u2019-]")
"""Words, and symbols that are not punctuation."""
_COUNTED = re.compile(r"\d (?:more )?(\w+)")
"""A thing, where it is counted."""


def objection(question: str, vocabulary: Vocabulary) -> str | None:
    """Say why a question is clearly not one for a pair that counts; None where it may be one."""
    if not any(character.isdigit() for character in question) and not _has_number_word(question):
        return "there is no number in it"
    if number := next((n for n in re.findall(r"\d[\d,.]*", question) if not _is_small(n)), None):
        return f"{number.rstrip('.,')} is not a whole number up to 999"
    words = _WORDS.findall(question)
    unknown = [word for word in words if not _is_known(word, vocabulary)]
    if len(unknown) < _MOST_UNKNOWN * len(words):
        return None
    return f"{len(unknown)} of its {len(words)} words are unknown to it, {_some(unknown)} for example"


def doubt(question: str, vocabulary: Vocabulary) -> str | None:
    """Name the words whose meaning such a pair can only guess; None where there are none.

    Unknown names, and things that are counted, are only copied; what happens to them has to be understood.
    """
    counted = set(_COUNTED.findall(question))
    unknown = [
        word
        for word in _WORDS.findall(question)
        if word.islower() and word not in counted and not _is_known(word, vocabulary)
    ]
    return _some(unknown) if unknown else None


def _some(words: list[str]) -> str:
    return ", ".join(map(repr, list(dict.fromkeys(words))[:_EXAMPLES]))


def _has_number_word(question: str) -> bool:
    return bool(re.search(r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", question, re.IGNORECASE))


def _is_small(number: str) -> bool:
    return re.fullmatch(r"\d{1,3}[.,]*", number) is not None


def _is_known(word: str, vocabulary: Vocabulary) -> bool:
    return any(len(vocabulary.tokenize(form)) == 1 for form in (f" {word}", f" {word.lower()}", word))
