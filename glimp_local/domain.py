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
_NUMBERS = re.compile(r"(?<!\w)-?\d[\d.,/]*")
_NUMBER_WORDS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_SIGNS = re.compile(r"[-+*/=\u00d7\u00f7](?=\s)")
_COUNTED = re.compile(rf"(?:\d|\b(?:{_NUMBER_WORDS})) (?:more )?(\w+)|how many (\w+s)\b", re.IGNORECASE)
"""A thing, where it is counted."""


def objection(question: str, vocabulary: Vocabulary) -> str | None:
    """Say why a question is clearly not one for a pair that counts; None where it may be one."""
    numbers = [number.rstrip(".,/") for number in _NUMBERS.findall(question)]
    if not numbers and not re.search(rf"\b({_NUMBER_WORDS})\b", question, re.IGNORECASE):
        return "it has no number the pair can read (1 to 999, or a word from two to twelve)"
    if number := next((n for n in numbers if not re.fullmatch(r"[1-9]\d{0,2}", n)), None):
        return f"{number} is not a whole number from 1 to 999"
    if sign := _SIGNS.search(question):
        return f"it has the sign {sign[0]!r} in it, and a story is told in words"
    if sum(bool(_WORDS.search(sentence)) for sentence in re.split(r"[.!?]\s", question)) <= 1:
        return "it is one sentence at most, and a story tells what happens before it asks"
    words = list(dict.fromkeys(_WORDS.findall(question)))
    unknown = [word for word in words if not _is_known(word, vocabulary)]
    if unknown and len(unknown) >= _MOST_UNKNOWN * len(words):
        return f"{len(unknown)} of its {len(words)} different words are unknown to it, like {_some(unknown)}"
    return None


def doubt(question: str, vocabulary: Vocabulary) -> str | None:
    """Name the words whose meaning such a pair can only guess; None where there are none.

    Unknown names, and things that are counted, are only copied; what happens to them has to be understood.
    """
    counted = {word for words in _COUNTED.findall(question) for word in words}
    guessed = [word for word in dict.fromkeys(_WORDS.findall(question)) if word.islower() and word not in counted]
    unknown = [word for word in guessed if not _is_known(word, vocabulary)]
    return _some(unknown) if unknown else None


def _some(words: list[str]) -> str:
    return ", ".join(map(repr, words[:_EXAMPLES]))


def _is_known(word: str, vocabulary: Vocabulary) -> bool:
    forms = (f" {word}", f" {word.lower()}", f" {word.capitalize()}", word)
    return any(len(vocabulary.tokenize(form)) == 1 for form in forms)
