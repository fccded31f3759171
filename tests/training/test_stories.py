"""The counting stories the built-in pair learns from: their sums are right, their words are kept apart."""

from __future__ import annotations

import dataclasses
import itertools
import re
from itertools import islice

import pytest

from training.stories import EVENTS, LARGEST, Story, endless, held_out
from training.words import HELD_OUT, TAUGHT, Words

SETS = pytest.mark.parametrize("words", [TAUGHT, HELD_OUT], ids=["taught", "held out"])
_SIGNS = {
    **dict.fromkeys(("Add", "More", "Together"), "+"),
    **dict.fromkeys(("Take", "Fewer", "Difference"), "-"),
    **dict.fromkeys(("Multiply", "Multiple", "Packs"), "*"),
    **dict.fromkeys(("Divide", "Part", "Half"), "/"),
    "Give": "-+",
}
_SUM = re.compile(r"(?:([^\W\d]\w*) )?(\d+) ([-+*/]) (\d+)\.")
_RESULT = re.compile(r"(\d+)(?::\n(.*)| in it| in all| together| more)\.", re.DOTALL)


def work_out(x: int, sign: str, y: int) -> int:
    if sign == "/":
        assert x % y == 0, f"{x} / {y} does not come out whole"
        return x // y
    return {"+": x + y, "-": x - y, "*": x * y}[sign]


def follow(story: Story) -> int:
    """Work a thought out by its own words, with another program than the one that wrote it; give the last number."""
    amounts: dict[str, int] = {}
    expected: int | None = None
    whose: str | None = None
    kind = ""
    swapped: list[tuple[str, int]] = []
    last = 0
    for step in story.steps:
        if step.startswith((">", "Count: ")) or step == "Nothing changes.":
            continue
        if step == "Swap.":
            amounts = dict(zip(amounts, reversed(amounts.values()), strict=True))
            swapped = list(amounts.items())
        elif step == "Not counted.":
            assert kind == "Give"
        elif found := re.fullmatch(r"(\w+)\.", step):
            kind = found[1]
        elif swapped:  # the first person's amount leads one step, the second's the next
            (name, last), (whose, expected) = swapped
            assert step == f"{last} for {name}."
            swapped = []
        elif found := re.fullmatch(r"(\w+) (\d+)\.", step):
            assert kind == "Asked"
            last = amounts[found[1]]
            assert last == int(found[2])
        elif found := _SUM.fullmatch(step):
            if found[1]:
                assert amounts[found[1]] == int(found[2])
            assert found[3] in _SIGNS[kind]
            # A comparison starts from one person's amount and gives the other's.
            whose = None if kind in {"More", "Fewer", "Multiple", "Half"} else found[1]
            expected = work_out(int(found[2]), found[3], int(found[4]))
        else:
            found = _RESULT.fullmatch(step)
            assert found, step
            last = int(found[1])
            now = {name: int(n) for name, n in (part.split() for part in (found[2] or "").split(",\n") if part)}
            changed = [n for name, n in now.items() if amounts.get(name) != n]
            assert last == expected if expected is not None else len(now) > len(amounts)
            assert changed in ([last], []), "one amount changes, and it is the one that leads the step"
            assert not now or now[whose or list(now)[-1]] == last, "it is the right person's"
            amounts, expected = now or amounts, None
    return last


@SETS
def test_every_thought_works_out_and_ends_at_the_answer(words: Words) -> None:
    for story in held_out(words, 400, seed=9):
        assert follow(story) == story.number
        assert f"\\boxed{{{story.number}}}" in story.answer


@SETS
def test_every_number_is_whole_and_at_most_three_digits(words: Words) -> None:
    for story in held_out(words, 400, seed=9):
        assert all(int(n) <= LARGEST for n in re.findall(r"\d+", story.question + story.thought))


@SETS
def test_the_quotes_are_the_question_in_order(words: Words) -> None:
    for story in held_out(words, 100, seed=9):
        place = 0
        for quote in (step[2:] for step in story.steps if step.startswith("> ")):
            found = story.question.index(quote, place)
            assert found == place, "a quote begins where the sentence before it ended"
            place = next(
                end + 1
                for end in (match.start() + 1 for match in re.finditer(r"[.?](?= |$)", story.question))
                if end > place
            )
        assert place >= len(story.question)


def test_stories_have_all_kinds_of_events_and_all_lengths() -> None:
    stories = held_out(TAUGHT, 400, seed=9)
    assert {kind for story in stories for kind in story.kinds} == set(TAUGHT.wordings)
    assert {len(story.kinds) for story in stories} == set(range(EVENTS[0], EVENTS[1] + 1))


def test_the_harder_set_shares_no_name_thing_or_wording_with_training() -> None:
    for name in (field.name for field in dataclasses.fields(Words)):
        taught, kept = getattr(TAUGHT, name), getattr(HELD_OUT, name)
        if isinstance(taught, dict):
            assert not {x for values in taught.values() for x in values} & {x for v in kept.values() for x in v}
        else:
            assert not set(taught) & set(kept)


def test_the_same_seed_tells_the_same_stories_and_another_one_others() -> None:
    assert held_out(TAUGHT, 20, seed=1) == held_out(TAUGHT, 20, seed=1)
    assert not {story.question for story in held_out(TAUGHT, 20, seed=1)} & {
        story.question for story in held_out(TAUGHT, 20, seed=2)
    }


def test_training_leaves_out_the_stories_that_are_kept_for_tests() -> None:
    def marked(story: Story) -> str:
        return story.question.removesuffix("?") + "?"

    kept = frozenset(marked(story) for story in islice(endless("some seed"), 3))
    told = [marked(story) for story in islice(endless("some seed", without=kept), 5)]
    assert not kept & set(told)
    assert told == [marked(story) for story in islice(endless("some seed"), 3, 8)]


@SETS
def test_a_pronoun_can_mean_one_person_only(words: Words) -> None:
    found = 0
    for story in held_out(words, 400, seed=9):
        sentences = re.split(r"(?<=[.?]) ", story.question)
        for before, sentence in itertools.pairwise(sentences):
            for pronouns, names in ((r"\b([Ss]he)\b", words.girls), (r"\b([Hh]e|him)\b", words.boys)):
                if pronoun := re.search(pronouns, sentence):
                    found += 1
                    # What is joined behind its own clause comes too late to be meant.
                    rest = re.split(" and |, then ", sentence[pronoun.end() :])[0]
                    read = f"{before} {sentence[: pronoun.start()]} {rest}"
                    assert len(set(re.findall(r"\w+", read)) & set(names)) <= 1, story.question
    assert found > 100


@SETS
def test_joined_sentences_have_one_and(words: Words) -> None:
    for story in held_out(words, 400, seed=9):
        assert not re.search(r"\b(and|then) and\b", story.question), story.question
