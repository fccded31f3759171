"""Whether a question is one for a pair made for counting stories and small sums, and why not.

With `sums.py` and `stories.py` the one place that knows what such a pair can do. Knows only the question's words and
the pair's vocabulary. A question clearly outside is to be declined, with the reason; a counting story in anybody's own
words is not. Nothing here is imported before a pair of that kind is asked something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from glimp_local.engines import stories
from glimp_local.engines.protocol import Vocabulary
from glimp_local.engines.sums import read_sum

EXAMPLE = "Tom has 12 apples. He finds 3 more. How many apples does Tom have?"
"""A question that is one."""

_MOST_WORDS = 300
_MOST_CHARACTERS = 10 * _MOST_WORDS
_MOST_UNKNOWN = 1 / 3
"""From this share of unknown words on, an answer is in doubt."""
_EXAMPLES = 3
_ENDINGS = ("", "s", "es", "d", "ed", "n", "en", "ing")
_TAUGHT = frozenset({"remove", "removes", "removed", "somebody", "someone"})
"""Words that are no doubt's reason though they are read in pieces."""

_LIKE_ASCII = str.maketrans({"\u2019": "'", "\u2018": "'", "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00a0": " "})
_OTHER_DIGITS = re.compile(r"[^\W\d_a-z\u00b2\u00b3]|(?![0-9])\d")
"""Digits of other scripts, fractions and the like, among letters."""
_POLITE = r"(?:(?:please|pls|hey|hi|hello|ok|okay|so|can you|could you|would you|will you|i want you to)[,!.]?\s+)*"
_OTHER_TEXTS = (
    (re.compile(r'<file name="[^"\n]*" lines="\d+">'), "it has a file in it, and this pair reads questions alone"),
    (
        re.compile(
            r"```|\bdef \w+\(|^\s*import \w+|^\s*from [\w.]+ import\b|\bprint\(|console\.log|</?[a-z]+>|#include"
            r"|^\s*select\b.+\bfrom\b|\bselect \*|\)\s*[;{]|=>|\w\s*==\s*\w|!=|\{\s*[\"']|\bfunction \w*\("
            r"|\bin range\(|^\s*(?:sudo \w|rm -|git (?:add|clone|commit|pull|push|status)|pip install)",
            re.MULTILINE,
        ),
        "it has code in it",
    ),
    (re.compile(r"https?://|\bwww\."), "it has a link in it"),
    (
        re.compile(
            r"\byou are (?:an? |the |my )?(?:helpful|expert|ai|assistant|professional|large language|chatgpt|gpt|dan)\b"
            r"|\bignore (?:all |any |the |your )*(?:previous|prior|above|earlier|instructions)|\bsystem prompt\b"
            r"|\b(?:act|behave) as\b|\bpretend (?:to be|you are|that you are)\b|<\||\[/?inst\]|###|\brole-?play\b"
        ),
        "it is written as instructions to an assistant",
    ),
    (
        re.compile(
            rf"^{_POLITE}(?:(?:write|explain|translate|generate|compose|summari[sz]e|prove|describe|recommend|suggest"
            r"|convert|sing|implement|rewrite|paraphrase|debug|simplify|factori[sz]e|integrate|differentiate|plot)\b"
            r"(?! (?:has|had|have|gives|gave|is|was)\b)"
            r"|(?:draw|create|list|name|define|round|sort|reverse|spell|make (?:me|an?))\b"
            r"(?! (?:has|had|have|gives|gave|is|was)\b)(?!(?>.*?\d\b.*?\d\b).*how\s?many)"
            r"|tell me (?:a|an|about|why|how to|something)\b)",
            re.DOTALL,
        ),
        "it asks for something to be written or explained",
    ),
)
"""What is no question to a pair that counts, whatever numbers are in it."""
_WORDS = re.compile(r"[^\W\d_]+")
_BEFORE_NUMBER = re.compile(r"\b([a-z]+) (?:\d|(?:a|one) (?:half|third|quarter)\b)")


class Objection(NamedTuple):
    """Why a question is not one for the pair, or may be too much for it."""

    words: str
    declines: bool
    """Is it clearly outside? Else it is answered, with a notice."""


def objection(question: str, vocabulary: Vocabulary | None) -> Objection | None:
    """Return what there is to object to a question; None if it is one for a pair that counts.

    Without a vocabulary unknown words go unnoticed.
    """
    text = question.translate(_LIKE_ASCII).lower().strip()
    if reason := _too_long(question) or _other_text(text):
        return Objection(reason, declines=True)
    if (found := read_sum(text)) is not None:
        beside = f"it has {_examples(found.words)} in it beside a sum" if found.words else None
        hard = "it multiplies two numbers of several digits, and such a product often comes out wrong"
        return _objection(found.fault, beside or (hard if found.is_hard else None))
    fault = stories.fault(text)
    return _objection(fault, None if fault else stories.doubt(text) or _unknown(question, vocabulary))


def _objection(fault: str | None, doubt: str | None) -> Objection | None:
    reason = fault or doubt
    return None if reason is None else Objection(reason, declines=fault is not None)


def _too_long(question: str) -> str | None:
    if (length := len(question)) > _MOST_CHARACTERS:
        return f"it is too long ({length:,} characters; about {_MOST_WORDS} words can be read)"
    if (count := len(question.split())) > _MOST_WORDS:
        return f"it is too long ({count} words; about {_MOST_WORDS} can be read)"
    return None


def _other_text(text: str) -> str | None:
    letters = [character for character in text if character.isalpha()]
    if sum(not stories.is_latin(letter) for letter in letters) > len(letters) / 2:
        return "it is not in English"
    for digit in _OTHER_DIGITS.findall(text):
        if digit.isnumeric() and not digit.isalpha():
            return f"it has the digit {digit} in it, and 0 to 9 can be read"
    return next((reason for pattern, reason in _OTHER_TEXTS if pattern.search(text)), None)


def _unknown(question: str, vocabulary: Vocabulary | None) -> str | None:
    """Return which words are new to the pair, if they may be too much for it.

    New names and things are copied. But a verb says what happens, and it mostly stands before a number.
    """
    if vocabulary is None:
        return None
    words = [word for word in dict.fromkeys(_WORDS.findall(question)) if word.islower()]
    unknown = [word for word in words if not _is_known(word, vocabulary)]
    verbs = [word for word in _BEFORE_NUMBER.findall(question) if word in unknown]
    if not verbs and (not unknown or len(unknown) < _MOST_UNKNOWN * len(words)):
        return None
    return f"words in it are new to the pair, like {_examples(verbs or unknown)}"


def _is_known(word: str, vocabulary: Vocabulary) -> bool:
    """Is the word, or another form of it, one token? Rare forms of taught words are read in pieces."""
    stem = re.sub(r"(?<=\w\w)(?:e?s|e?d|e?n|ing)$", "", word)
    forms = {word, word.capitalize(), *(f"{base}{end}" for base in (word, stem) for end in _ENDINGS)}
    return word in _TAUGHT or any(len(vocabulary.tokenize(f" {form}")) == 1 for form in forms)


def _examples(words: Sequence[str]) -> str:
    return ", ".join(map(repr, words[:_EXAMPLES]))
