"""Whether a text is a plain sum, and one that a pair that counts can do.

A plain sum stands alone, with nothing but a few words of asking around it: "what is 12*7?", "17 + 25 =", "half of 46".
Knows nothing of stories, models or vocabularies.
"""

from __future__ import annotations

import re
from fractions import Fraction
from operator import add, mul, sub, truediv
from typing import NamedTuple

_ONES = "one|two|three|four|five|six|seven|eight|nine"
_BELOW_20 = f"zero|{_ONES}|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
LARGEST = 999
NUMBER_WORD = re.compile(rf"\b(?:(?:{_TENS})(?:[- ](?:{_ONES}))?|{_BELOW_20})\b")
"""The number words that a pair reads, in lower case."""
BEYOND_WORDS = re.compile(r"\b(?:hundreds?|thousands?|millions?|billions?|dozens?)\b")
BEYOND = f"it has a number word in it like hundred or dozen; in digits it can be read, up to {LARGEST}"

OTHER_PART = re.compile(
    r"(?<![\d.])(?!(?:10|20|25|50)\s?(?:%|per))\d[\d.,]*\s?(?:%|percent\b|per cent\b)(?=\s+of\b)"
    r"|\b(?:seventh|ninth|eleventh|twelfth|(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s)\s+of\b"
)
"""A part of something other than those a pair takes, in lower case."""
OTHER_PARTS = "it takes a part other than a half, a third, a quarter, a fifth, a sixth, an eighth or a tenth"
FRACTION = "it has a fraction in digits; half, a third or 25% can be read"

_NO_RESULT = f"what comes out, or comes out on the way, is no whole number from 0 to {LARGEST}"

_MOST_NUMBERS = 3
_MOST_WORDS = 4
"""A text with more words that have nothing to do with a sum is no plain sum."""
_MOST_THINGS = 2

_PARTS = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "fourth": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "seventh": Fraction(1, 7),
    "eighth": Fraction(1, 8),
    "ninth": Fraction(1, 9),
    "tenth": Fraction(1, 10),
    "double": Fraction(2),
    "twice": Fraction(2),
    "triple": Fraction(3),
    "thrice": Fraction(3),
}
_PART = "|".join(_PARTS)
_SIGNS = {
    **dict.fromkeys(("+", "plus", "added to", "more than"), add),
    **dict.fromkeys(("-", "minus", "less"), sub),
    **dict.fromkeys(("*", "x", "\u00d7", "\u00b7", "times", "multiplied by"), mul),
    **dict.fromkeys(("/", ":", "\u00f7", "divided by", "shared by", "over"), truediv),
}
_ONE_PART = re.compile(rf"\b(?:a|an|one)\s+(?={_PART})")
_TOKENS = re.compile(
    rf"""
      (?P<P> \d+(?:[.,]\d+)?\s?(?:%|percent\b|per\ cent\b)(?=\s+of\b) | \b(?:{_PART})\b )
    | (?P<N> \d+(?:[.,]\d+)* )
    | (?P<o> \b(?:plus|minus|times|(?:multiplied|divided|shared)\s+by|over|take\s+away|added\s+to
               |(?:more|less)\s+than|less)\b
           | (?<=\d)\s*[x:]\s*(?=\d) | (?<![a-z])[-+*/\u00d7\u00b7\u00f7](?![a-z]) )
    | (?P<F> \b(?:sum|product|difference|quotient|add|subtract|multiply|divide|take)\b )
    | (?P<and> \band\b )
    | (?P<c> \b(?:to|from|by|between|with|of)\b | , )
    | (?P<lead> \b(?:what's|whats|what|wats|is|are|does|do|how|much|many|calculate|calc|compute|evaluate|work|out|solve
           |find|tell|give|me|the|a|an|i|u|you|your|can|could|would|will|want|need|know|please|pls|plz|thanks|thank
           |answer|result|value|total|equals?|make|makes|get|if|when|we|hey|hi|hello|hola|there|ok|okay|question|quick
           |for|in|all|altogether|together|it|this|that|so|now|just|right|exactly|hmm|um
           |squared|cubed|power|square|root|sqrt|log|modulo|mod)\b )
    | (?P<w> [^\W\d_\u00b2\u00b3][^\W\d_\u00b2\u00b3']* )
    """,
    re.VERBOSE,
)
_SHAPES = re.compile(r"N(?:[o&]N){1,2}|Fc*N(?:[c&]+N){1,2}|Pc?N")

_HAS_TOO_MUCH = (
    (re.compile(r"\*\*|\^|[\u00b2\u00b3]|\b(?:squared|cubed|to the power)\b"), "it has a power in it"),
    (
        re.compile(r"\u221a|\bsqrt\b|\bsquare root\b|\blog\b|\bmod(?:ulo)?\b|%\s*\d"),
        "it is more than plus, minus, times or divided by",
    ),
    (re.compile(r"[()\[\]]"), "it has brackets in it"),
    (re.compile(r"[$\u20ac\u00a3\u00a5\u20b9\\]"), "it has a sign in it that a plain sum does not have"),
    (BEYOND_WORDS, BEYOND),
    (OTHER_PART, OTHER_PARTS),
    (re.compile(r"\d\s?/\s?\d+\s+of\b"), FRACTION),
    (re.compile(r"\d!\s*(?:=|$)"), "it has a factorial in it"),
    (
        re.compile(
            r"\b\d*[abcnyz]\s*[-+*/=]|[-+*/=]\s*\d*[abcnxyz]\b|(?<![\d\s])\s*x\s*[-+*/=]|\dx(?!\s*\d)"
            r"|\bmakes? \d+ (?:when|if)\b"
            r"|(?:\bwhat|[?_])\s*(?:[-+*/]|plus|minus|times)|(?:[-+*/]|plus|minus|times)\s*(?:what\b|[?_])\s*\S"
        ),
        "it has an unknown to solve for",
    ),
    (re.compile(r"=\s*[-+]?\d"), "it has a result already"),
    (re.compile(r"(?<!what )(?<!much )(?<!many )\bis \S+ (?:more|less) than\b"), "it asks for yes or no"),
    (
        re.compile(r"(?:^|[-+*/=\u00d7\u00f7]|\b(?:is|of|plus|minus|times|by|and))\s*-\s*\d|\bnegative\b"),
        "it has a negative number in it",
    ),
)


