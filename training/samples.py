"""What the models learn from, and what they are tested with: the mixture of questions, and the held-out sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, repeat
from random import Random
from typing import NamedTuple

from training import unseen
from training.narrator import Style
from training.others import tell_other
from training.stories import EVENTS, WIDE_EVENTS, random_style, tell
from training.sums import Question, tell_sum
from training.wordings import TAUGHT
from training.words import COMMON, RARE

_SHARES = {"story": 0.55, "sum": 0.38, "other": 0.07}
"""Of the questions; a sum has a tenth of a story's tokens."""
_RARE = 0.25
"""Of the stories are of rare words."""
_IDLE = 0.2
"""More sentences that change nothing than the tests have: telling them is learnt slowly."""


def _plain(rng: Random) -> Question:
    return tell(rng, COMMON, TAUGHT, events=(2, 5), style=Style(is_plain=True), idle=0.05)


class HeldOut(NamedTuple):
    """A set of questions to test with."""

    most: int
    """Questions that training never sees, except for other texts."""
    make: Callable[[Random], Question]


STORIES, OTHERS = "stories", "other texts"
SETS = {
    STORIES: HeldOut(500, lambda rng: tell(rng, COMMON, TAUGHT)),
    "stories of held-out words": HeldOut(200, lambda rng: tell(rng, unseen.NOUNS, TAUGHT)),
    "stories in held-out wordings": HeldOut(100, lambda rng: tell(rng, unseen.NOUNS, unseen.WORDINGS, events=(1, 4))),
    "stories whose sentences begin alike": HeldOut(100, _plain),
    "plain sums": HeldOut(200, lambda rng: tell_sum(rng, broken=0.0)),
    OTHERS: HeldOut(100, tell_other),
}
TEST, VALIDATION, SUITE = 1, 2, 3
"""Seeds of the held-out questions: the ones reported, the ones settings were chosen on, the test suite's."""


def held_out(name: str, count: int, seed: int) -> list[Question]:
    """Return the first `count` questions of a held-out set, with an answer in a box except for other texts."""
    rng = Random(f"held out {name} {seed}")
    questions = (SETS[name].make(rng) for _ in repeat(None))
    return list(islice((q for q in questions if q.boxed is not None or name == OTHERS), count))


@cache
def _kept_apart() -> frozenset[str]:
    """Return what training never shows; there are too few greetings to keep some apart."""
    names = [name for name in SETS if name != OTHERS]
    return frozenset(
        question.question
        for name in names
        for seed in (TEST, VALIDATION, SUITE)
        for question in held_out(name, SETS[name].most, seed)
    )


def endless(seed: str, *, rare: float = _RARE, wide: bool = False) -> Iterator[Question]:
    """Yield training questions without end, none of them held out.

    `rare` is the share of stories of rare words; `wide` stories are told in more ways than the pair is tested on.
    """
    rng = Random(seed)
    while True:
        kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
        question = (
            tell_sum(rng) if kind == "sum" else tell_other(rng) if kind == "other" else _story(rng, rare, is_wide=wide)
        )
        if question.question not in _kept_apart():
            yield question


def _story(rng: Random, rare: float, *, is_wide: bool) -> Question:
    made_up = rng.choice([0.0, 0.0, 0.0, 0.5, 1.0])
    style = random_style(rng, made_up=made_up, unknown_verbs=0.3 if rng.random() < 0.15 else 0.0, is_wide=is_wide)
    nouns = RARE if rng.random() < rare else COMMON
    events = (1, 2) if rng.random() < 0.35 else WIDE_EVENTS if is_wide else EVENTS
    return tell(rng, nouns, TAUGHT, events=events, style=style, idle=_IDLE, broken=0.04)
