"""The stories and sums the built-in pair learns from: what they reckon is right, what tests it is kept apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice, pairwise
from random import Random

import pytest

from training import broad, unseen
from training.broad import BROAD, MIXED
from training.inflection import inflect, singular
from training.narrator import Style
from training.others import ANSWER, tell_other
from training.samples import OTHERS, SETS, STORIES, endless, held_out
from training.stories import EVENTS, beginning, tell
from training.sums import LARGEST, BrokenSum, Question, tell_sum
from training.told import without_verb
from training.wordings import KINDS, TAUGHT
from training.words import COMMON, RARE, Nouns, in_words

NAMES = pytest.mark.parametrize("name", [name for name in SETS if name.startswith("stories")])
_SIGNS = {
    **dict.fromkeys(("Add", "More", "Together", "Both"), "+"),
    **dict.fromkeys(("Take", "Fewer", "Difference"), "-"),
    **dict.fromkeys(("Multiply", "Multiple", "Packs"), "*"),
    **dict.fromkeys(("Divide", "Part", "Half"), "/"),
    "Give": "-",
    "Then": "+",
}
_SUM = re.compile(r"(\w+): (?:(\D+) )?(\d+) ([-+*/]) (\d+)\.")
_COMPARISONS = {"More", "Fewer", "Multiple", "Half"}
_WHOLE = {"Packs", "Part", "Together", "Difference", "Both"}
"""Sums whose result is nobody's amount."""


def reckon(x: int, sign: str, y: int) -> int:
    if sign == "/":
        assert x % y == 0, f"{x} / {y} does not come out whole"
        return x // y
    return {"+": x + y, "-": x - y, "*": x * y}[sign]


def amounts_in(text: str) -> dict[str, int]:
    return {part.rsplit(" ", 1)[0]: int(part.rsplit(" ", 1)[1]) for part in text.split(", ")}


class Follower:
    """Works a thought out by its own words, with another program than the one that wrote it."""

    def __init__(self) -> None:
        self.amounts: dict[str, int] = {}
        self.result: int | None = None
        self.holder: str | None = None
        self.keyword = ""

    def read(self, step: str) -> None:
        keyword, _, rest = step.removesuffix(".").partition(": ")
        if step.startswith((">", "Count: ")) or step == "Nothing.":
            return
        if step == "Below 0." and self.keyword == "Difference":  # the second one has more
            assert self.result is not None
            assert self.result < 0
            return
        if re.fullmatch(r"\d+\.", step):
            assert int(rest or step.removesuffix(".")) == self.result
            if self.holder is not None:
                self.amounts[self.holder] = int(step.removesuffix("."))
            return
        if keyword == "Then":  # the giver's amount stands before the sum
            giver, _, rest = rest.partition(", ")
            assert amounts_in(giver) == {self.holder: self.result}
            step = f"Then: {rest}."
        if found := _SUM.fullmatch(step):
            self._begin(*found.groups())
        else:
            self._state(keyword, rest)

    def _begin(self, keyword: str, holder: str | None, x: str, sign: str, y: str) -> None:
        assert sign == _SIGNS[keyword]
        if keyword == "Take" and self.keyword == "Part":
            assert int(y) == self.result
        if holder is not None:
            assert self.amounts[holder] == int(x)
        self.keyword, self.result = keyword, reckon(int(x), sign, int(y))
        self.holder = None if keyword in _COMPARISONS | _WHOLE else holder

    def _state(self, keyword: str, rest: str) -> None:
        if keyword == "Asked":
            self._asked(rest)
            return
        now = amounts_in(rest)
        if keyword == "Swap":
            assert now == dict(zip(self.amounts, reversed(self.amounts.values()), strict=True))
        elif keyword == "Now" and len(now) > len(self.amounts):  # a comparison, packs or two sorts at the start
            assert list(now.values())[-1] == self.result
        elif keyword == "Now":
            assert now == self.amounts
        else:
            assert keyword == "Start"
            assert len(now) > len(self.amounts)
        self.amounts = now

    def _asked(self, rest: str) -> None:
        if " > " in rest:
            (x, y) = (amounts_in(part) for part in rest.split(" > "))
            assert {**x, **y}.items() <= self.amounts.items()
            assert min(x.values()) > max(y.values())
            self.result = next(iter(x.values()))
        elif rest != "something else":
            ((name, number),) = amounts_in(rest).items()
            assert number == (self.result if name == "each" else self.amounts[name])
            self.result = number


