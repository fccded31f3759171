"""A session that takes a saved turn up."""

from __future__ import annotations

import pytest

from glimp_local import Session, load_pair
from glimp_local.events import StepEnded, StepStarted
from glimp_local.pair import Pair
from glimp_local.runs import Run
from tests.support.chatting import EXAMPLE
from tests.support.conversing import restored, talk
from tests.support.sessions import Open, assert_caches_equal_fresh_runs, exchanges_of, lane_of


@pytest.fixture
def pair(open_pair: Open) -> Pair:
    return open_pair()


def test_a_turn_taken_up_is_read_by_both_models_as_if_they_had_just_written_it(pair: Pair) -> None:
    found = talk(pair, "first").turns[0]
    assert_caches_equal_fresh_runs(restored(pair, found))
    session = Session(pair, seed=1)
    for _ in session.ask("first"):
        pass
    lane, again = lane_of(session, "large"), lane_of(restored(pair, found), "large")
    text = [b"".join(map(lane.engine.vocabulary.piece, ids)) for ids in (lane.ids, again.ids)]
    assert text[0] == text[1]


@pytest.mark.slow
def test_a_turn_taken_up_in_the_middle_goes_on_to_the_same_end() -> None:
    # Real vocabularies cut a text the way it was written; the tiny ones, made of bytes and a few words, do not.
    with load_pair("builtin") as pair:
        found = talk(pair, EXAMPLE).turns[0]
        for kept in range(len(found.steps)):
            cut = Run(EXAMPLE, steps=found.steps[:kept])
            events = list(restored(pair, cut).resume())
            written = [event.step.text for event in events if isinstance(event, StepEnded)]
            assert written == [step.text for step in found.steps[kept:]], kept


def test_a_turn_taken_up_can_be_written_anew_from_any_step(pair: Pair) -> None:
    found = talk(pair, "first").turns[0]
    session = restored(pair, found)
    events = list(session.redo(1))
    begun = next(event for event in events if isinstance(event, StepStarted))
    assert (begun.index, begun.model, begun.reason) == (1, "large", "redo")
    assert exchanges_of(session) == [("first", "Answer \\boxed{3}")]
