"""Whether a text is a counting story, and one that a pair that counts can do.

A counting story tells what somebody has and what happens to it, with at least one number, and asks how many there are
or who has more. Names, things and verbs may be any. Which numbers can be read stands in `sums.py`. Knows nothing of
models or vocabularies. All texts are in lower case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from glimp_local.engines.sums import (
    BEYOND,
    BEYOND_WORDS,
    FRACTION,
    LARGEST,
    NUMBER_WORD,
    OTHER_PART,
    OTHER_PARTS,
    is_readable,
    unreadable,
)

_FEWEST_WORDS = 5
"""Of fewer words it cannot be told whether they are English."""
_NO_NUMBER = f"it has no number that can be read (0 to {LARGEST}, or a word up to ninety-nine)"

# What is asked.

_TELLS = rf"(?! \w+ (?:\d|{NUMBER_WORD.pattern}))"
"""Behind "who": "Ben, who has 5 pens, finds 3 more" asks nothing."""
_DEMAND = re.compile(
    r"how\s?many|how\s?much"
    rf"|\b(?:who|which|whose)\b{_TELLS}[^.?!]*\b(?:more|most|fewer|fewest|less|least|larger|largest|bigger|biggest|smaller"
    r"|smallest)\b"
    r"|\bcount\b(?! (?:from|to|backwards?|down|up)\b)"
    r"|(?:\b(?:what|what's|whats)|(?:^|[.?!:])\s*(?:find|calculate|compute|give|tell|determine|work out))\b[^.?!]*"
    r"\b(?:left|total|sum|number|amount|remain|remains|remaining|difference|altogether|now|have|has|got)\b"
    r"|\bdifference\b"
    r"|\b(?:left|total|in all|altogether|together|remaining|remain|now)\s*\?+\s*$"
)
_QUESTION_WORD = re.compile(r"\b(?:what|what's|who|which|whose|why|when|where|how)\b")
_SEVERAL = re.compile(rf"how\s?many|how\s?much|\bwho\b{_TELLS} (?:has|have|had|owns|gets|got|is|was)\b")
_OTHER_DEMANDS = (
    (re.compile(r"\bprobability|\bchances?\b|\bodds\b|\bhow likely\b"), "it asks for a probability"),
    (
        re.compile(r"how\s?many (?:\w+ )?(?:ways|combinations|arrangements|permutations|outcomes)\b"),
        "it asks for combinations",
    ),
    (
        re.compile(r"\b(?:what|which|how much) (?:percent\w*|fraction|ratio|proportion)\b|\b(?:average|ratio)\b"),
        "it asks for a share or an average",
    ),
    (re.compile(r"\b(?:area|perimeter|volume|angle|radius|diameter)\b"), "it asks for a measure of a shape"),
    (
        re.compile(
            r"how\s?much\b[^.?!]*"
            r"\b(?:costs?|worth|pay|paid|owe|charge|price|spend|spent|earns?|money|change|weighs?)\b"
        ),
        "it asks for money or a weight",
    ),
    (re.compile(r"how\s?many\b[^.?!]*\b(?:costs?|worth|owes?)\b"), "it asks for a price"),
    (
        re.compile(
            r"how\s?many (?:seconds|minutes|hours|days|weeks|months|years)\b[^.?!]*"
            r"\b(?:take|takes|until|ago|old|last|later)\b"
        ),
        "it asks for a time",
    ),
)
_YES_OR_NO = re.compile(r"(?:^|[.!?]\s+)(?:is|are|do|does|did|has|have|was|were)\b[^.?!]*\?")
_FOLLOWS = re.compile(
    r"^(?:and|then|now|but|also|next|ok(?:ay)?,? now|so now|what if|what about|how about|if (?:he|she|they))\b"
)
_PRONOUN_FIRST = re.compile(
    r"^(?:he|she|they|it)\b(?! (?:has|have|had|owns?|starts?|keeps?|holds?|is|are|was|were|got)\b)"
)

# What is told.

_SENTENCES = re.compile(r"[.!?;](?=\s|$)|\n")
_NUMBERS = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*")
_QUANTITY = re.compile(
    r"\b(?:half|halves|halved|thirds?|quarters?|fifths?|sixths?|eighths?|tenths?|twice|thrice|doubl\w+|tripl\w+|all|none"
    r"|both|another|(?<=[a-z] )an?)\b"
)
"""Amounts without a number of their own: "She eats an apple and gives away half of the others"."""
_SUBORDINATE = re.compile(
    r"\b(?:if|when|after|given|suppose|supposing|assuming|once|since|because|with|having|out of|as|total of"
    r"|sum of)\b.*|:.*",
    re.DOTALL,
)
_SET_ASIDE = re.compile(r"\b\d{1,2}:\d\d\b|\b\d{1,3}(?:st|nd|rd|th)\b|\b\d{1,2}\s?[ap]\.?m\b")
"""Clock times and ordinals: no amounts, so they do no harm in a story."""
_FAULTS = (
    (
        re.compile(r"[$\u20ac\u00a3\u00a5\u20b9]\s?\d|\d\s?[$\u20ac\u00a3\u00a5\u20b9]"),
        "it is about money, and things are counted here",
    ),
    (re.compile(r"\d/\d"), FRACTION),
    (re.compile(r"\d\s*[-+*/=^\u00d7\u00f7]\s*\d|="), "it has a sum in signs in it, and a story is told in words"),
    (re.compile(r"(?<![\w-])-\d"), "it has a negative number in it"),
    (
        re.compile(
            r"\d\s?(?:kg|km|cm|mm|mph|kmh|ml|lbs?|oz|ft|\u00b0|[kmgt]b)\b|\d[mglhs]\b|\b(?:mph|km/h)\b"
            r"|\b(?:miles|kilomet(?:er|re)s) (?:per|an) hour\b"
        ),
        "it has a length, a weight, a time or a speed in it, and things are counted here",
    ),
    (BEYOND_WORDS, BEYOND),
    (OTHER_PART, OTHER_PARTS),
)
_WORDS = re.compile(r"[^\W\d_]+")
_ENGLISH = re.compile(
    r"\b(?:the|has|have|had|how|many|much|are|does|did|left|and|of|his|her|their|them|they|she|he|with|from|there|to|more"
    r"|than|each|gives|gave|buys|bought|my|you|your|for|if|then|now|together|is|was|it|that|this|be|can|not)\b"
)

# What may still be too much.

_UNITS = re.compile(
    r"how\s?much|(?:how\s?many|number of|amount of) (?:more )?(?:seconds|minutes|hours|days|weeks|months|years|miles"
    r"|inches|feet|degrees|(?:kilo)?met(?:er|re)s|lit(?:er|re)s|gallons|kilos|(?:kilo)?grams|money)\b"
)
_BEGINNING = re.compile(
    r"\b(?:at first|originally|initially|to begin with|in the beginning|at the start)\b"
    r"|\bdid\b.*\b(?:start|begin) with\b"
)
_VAGUE = re.compile(
    r"\b(?:has|have|had|are|were|buys|bought) (?:some|several|a few|many|a lot of)\b|\ba number\b(?! of)"
)
_TOTAL = re.compile(r"\b(?:together|altogether|in all|in total)\b")
_RATE = re.compile(
    r"\bper (?!cent\b)\w+|\b(?:once|twice|times) an? (?:minute|hour|day|week|month|year)\b"
    r"|\b(?:every|each) (?:minute|hour|day|week|month|year|morning|evening|night)\b(?! for\b)"
)
"""How long it lasts has to be said at once: "every day for 5 days"."""
_NUMBER = rf"(?:\d+|{NUMBER_WORD.pattern})"
_TOLD_OTHERWISE = (
    (re.compile(r"\ball but\b"), "it says 'all but', and what goes away is to be told"),
    (re.compile(r"\bif\b"), "it says 'if', and a story is told plainly, one sentence after another"),
    (
        re.compile(r"^(?:imagine|suppose|assume|say|let|draw|take|count|what|how|who|which|given|find|calculate)\b"),
        "it does not begin with who has how many",
    ),
    (
        re.compile(rf"^(?:[a-z]+ ){{1,3}}?(?:shares?|shared|splits?|divides?|divided) {_NUMBER}\b"),
        "it does not say how many there are before they are shared",
    ),
    (re.compile(r"\bhow many (?:are|were) we\b"), "it counts the people who tell it"),
    (
        re.compile(
            r"\bhow many (?:\w+ ){0,3}(?:did|does|do) (?!that\b)(?:\w+ ){1,2}?"
            r"(?:sell|eat|give|buy|make|bake|lose|spend|use)\b"
        ),
        "it asks how many somebody gained or lost, and what there is at the end is counted",
    ),
)
_YOUNG = re.compile(rf"\b{_NUMBER} (?:kittens|puppies|lambs|calves|chicks|piglets|foals|cubs|ducklings|babies|young)\b")
_RUN_ON = re.compile(r"[a-z0-9] (?<!and )(?<!then )(?<!so )(?<!of )(?<!know )(?<!me )(?<!out )how many\b")
_FEW = 2
"""Of so few amounts the models find the sentences themselves."""
_COMPARES = re.compile(
    rf"\b(?:twice|half|(?:{_NUMBER}|\w+) times|an? \w+) as (?:many|much)\b"
    rf"|\b{_NUMBER} (?:\w+ )?(?:more|fewer|less) (?:\w+ )?than\b"
)
_GLUED = re.compile(r"\b\d+[a-z]\w*")


def fault(text: str) -> str | None:
    """Return what keeps a text from being a counting story that the pair can do; None if nothing does."""
    quantities = _quantities(text)
    asked = _DEMAND.search(text)
    is_whole = asked is not None and quantities > 1
    if (_FOLLOWS.search(text) and not is_whole) or (_PRONOUN_FIRST.search(text) and quantities == 1):
        return "it continues an earlier question, and each one is answered by itself: tell the whole story"
    if not (re.search(r"\d", text) or NUMBER_WORD.search(text)):
        return BEYOND if BEYOND_WORDS.search(text) else _NO_NUMBER
    if asked is None or (_YES_OR_NO.search(text) and not _QUESTION_WORD.search(text)):
        return _asks_otherwise(text)
    return _first(_OTHER_DEMANDS, text) or _asks_much_or_tells_nothing(text) or _unreadable_number(text)


def doubt(text: str) -> str | None:
    """Return what a counting story has that may be too much for the pair; None if nothing is."""
    asking = next((sentence[found.start() :] for sentence, found in _demands(text)), "")
    if _BEGINNING.search(asking) or _VAGUE.search(text) or _tells_a_total(text):
        return "an amount at the beginning is not known, and the counting goes forwards"
    if unit := _UNITS.search(asking):
        return f"it asks {unit[0]!r}, and things are counted here"
    if rate := _RATE.search(text):
        return f"it says {rate[0]!r}, and things are counted one event after another"
    if _quantities(text) == 1:
        return "it has one number only"
    if reason := _first(_TOLD_OTHERWISE, text) or _told_otherwise(text):
        return reason
    odd = _GLUED.findall(_SET_ASIDE.sub("", text)) or [character for character in text if not _is_plain(character)]
    return f"it has {odd[0]!r} in it" if odd else None


def _told_otherwise(text: str) -> str | None:
    if (found := _COMPARES.search(text)) and not (
        _quantities(text[: found.start()]) or _DEMAND.search(text[: found.start()])
    ):
        return "it compares with an amount that is told only later"
    if (found := _YOUNG.search(text)) and _quantities(text[: found.start()]):
        return "young ones are born in it, and count as things of another kind"
    if _RUN_ON.search(text) and _quantities(text) > _FEW:
        return "its sentences run into each other: a full stop between them helps"
    return None


def is_latin(letter: str) -> bool:
    """Is it a letter of English's own alphabet, with an accent perhaps?"""
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


