"""How a run ends: spent budgets, a full context, circles, a failure, and what no limit cuts in two."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glimp_local import Session
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import DecodeError, PromptTooLongError, UsageError
from glimp_local.events import (
    Notice,
    fold,
)
from glimp_local.pair import Pair
from tests.support.sessions import (
    QUESTION,
    Open,
    assert_caches_equal_fresh_runs,
    engine_in,
    lane_of,
    run,
)


def test_a_spent_thought_is_closed_and_answered(open_pair: Open) -> None:
    pair = open_pair("endless", "endless", max_thought=25, max_answer=8)
    session = Session(pair, seed=1)
    solution = fold(session.ask(QUESTION))
    assert solution.thought_end == "budget"
    assert sum(step.tokens for step in solution.steps if step.part == "thought") == 25
    assert (solution.finish_reason, solution.boxed) == ("done", "3")
    assert_caches_equal_fresh_runs(session)


def test_a_spent_answer_is_cut_and_said(open_pair: Open) -> None:
    solution = run(open_pair(max_answer=1))
    assert (solution.finish_reason, solution.answer) == ("answer_budget", "")
    assert run(open_pair(max_answer=2)).answer == "Answer"


def test_no_part_gets_a_token_more_than_its_budget(open_pair: Open) -> None:
    for budget in range(1, 8):
        session = Session(open_pair("plain", "plain", max_answer=budget), seed=1)
        solution = fold(session.ask(QUESTION))
        assert solution.stats.tokens == budget
        assert solution.finish_reason == "answer_budget"
        assert all(step.tokens for step in solution.steps)
        thinking = fold(Session(open_pair(max_thought=budget), seed=1).ask(QUESTION))
        assert sum(step.tokens for step in thinking.steps if step.part == "thought") <= budget


def test_a_turn_that_is_over_cannot_go_on(open_pair: Open) -> None:
    session = Session(open_pair(max_answer=2), seed=1)
    fold(session.ask(QUESTION))
    with pytest.raises(UsageError, match=r"is over \(answer_budget\)"):
        session.resume()


def test_a_long_step_is_cut_without_touching_the_text(open_pair: Open) -> None:
    solution = run(open_pair("endless", "endless", max_step=7, max_thought=21, max_answer=4))
    thought = [step for step in solution.steps if step.part == "thought"]
    assert [(step.tokens, step.end) for step in thought] == [(7, "cap"), (7, "cap"), (7, "budget")]
    assert solution.thought == "Never" + " ends here" * 10


def test_a_full_context_leaves_room_for_the_answer(open_pair: Open) -> None:
    solution = run(open_pair("endless", "large", context=160, threshold=50))
    assert solution.thought_end == "context_full"
    assert (solution.finish_reason, solution.boxed) == ("done", "3")


def test_a_full_context_ends_the_answer_and_loses_nothing(open_pair: Open) -> None:
    pair = open_pair("endless", None, context=96, policy="small", thinking="none", max_answer=500)
    session = Session(pair, seed=1)
    solution = fold(session.ask(QUESTION))
    assert solution.finish_reason == "context_full"
    assert solution.answer.startswith("Never ends here ends here")
    # 96 tokens are in the context; the one sampled behind them is written, too.
    assert len(lane_of(session, "small").ids) in {96, 97}


def test_a_circle_goes_to_the_large_model_first(open_pair: Open) -> None:
    solution = run(open_pair("looping", "large", threshold=50))
    reasons = [(step.model, step.reason) for step in solution.steps]
    assert reasons[:3] == [("small", "confident"), ("small", "confident"), ("large", "loop")]
    assert solution.thought_end == "closed"


def test_a_circle_that_goes_on_ends_the_thought(open_pair: Open) -> None:
    solution = run(open_pair("looping", "looping", max_answer=6))
    assert [step.reason for step in solution.steps[:3]] == ["confident", "confident", "loop"]
    assert solution.thought_end == "loop"
    assert solution.thought == "Loop again.\n\n" * 3


def test_a_reply_that_goes_in_circles_is_ended(open_pair: Open) -> None:
    solution = run(open_pair("looping", "looping", thinking="none", chat_template=None))
    assert solution.finish_reason == "loop"
    assert solution.answer == "\n\n".join(["Loop again."] * 3)


def test_a_text_that_ends_inside_the_thought_is_still_answered(open_pair: Open) -> None:
    solution = run(open_pair("silent", "silent", max_answer=3))
    assert solution.thought_end == "end_of_generation"
    assert solution.steps[1].end == "end_of_generation"
    assert (solution.answer, solution.finish_reason) == ("Answer \\boxed{3}", "done")


def test_a_question_that_fills_the_context_is_refused_before_anything_is_computed(open_pair: Open) -> None:
    pair = open_pair()
    with pytest.raises(
        PromptTooLongError, match=r"takes [\d,]+ tokens: .* than the context of \w+ holds \(512\)"
    ) as caught:
        fold(Session(pair, seed=1).ask("word " * 600))
    assert "shorten the question" in str(caught.value.hint)
    assert engine_in(pair, "small").ids == []
    with pytest.raises(PromptTooLongError) as caught:
        Session(open_pair(context=80), seed=1).ask("word " * 100)
    assert "--ctx, up to 512" in str(caught.value.hint)


def test_no_limit_cuts_a_character_in_two(in_bytes: Callable[..., Pair]) -> None:
    for limit in range(1, 6):
        pair = in_bytes("a😀b", max_step=limit)
        thought = [step.text for step in run(pair).steps if step.part == "thought"]
        assert "".join(thought) == "a😀b"
        assert not any("\ufffd" in text for text in thought)


def test_no_limit_cuts_the_closing_marker_in_two(in_bytes: Callable[..., Pair]) -> None:
    for limit in range(1, 9):
        pair = in_bytes("a</think>", max_step=limit, thinking={"open": "<think>\n", "close": "</think>"})
        solution = run(pair)
        assert (solution.thought, solution.thought_end) == ("a", "closed")


def test_a_failing_llama_cpp_ends_the_run_with_what_there_is(open_pair: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(open_pair("endless", "endless"), seed=1)
    decode, calls = Engine.decode, iter(range(100))

    def fail_at_last(engine: Engine, token: int) -> None:
        if next(calls) > 8:
            raise DecodeError("llama.cpp could not compute 1 tokens")
        decode(engine, token)

    monkeypatch.setattr(Engine, "decode", fail_at_last)
    events = list(session.ask(QUESTION))
    solution = fold(events)
    assert solution.finish_reason == "failed"
    assert solution.notices == ("llama.cpp could not compute 1 tokens",)
    assert solution.thought.startswith("Never ends here")
    assert any(isinstance(event, Notice) for event in events)
