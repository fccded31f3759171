"""Whether a question is of the one kind a narrow pair was made for, and what to do where it is not.

Knows only the question's words and the pair's vocabulary: a pair trained on one kind of text holds its words as whole
tokens and spells all others in pieces.
"""

from __future__ import annotations

import re

from glimp_local.engines.protocol import Vocabulary

_MOST_UNKNOWN = 1 / 3
"""From this share of unknown words on, a question is not of the pair's kind."""
_EXAMPLES = 3
_WORDS = re.compile(r"[^\W\d_]+|[^\w\s.,;:!?'\"()%\u2019-]")
"""Words, and symbols that are not punctuation."""
_NUMBERS = re.compile(r"(?<!\w)-?\d[\d.,/]*")
_NUMBER_WORDS = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_SIGNS = re.compile(r"[-+*/=\u00d7\u00f7](?=\s)")


def objection(question: str, vocabulary: Vocabulary) -> str | None:
    """Say why a question is not one for a pair that counts, or hardly; None where it is."""
    if reason := _other_kind(question):
        return f"this is not one: {reason}"
    words = list(dict.fromkeys(_WORDS.findall(question)))
    unknown = [word for word in words if not _is_known(word, vocabulary)]
    if not unknown:
        return None
    verdict = "this is not one" if len(unknown) >= _MOST_UNKNOWN * len(words) else "it may well get this one wrong"
    examples = ", ".join(map(repr, unknown[:_EXAMPLES]))
    are = "is" if len(unknown) == 1 else "are"
    return f"{verdict}: {len(unknown)} of its {len(words)} different words {are} unknown to it, like {examples}"


def _other_kind(question: str) -> str | None:
    """Say what keeps a question from being a counting story, whatever its words."""
    numbers = [number.rstrip(".,/") for number in _NUMBERS.findall(question)]
    if not numbers and not _NUMBER_WORDS.search(question):
        return "it has no number the pair can read (1 to 999, or a word from two to twelve)"
    if number := next((n for n in numbers if not re.fullmatch(r"[1-9]\d{0,2}", n)), None):
        return f"{number} is not a whole number from 1 to 999"
    if sign := _SIGNS.search(question):
        return f"it has the sign {sign[0]!r} in it, and a story is told in words"
    if sum(bool(_WORDS.search(sentence)) for sentence in re.split(r"[.!?]\s", question)) <= 1:
        return "it is one sentence at most, and a story tells what happens before it asks"
    return None


def _is_known(word: str, vocabulary: Vocabulary) -> bool:
    forms = (f" {word}", f" {word.lower()}", f" {word.capitalize()}", word)
    return any(len(vocabulary.tokenize(form)) == 1 for form in forms)