class Sum(NamedTuple):
    """A text that is a sum."""

    fault: str | None = None
    """Why it is not one the pair can do; None if it is."""
    words: tuple[str, ...] = ()
    """Words in it that a bare sum does not have."""
    is_hard: bool = False
    """Does it multiply two numbers that both have several digits? The models take such a product apart."""


def read_sum(text: str) -> Sum | None:
    """Return what is known of a text, in lower case, that is a sum; None for any other text."""
    text = _ONE_PART.sub("", text)
    text = NUMBER_WORD.sub(lambda found: str(_value(found[0])), text)
    tokens = [(str(found.lastgroup), found[0].strip()) for found in _TOKENS.finditer(text)]
    words = [token for kind, token in tokens if kind == "w"]
    shape = "".join("&" if kind == "and" else kind for kind, _ in tokens if kind != "lead")
    numbers = [token for kind, token in tokens if kind == "N"]
    if not numbers or len(words) > _MOST_WORDS:
        return None
    fault = next((reason for pattern, reason in _HAS_TOO_MUCH if pattern.search(text)), None)
    if not (fault or re.search("[oPF]", shape) or re.fullmatch("[c&]*N(?:&N)+", shape)):
        return None
    if words and not _with_words(shape, words):
        return Sum(fault) if fault and re.search(r"\d\s*[-+*/=^]|[-+*/=^]\s*\d", text) else None
    bare = shape.replace("w", "").strip("c&")
    fault = fault or _fault(bare, numbers) or _result_fault(bare, tokens)
    return Sum(fault, tuple(dict.fromkeys(words)), is_hard=_is_hard(tokens))


def _with_words(shape: str, words: list[str]) -> bool:
    """Is it a sum of things ("5 apples plus 3 apples"), or one with a word or two around it ("erm 5 + 3")?"""
    if re.fullmatch(r"[c&]*Nw(?:oNw?){1,2}", shape):
        return len(set(words)) <= _MOST_THINGS
    return bool(re.fullmatch(r"[wc&]*N(?:oN){1,2}[wc&]*", shape))


def _fault(shape: str, numbers: list[str]) -> str | None:
    """Return what keeps a sum from being one of two or three whole numbers."""
    if number := next((number for number in numbers if not is_readable(number)), None):
        return unreadable(number)
    if len(numbers) > _MOST_NUMBERS:
        return f"it has {len(numbers)} numbers, and a sum has two or three"
    if not _SHAPES.fullmatch(shape):
        return "it is not one sum of two or three numbers"
    return None


def _result_fault(shape: str, tokens: list[tuple[str, str]]) -> str | None:
    """Return why the pair cannot say what comes out; None if it can, or if the sum is not told in signs."""
    numbers = [Fraction(token) for kind, token in tokens if kind == "N"]
    if re.fullmatch("N(?:oN)+", shape):
        told = [token for kind, token in tokens if kind == "o"]
        if not all(token in _SIGNS for token in told):
            return None
        signs = [_SIGNS[token] for token in told]
    elif re.fullmatch("Pc?N", shape):
        part = next(token for kind, token in tokens if kind == "P")
        digits = re.match(r"\d+", part)
        numbers, signs = [Fraction(int(digits[0]), 100) if digits else _PARTS[part], *numbers], [mul]
    else:
        return None
    while signs:
        at = next((at for at, sign in enumerate(signs) if sign in {mul, truediv}), 0)
        sign, (one, other) = signs.pop(at), numbers[at : at + 2]
        if sign is truediv and not other:
            return _NO_RESULT
        result = sign(one, other)
        if result.denominator != 1 or not 0 <= result <= LARGEST:
            return _NO_RESULT
        numbers[at : at + 2] = [result]
    return None


def _is_hard(tokens: list[tuple[str, str]]) -> bool:
    kinds = [(kind, token) for kind, token in tokens if kind in "No"]
    return any(
        _SIGNS.get(sign) is mul and len(one.rstrip("0")) > 1 and len(other.rstrip("0")) > 1
        for (_, one), (kind, sign), (_, other) in zip(kinds, kinds[1:], kinds[2:], strict=False)
        if kind == "o"
    )


def is_readable(number: str) -> bool:
    """Is it a whole number from 0 to 999, as it is written?"""
    return bool(re.fullmatch(r"0|[1-9]\d{0,2}", number))


def unreadable(number: str) -> str:
    """Return why a number cannot be read."""
    shown = number if len(number) <= 20 else f"{number[:20]}\u2026"  # noqa: PLR2004 - enough to recognise it
    return f"{shown} is not a whole number from 0 to {LARGEST}"


def _value(word: str) -> int:
    tens, _, ones = word.replace("-", " ").partition(" ")
    below_20, from_20 = _BELOW_20.split("|"), _TENS.split("|")
    if tens in from_20:
        return 20 + 10 * from_20.index(tens) + (below_20.index(ones) if ones else 0)
    return below_20.index(word)