def follow(story: Question) -> int | None:
    follower = Follower()
    for step in story.steps:
        follower.read(step)
    return follower.result


@NAMES
def test_every_thought_works_out_and_ends_at_the_answer(name: str) -> None:
    for story in held_out(name, 400, seed=9):
        assert story.boxed is not None
        assert follow(story) == int(story.boxed)
        assert f"\\boxed{{{story.boxed}}}" in story.answer


@NAMES
def test_every_number_is_whole_and_at_most_three_digits(name: str) -> None:
    for story in held_out(name, 400, seed=9):
        assert all(int(n) <= LARGEST for n in re.findall(r"\d+", story.question + story.thought))


@NAMES
def test_the_quotes_are_the_question_from_its_beginning_to_its_end(name: str) -> None:
    for story in held_out(name, 100, seed=9):
        quotes = [step[2:] for step in story.steps if step.startswith("> ")]
        place = 0
        for quote, following in pairwise(quotes):
            assert story.question.startswith(quote, place)
            ahead = max(n for n in range(len(following) + 1) if quote.endswith(following[:n]))
            assert ahead > 0, "a quote ends with how the next one begins"
            place += len(quote) - ahead
        assert story.question.endswith(quotes[-1])


def test_what_a_quote_looks_ahead_ends_with_the_first_number() -> None:
    assert beginning("Mia finds 17 more and 4 others.") == "Mia finds 17"
    assert beginning("It is raining.") == "It is raining."


def test_stories_have_all_kinds_of_events_and_all_lengths() -> None:
    stories = held_out(STORIES, 500, seed=9)
    assert {kind for story in stories for kind in story.kinds} == set(KINDS)
    assert {len(story.kinds) for story in stories} == set(range(EVENTS[0], EVENTS[1] + 1))


def test_a_story_that_takes_more_than_there_is_says_so() -> None:
    rng = Random(1)
    told = (tell(rng, COMMON, TAUGHT, broken=1.0) for _ in range(60))
    broken = [story for story in told if story.boxed is None and "Below 0." in story.steps]
    assert len(broken) > 20
    for story in broken:
        assert story.steps[-1] == "Below 0."
        assert re.fullmatch(r"(\d+) - (\d+) is below 0: I count in whole numbers from 0 to 999\.", story.answer)


def test_a_story_in_lower_case_has_no_capital_but_the_thought_s_own_words() -> None:
    story = tell(Random(2), COMMON, TAUGHT, style=Style(is_lower=True))
    assert story.question.islower()


def test_sums_are_right_and_products_come_first() -> None:
    rng = Random(3)
    for _ in range(3000):
        asked = tell_sum(rng)
        found = re.fullmatch(r"Sum: (.*)\.", asked.steps[0])
        assert found is not None
        exact = eval(found[1])
        if asked.boxed is not None:
            assert (exact, asked.answer) == (int(asked.boxed), f"{found[1]} = \\boxed{{{asked.boxed}}}")
        else:
            assert asked.steps[-1] in BrokenSum.RESULTS
        for step, result in zip(asked.steps, asked.steps[1:], strict=False):
            if (told := re.fullmatch(r"(?:First|Then): (\d+) (.) (\d+)\.", step)) and result[0].isdigit():
                assert reckon(int(told[1]), told[2], int(told[3])) == int(result.removesuffix("."))


def test_other_texts_are_answered_in_one_sentence() -> None:
    rng = Random(4)
    texts = [tell_other(rng) for _ in range(300)]
    assert {text.answer for text in texts} == {ANSWER}
    assert all(len(text.steps) == 1 and text.question for text in texts)


def test_training_has_no_held_out_word_and_no_held_out_wording() -> None:
    held = {word for nouns in unseen.NOUNS.__dict__.values() for word in nouns}
    taught = {word for nouns in (COMMON, RARE, MIXED) for words in nouns.__dict__.values() for word in words}
    assert not held & taught
    for field in fields(BROAD):
        said, kept = (set(texts_of(getattr(wordings, field.name))) for wordings in (BROAD, unseen.WORDINGS))
        assert not said & kept, field.name
    assert set(texts_of(TAUGHT.events)) < set(texts_of(BROAD.events))