def _demands(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield the sentences that ask, and what they ask with."""
    for sentence in _SENTENCES.split(text):
        if found := _DEMAND.search(sentence):
            yield sentence, found


def _tells_a_total(text: str) -> bool:
    sentences = [sentence for sentence in _SENTENCES.split(text) if not _DEMAND.search(sentence)]
    return any(_TOTAL.search(sentence) and _quantities(sentence) for sentence in sentences)


def _first(reasons: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str | None:
    return next((reason for pattern, reason in reasons if pattern.search(text)), None)


def _is_plain(character: str) -> bool:
    return is_latin(character) or unicodedata.category(character)[0] in "PZM"


def _asks_otherwise(text: str) -> str:
    asks = _QUESTION_WORD.search(text)
    if len(_WORDS.findall(text)) >= _FEWEST_WORDS and not (asks or _ENGLISH.search(text)):
        return "it is not in plain English sentences"
    if asks or "?" in text:
        return "it asks for something other than a plain sum, how many, or who has more"
    return "it is neither a plain sum nor a story that ends in a question (how many are left? who has more?)"


def _asks_much_or_tells_nothing(text: str) -> str | None:
    if _questions(text) > 1:
        return "it asks several things: ask them one at a time"
    return None if re.search(r"[a-z]{2}", _told(text)) else "it tells of nothing that happens before it asks"


def _questions(text: str) -> int:
    """Count the questions in a text."""
    marked = [sentence for sentence in re.findall(r"[^.!?]*\?", text) if _QUESTION_WORD.search(sentence)]
    return max(len(marked), len(_SEVERAL.findall(text)))


def _told(text: str) -> str:
    """Return the parts of a text that tell something with an amount: what only asks tells nothing."""
    told = []
    for sentence in _SENTENCES.split(text):
        if (asked := _DEMAND.search(sentence)) is None:
            told.append(sentence)
            continue
        behind = _SUBORDINATE.search(sentence, asked.start())
        parts = (sentence[: asked.start()], behind[0] if behind else "")
        told += [part for part in parts if _quantities(part) > 1]  # "In 3 weeks, how many ..." is no story
    return " ".join(part for part in told if _quantities(part))


def _quantities(text: str) -> int:
    """Count the amounts in a text, those in words included; 0 if there is no number."""
    text = _SET_ASIDE.sub("", text)
    numbers = len(_NUMBERS.findall(text)) + len(NUMBER_WORD.findall(text))
    return numbers + len(_QUANTITY.findall(text)) if numbers else 0


def _unreadable_number(text: str) -> str | None:
    text = _SET_ASIDE.sub("", text)
    if reason := _first(_FAULTS, text):
        return reason
    number = next((number for number in _NUMBERS.findall(text) if not is_readable(number)), None)
    return unreadable(number) if number else None
