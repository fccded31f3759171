"""A session on real models: the built-in pair's caches, hand-overs and second questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local import Session, load_pair
from glimp_local.events import StepEnded, Text, fold
from glimp_local.pair import Pair
from glimp_local.routing import Random
from tests.support.sessions import assert_caches_equal_fresh_runs, run
from training.samples import STORIES, SUITE, held_out
from training.sums import Question

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "marbles.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with load_pair("builtin") as opened:
        yield opened


@pytest.fixture(scope="module")
def stories() -> list[Question]:
    return held_out(STORIES, 40, SUITE)


def test_both_caches_equal_a_fresh_run_after_every_hand_over(pair: Pair) -> None:
    session = Session(pair, seed=1, policy=Random(0.5, seed=2))
    solution = fold(session.ask(EXAMPLE))
    assert solution.stats.switches >= 4
    assert_caches_equal_fresh_runs(session)


def test_catch_up_feeds_each_model_what_the_other_wrote(pair: Pair) -> None:
    stats = run(pair, EXAMPLE).stats
    assert stats.small is not None
    assert stats.large is not None
    assert 0 < stats.large.catch_up_tokens <= stats.small.tokens
    assert stats.large.tokens == stats.tokens_large > 0


def test_a_redone_step_is_written_by_the_other_model_and_the_rest_follows(pair: Pair) -> None:
    session = Session(pair, seed=1)
    first = fold(session.ask(EXAMPLE))
    index = next(step.index for step in first.steps if step.model == "large" and step.part == "thought")
    events = list(session.redo(index))
    steps = [event.step for event in events if isinstance(event, StepEnded)]
    assert (steps[0].index, steps[0].model, steps[0].reason) == (index, "small", "redo")
    assert_caches_equal_fresh_runs(session)
    again = [event.step for event in session.redo(index, "large") if isinstance(event, StepEnded)]
    assert "".join(step.text for step in again) == "".join(step.text for step in first.steps[index:])


def test_a_cancelled_run_goes_on_to_the_same_answer(pair: Pair) -> None:
    whole = run(pair, EXAMPLE)
    session = Session(pair, seed=1)
    steps, events = [], session.ask(EXAMPLE)
    for event in events:
        steps += [event.step] if isinstance(event, StepEnded) else []
        if len(steps) == 3 and isinstance(event, Text):
            session.cancel()
    assert steps[-1].end == "cancelled"
    resumed = [event.step for event in session.resume() if isinstance(event, StepEnded)]
    text = "".join(step.text for step in [*steps, *resumed])
    assert text == "".join(step.text for step in whole.steps)
    assert_caches_equal_fresh_runs(session)


def test_a_narrow_pair_reads_each_question_alone(pair: Pair) -> None:
    session = Session(pair, seed=1)
    for question in ("what is 40+2?", EXAMPLE):
        fold(session.ask(question))
    alone = Session(pair, seed=1)
    fold(alone.ask(EXAMPLE))
    assert session.contexts() == alone.contexts()
    assert [message.content for message in session.history][:1] == ["what is 40+2?"]


def test_a_second_story_in_the_same_session_is_solved_too(pair: Pair, stories: list[Question]) -> None:
    short = [story for story in stories if len(story.kinds) <= 3][:6]
    solved = 0
    for first, second in zip(short[::2], short[1::2], strict=True):
        session = Session(pair, seed=1)
        solved += all(fold(session.ask(story.question)).boxed == story.boxed for story in (first, second))
    assert solved >= 2