def texts_of(wordings: object) -> Iterator[str]:
    """All texts in wordings, however they are grouped."""
    if isinstance(wordings, str):
        yield wordings
    elif isinstance(wordings, dict | tuple):
        for each in wordings.values() if isinstance(wordings, dict) else wordings:
            yield from texts_of(each)


def test_every_thought_of_the_last_stage_works_out() -> None:
    rng = Random(4)
    style = Style(is_broad=True, in_one=True, made_up=0.3)
    stories = [tell(rng, MIXED, BROAD, events=(1, 4), style=replace(style, in_one=n % 4 == 0)) for n in range(600)]
    for story in stories:
        if story.boxed is not None:
            assert follow(story) == int(story.boxed)
    questions = "\n".join(story.question for story in stories)
    for kind in ("If ", "Each of ", " red and ", " in each", " to him"):
        assert kind in questions, kind
    assert any(step.startswith("Both: ") for story in stories for step in story.steps)


def test_an_event_whose_verb_is_invented_can_be_told_from_the_words_around_it() -> None:
    meanings: dict[str, set[str]] = {}
    for events in (BROAD.events, BROAD.at_places, BROAD.compare):
        for kind, texts in events.items():
            for text in texts:
                if (told := without_verb(text)) is not None:
                    meanings.setdefault(told, set()).add(kind)
    assert meanings["{n} of {whose} {things} <V:>"] == {"loss"}
    assert meanings["{who} <V> {n} {things} to {to}"] == {"give"}
    assert len(meanings) > 50
    assert not {told: kinds for told, kinds in meanings.items() if len(kinds) > 1}
    assert without_verb("{who} <keep> {part} of the {things}") is None
    assert without_verb("{n} {things} <go:> away") is None


def test_invented_verbs_stand_where_the_wordings_have_them() -> None:
    rng = Random(4)
    style = Style(is_broad=True, unknown_verbs=1.0)
    told = "\n".join(tell(rng, MIXED, BROAD, style=style).question for _ in range(200))
    assert not re.search(r"\bV\b|[{}<>]", told)


def test_the_vocabulary_and_the_first_stages_are_as_they_were_without_the_last_one() -> None:
    first = [question.question for question in islice(endless("same", course="wide"), 50)]
    assert not {word for text in first for word in text.split()} & (set(broad.NOUNS.girls) - set(COMMON.girls))


def test_products_of_two_long_numbers_are_taken_apart() -> None:
    rng = Random(4)
    hard = [tell_sum(rng, hard=1.0) for _ in range(200)]
    assert sum(len(sum_.steps) >= 7 for sum_ in hard) > 100


def test_no_training_question_is_held_out() -> None:
    kept = {question.question for name in SETS if name != OTHERS for question in held_out(name, SETS[name].most, 1)}
    assert kept.isdisjoint(question.question for question in islice(endless("apart"), 4000))


def test_the_same_seed_gives_the_same_questions() -> None:
    one, two = (list(islice(endless("same"), 50)) for _ in range(2))
    assert one == two
    assert one != list(islice(endless("other"), 50))


@pytest.mark.parametrize(
    ("verb", "third", "past"),
    [
        ("find", "finds", "found"),
        ("catch", "catches", "caught"),
        ("carry", "carries", "carried"),
        ("drop", "drops", "dropped"),
        ("have", "has", "had"),
        ("play", "plays", "played"),
        ("be", "is", "was"),
    ],
)
def test_verbs_take_their_forms(verb: str, third: str, past: str) -> None:
    assert inflect(verb, is_past=False, is_third=True) == third
    assert inflect(verb, is_past=True, is_third=True) == past


@pytest.mark.parametrize(
    ("things", "one"),
    [("cherries", "cherry"), ("leaves", "leaf"), ("boxes", "box"), ("shoes", "shoe"), ("potatoes", "potato")],
)
def test_things_have_a_singular(things: str, one: str) -> None:
    assert singular(things) == one


def test_numbers_have_words() -> None:
    assert [in_words(n) for n in (0, 13, 20, 42, 99)] == ["zero", "thirteen", "twenty", "forty-two", "ninety-nine"]


def test_every_set_of_nouns_is_whole() -> None:
    for nouns in (COMMON, RARE, broad.NOUNS, unseen.NOUNS):
        assert isinstance(nouns, Nouns)
        assert all(len(set(words)) == len(words) > 3 for words in nouns.__dict__.values())
