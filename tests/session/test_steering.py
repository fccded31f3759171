"""A session steered on tiny models: cancelled, gone on with, written again, forced, left; nothing written is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glimp_local import Session, load_pair
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.errors import GlimpError, UsageError
from glimp_local.events import (
    AnyEvent,
    Rewound,
    Started,
    StepEnded,
    StepStarted,
    Text,
    ThoughtEnded,
    fold,
)
from glimp_local.pair import Pair
from glimp_local.settings import STEP_SNAPSHOTS
from tests.support.engines import ARCHITECTURES, HYBRIDS
from tests.support.sessions import (
    GREEDY,
    QUESTION,
    Open,
    assert_caches_equal_fresh_runs,
    engine_in,
    lane_of,
    lanes_of,
    run,
    writers,
)
from tests.support.tiny_models import LARGE, write_story


def test_a_cancel_stops_before_the_next_token_and_keeps_the_text(open_pair: Open) -> None:
    session = Session(open_pair("endless", "endless"), seed=1)
    events: list[AnyEvent] = []
    texts = 0
    for event in session.ask(QUESTION):
        events.append(event)
        texts += isinstance(event, Text)
        if texts == 5 and isinstance(event, Text):
            threading.Thread(target=session.cancel).start()
            while not session._steering.cancel.is_set():
                pass
    solution = fold(events)
    assert solution.finish_reason == "cancelled"
    assert solution.thought == "Never ends here ends here"
    assert solution.steps[-1].end == "cancelled"
    assert_caches_equal_fresh_runs(session)


def test_a_cancel_that_came_while_loading_counts_for_the_first_question_only(open_pair: Open) -> None:
    cancel = threading.Event()
    cancel.set()
    session = Session(open_pair(), seed=1, cancel=cancel)
    assert fold(session.ask(QUESTION)).finish_reason == "cancelled"
    assert fold(session.ask(QUESTION)).finish_reason == "done"
    session.cancel()  # nothing is running: nothing is to be stopped
    assert fold(session.ask(QUESTION)).finish_reason == "done"


def test_a_cancel_before_the_first_event_is_read_counts(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    fold(session.ask(QUESTION))
    events = session.ask(QUESTION)
    session.cancel()
    assert fold(events).finish_reason == "cancelled"


def test_a_cancel_while_nothing_runs_stops_no_redo(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    before = list(session.ask(QUESTION))
    session.cancel()
    assert fold([*before, *session.redo(0)]).finish_reason == "done"


def test_one_question_at_a_time(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    first = session.ask(QUESTION)
    next(first)
    with pytest.raises(UsageError, match="still being answered"):
        session.ask("And?")
    with pytest.raises(UsageError, match="still being answered"):
        session.redo(0)
    with pytest.raises(UsageError, match="still being answered"):
        session.resume()
    first.close()
    stale = session.ask("One?")
    assert fold(session.ask(QUESTION)).boxed == "3"
    with pytest.raises(UsageError, match="another question was asked"):
        next(stale)


@pytest.mark.parametrize("question", ["", " \n"])
def test_no_question_is_no_question(open_pair: Open, question: str) -> None:
    with pytest.raises(UsageError, match="no question"):
        Session(open_pair(), seed=1).ask(question)


def test_seeds_and_models_that_do_not_exist_are_refused(open_pair: Open) -> None:
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match="a seed is a number"):
            Session(open_pair(), seed=seed)
    with pytest.raises(UsageError, match="no model 'large'"):
        Session(open_pair(policy="small"), seed=1).force("large")


def test_a_second_closing_marker_is_no_part_of_the_answer(tmp_path: Path) -> None:
    path = write_story(tmp_path / "closes-twice.gguf", {**LARGE, "Answer": {"</think>": 9}})
    with load_pair(small=path, large=path, sampling=GREEDY, max_answer=7) as pair:
        solution = run(pair)
    assert solution.answer == "Answer\n\nAnswer"
    assert solution.thought_end == "closed"


def test_a_step_forced_in_vain_is_forgotten_at_the_end(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    for event in session.ask(QUESTION):
        if isinstance(event, StepStarted) and event.part == "answer":
            session.force("large")
    assert fold(session.ask(QUESTION)).steps[0].reason == "confident"


@pytest.mark.parametrize("large", ["large", "other-vocabulary"])
def test_a_session_outlives_its_pair_without_harm(open_pair: Open, large: str) -> None:
    pair = open_pair(large=large)
    session = Session(pair, seed=1)
    events = session.ask(QUESTION)
    while not isinstance(next(events), Text):
        pass
    pair.close()
    events.close()
    with pytest.raises(GlimpError, match="closed"):
        list(session.resume())
    with pytest.raises(GlimpError, match="closed"):
        list(session.redo(0))
    with pytest.raises(GlimpError, match="closed"):
        session.ask(QUESTION)


def test_logits_that_are_no_numbers_end_the_run_with_a_notice(open_pair: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = open_pair()
    monkeypatch.setattr(Engine, "logits", lambda _: np.full(10, np.nan, np.float32))
    solution = run(pair)
    assert solution.finish_reason == "failed"
    assert "form no distribution" in solution.notices[0]


def test_a_cancelled_turn_goes_on_where_it_stopped(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    events: list[AnyEvent] = []
    for event in session.ask(QUESTION):
        events.append(event)
        if isinstance(event, Text) and event.text == "Second":
            session.cancel()
    assert fold(events).finish_reason == "cancelled"
    solution = fold([*events, *session.resume()])
    assert solution.thought == "First one.\n\nSecond two:\n\nThird three.\n\n"
    assert (solution.finish_reason, solution.boxed) == ("done", "3")
    assert_caches_equal_fresh_runs(session)


def test_a_reader_that_walks_away_loses_nothing(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    events = session.ask(QUESTION)
    for event in events:
        if isinstance(event, Text) and event.text == "Second":
            break
    events.close()
    assert session._turn is not None
    assert "".join(step.text for step in session._turn.steps) == "First one.\n\nSecond"
    assert fold([*fake_start(), *session.resume()]).boxed == "3"
    assert_caches_equal_fresh_runs(session)


def fake_start() -> list[AnyEvent]:
    return [Started("?", "p", "threshold", 1, None, None, True, 0)]


def test_a_step_written_again_by_the_other_model_equals_a_fresh_run(open_pair: Open) -> None:
    for index in range(4):
        session = Session(open_pair(), seed=1)
        before = list(session.ask(QUESTION))
        again = list(session.redo(index))
        assert isinstance(again[0], Rewound)
        assert again[0].index == index
        solution = fold([*before, *again])
        other = "L" if writers(fold(before).steps)[index] == "S" else "S"
        assert writers(solution.steps)[index] == other
        assert solution.steps[index].reason == "redo"
        assert [step.index for step in solution.steps] == list(range(len(solution.steps)))
        assert_caches_equal_fresh_runs(session)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_before_a_step_is_written_again_only_what_stands_behind_its_start_is_forgotten(
    open_pair: Open, name: str
) -> None:
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    settings: dict[str, Any] = {"policy": "speculative", "max_step": 10, "max_answer": 100, "sampling": sampling}
    read = {}
    for may_redo in (False, True):
        pair = open_pair(name, name, **settings)
        for seed in range(50):  # until random weights do not end early
            pair.forget()
            session = Session(pair, seed=seed, may_redo=may_redo)
            if (steps := len(fold(session.ask("What is it? " * 20)).steps)) > 6:
                break
        else:
            pytest.fail("no seed writes six steps")
        engine = engine_in(pair, "large")
        before = engine.fed
        again = sum(isinstance(event, StepEnded) for event in session.redo(steps - 2, "large"))
        read[may_redo] = engine.fed - before - again  # the last token of each step is fed when the next one begins
        assert_caches_equal_fresh_runs(session)
    assert read[True] <= (10 if name == "sliding-window" else 1)
    assert (read[False] < 50) == (name in {"attention", "sliding-window"})


@pytest.mark.parametrize("name", ["recurrent", *HYBRIDS])
def test_the_small_model_comes_back_to_a_step_that_the_large_one_wrote(open_pair: Open, name: str) -> None:
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    routing = {"policy": "threshold", "threshold": 1.0, "max_step": 10, "max_answer": 60, "sampling": sampling}
    for seed in range(50):
        pair = open_pair(name, name, **routing)
        session = Session(pair, seed=seed, may_redo=True)
        steps = fold(session.ask("What is it? " * 20)).steps
        if len(steps) > STEP_SNAPSHOTS and steps[-2].model == "large":
            break
    else:
        pytest.fail("no seed has such a step")
    engine = engine_in(pair, "small")
    before = engine.fed
    list(session.redo(len(steps) - 2))
    first_steps = 2
    assert engine.fed - before <= first_steps + 10 * sum(step.model == "large" for step in steps[-2:])
    assert_caches_equal_fresh_runs(session)


def test_redoing_the_decisive_step_changes_the_outcome(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    assert "Third" in fold(session.ask(QUESTION)).thought
    events = list(session.redo(2))
    assert "Wrong way" in "".join(event.text for event in events if isinstance(event, Text))


def test_the_answer_can_be_written_again_too(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    before = list(session.ask(QUESTION))
    solution = fold([*before, *session.redo(4)])
    assert (solution.steps[4].model, solution.steps[4].part, solution.boxed) == ("small", "answer", "3")
    assert_caches_equal_fresh_runs(session)


def test_redo_with_other_vocabularies_equals_a_fresh_run(open_pair: Open) -> None:
    session = Session(open_pair(large="other-vocabulary", max_thought=30, max_answer=12), seed=1)
    fold(session.ask(QUESTION))
    list(session.redo(1))
    assert_caches_equal_fresh_runs(session)


def test_redo_says_what_is_wrong(open_pair: Open) -> None:
    session = Session(open_pair(policy="small"), seed=1)
    with pytest.raises(UsageError, match="nothing was asked"):
        list(session.redo(0))
    fold(session.ask(QUESTION))
    with pytest.raises(UsageError, match="no step 99"):
        list(session.redo(99))
    with pytest.raises(UsageError, match="the large model is not loaded"):
        list(session.redo(0))


def test_the_answer_can_be_asked_for_at_once(open_pair: Open) -> None:
    session = Session(open_pair("endless", "large", threshold=50), seed=1)
    events: list[AnyEvent] = []
    for event in session.ask(QUESTION):
        events.append(event)
        if isinstance(event, Text) and len(events) > 8:
            session.answer_now()
    solution = fold(events)
    assert (solution.thought_end, solution.boxed) == ("user", "3")
    assert [event for event in events if isinstance(event, ThoughtEnded)] == [ThoughtEnded("user")]


@pytest.mark.parametrize("other", [None, "other-vocabulary.gguf"])
def test_a_cancel_in_mid_character_leaves_no_half_of_it(
    in_bytes: Callable[..., Pair], tiny: Path, other: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(in_bytes("a😀b", other and tiny / other, threshold=50), seed=1)
    sample, sampled = Engine.sample, iter(range(100))

    def sample_and_cancel(engine: Engine, sampler: Sampler) -> int:
        token = sample(engine, sampler)
        if next(sampled) == 2:
            session.cancel()
        return token

    monkeypatch.setattr(Engine, "sample", sample_and_cancel)
    events = list(session.ask(QUESTION))
    monkeypatch.undo()
    assert fold(events).thought == "a"
    texts = [lane.engine.vocabulary.text(lane.ids) for lane in lanes_of(session)]
    assert texts[0].endswith(b"a")
    assert texts[0] == texts[1]
    assert_caches_equal_fresh_runs(session)
    assert fold([*events, *session.resume()]).thought.startswith("a😀b")


ACTIONS = st.sampled_from(["cancel", "walk away", "answer now", "force small", "force large", "redo", "read on"])


@pytest.mark.slow
@settings(max_examples=60)
@example(plan=[("cancel", 4), ("cancel", 1), ("walk away", 13)], seed=4)
@example(plan=[("cancel", 4), ("cancel", 1), ("redo", 2), ("redo", 11), ("answer now", 2)], seed=165)
@example(plan=[("force small", 1), ("force small", 1), ("force small", 1), ("answer now", 7)], seed=392)
@given(plan=st.lists(st.tuples(ACTIONS, st.integers(1, 15)), max_size=6), seed=st.integers(0, 1000))
def test_whatever_is_done_to_a_turn_both_transcripts_and_the_text_agree(
    tiny: Path, plan: list[tuple[str, int]], seed: int
) -> None:
    sampling = {"temperature": 3.0, "top_k": 0, "top_p": 1.0}
    small, large = tiny / "small.gguf", tiny / "large.gguf"
    with load_pair(small=small, large=large, sampling=sampling, max_thought=60, max_answer=20, max_step=9) as pair:
        session = Session(pair, seed=seed)
        events = session.ask(QUESTION)
        for action, count in plan:
            for _ in zip(range(count), events, strict=False):
                pass
            assert session._turn is not None
            match action:
                case "cancel":
                    session.cancel()
                case "walk away":
                    events.close()
                case "answer now":
                    session.answer_now()
                case "force small":
                    session.force("small")
                case "force large":
                    session.force("large")
                case "redo" if session._turn.steps:
                    events.close()
                    events = session.redo(count % len(session._turn.steps))
                    next(events)
                case _:
                    pass
            if session._turn.finish in {"cancelled", "failed"}:
                list(events)
                events = session.resume()
        list(events)
        turn, small_lane = session._turn, lane_of(session, "small")
        assert turn is not None
        assert small_lane.ids == lane_of(session, "large").ids
        assert [step.index for step in turn.steps] == list(range(len(turn.steps)))
        # Step by step: where a token was taken back, the next step's bytes may happen to complete a broken character.
        ids, text = small_lane.ids, small_lane.engine.vocabulary.text
        starts = [*(mark.marks["small"] for mark in turn.marks), len(ids)]
        raw = "".join(text(ids[start:end]).decode("utf-8", "replace") for start, end in pairwise(starts))
        told = "".join(step.text for step in turn.steps)
        # The markers are not told, nor the blanks around them: all else is, to the letter.
        assert "".join(told.split()) == "".join(raw.replace("</think>", "").split())
        assert_caches_equal_fresh_runs(session)
