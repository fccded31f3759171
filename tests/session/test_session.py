"""A session on tiny models through the real llama.cpp: who writes, what both caches hold, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glimp_local import Session, load_pair
from glimp_local.engines.glimpse import glimpse
from glimp_local.errors import UsageError
from glimp_local.events import (
    Answer,
    Finished,
    Started,
    StepEnded,
    StepStarted,
    Text,
    fold,
)
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.routing import Model, Threshold
from tests.support.engines import ARCHITECTURES
from tests.support.sessions import (
    GREEDY,
    QUESTION,
    Open,
    assert_caches_equal_fresh_runs,
    count_batches,
    engine_in,
    held_by_a_fresh_engine,
    lane_of,
    lanes_of,
    prompt_of,
    run,
    writers,
)

# Routing.


def test_the_unsure_step_goes_to_the_large_model(open_pair: Open) -> None:
    solution = run(open_pair())
    assert writers(solution.steps) == "SSLSL"
    assert [step.reason for step in solution.steps] == ["confident", "confident", "uncertain", "confident", "answer"]
    assert solution.thought == "First one.\n\nSecond two:\n\nThird three.\n\n"
    assert (solution.answer, solution.boxed) == ("Answer \\boxed{3}", "3")
    assert (solution.finish_reason, solution.thought_end) == ("done", "closed")
    assert solution.stats.share_steps == 0.25


def test_the_small_model_alone_goes_wrong(open_pair: Open) -> None:
    solution = run(open_pair(policy="small"))
    assert "Wrong way" in solution.thought
    assert writers(solution.steps) == "SSSSS"


def test_one_model_alone_is_loaded_alone_and_writes_the_answer_too(open_pair: Open) -> None:
    alone: Model
    for alone in ("small", "large"):
        pair = open_pair(policy=alone)
        assert list(pair.backends) == [alone]
        solution = run(pair)
        assert {step.model for step in solution.steps} == {alone}
        assert solution.steps[-1].part == "answer"
        assert {step.reason for step in solution.steps} == {"policy", "answer"}


def test_a_lone_path_wants_the_policy_that_needs_no_other(tiny: Path) -> None:
    with pytest.raises(UsageError, match="only a large model"):
        load_pair(large=tiny / "large.gguf")
    with load_pair(large=tiny / "large.gguf", policy="large", sampling=GREEDY) as pair:
        assert run(pair).stats.small is None


def test_the_large_model_alone_glimpses_at_nothing(open_pair: Open) -> None:
    solution = run(open_pair(policy="large"))
    assert {step.entropy_nats for step in solution.steps} == {None}
    assert solution.stats.entropies_nats == ()


def test_the_first_glimpse_falls_on_the_first_word_of_thought(open_pair: Open) -> None:
    pair = open_pair()
    session = Session(pair, seed=1)
    started = next(event for event in session.ask(QUESTION) if isinstance(event, StepStarted))
    small = engine_in(pair, "small")
    prompt = prompt_of(pair, "small")
    assert small.vocabulary.text(prompt).endswith(b"<think>\n")
    expected = glimpse(held_by_a_fresh_engine(small, prompt))
    assert started.entropy_nats == pytest.approx(expected.entropy_nats, abs=1e-6)


def test_every_glimpse_is_what_the_small_model_would_see_afresh(open_pair: Open) -> None:
    pair = open_pair()
    session = Session(pair, seed=1)
    steps = fold(session.ask(QUESTION)).steps
    lane = lane_of(session, "small")
    assert session._turn is not None
    for step, mark in zip(steps, session._turn.marks, strict=True):
        if step.entropy_nats is not None:
            expected = glimpse(held_by_a_fresh_engine(lane.engine, lane.ids[: mark.marks["small"]]))
            assert step.entropy_nats == pytest.approx(expected.entropy_nats, abs=1e-5)
            assert step.top1_probability == pytest.approx(expected.top1_probability, abs=1e-5)
            assert step.margin == pytest.approx(expected.margin, abs=1e-5)


def test_a_glimpse_costs_no_forward_pass(open_pair: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = open_pair(policy="small")
    computed = count_batches(monkeypatch)
    solution = run(pair)
    assert solution.stats.small is not None
    # The prompt, and each token written but the last, which nothing was to follow; the end is sampled, not written.
    assert sum(computed) == solution.stats.small.prefill_tokens + solution.stats.tokens
    assert len(solution.stats.entropies_nats) == 4


def test_random_routing_is_repeatable_and_share_is_aimed_at(open_pair: Open) -> None:
    pair = open_pair(policy="random", share=0.5)
    assert writers(run(pair, seed=4).steps) == writers(run(pair, seed=4).steps)
    assert {writers(run(pair, seed=seed).steps) for seed in range(8)} != {writers(run(pair, seed=4).steps)}


def store(pair: Pair, entropies_nats: list[float]) -> None:
    """Let a pair have shown these entropies before."""
    history = pair.entropies()
    assert history is not None
    history.add(entropies_nats)


def test_the_extreme_shares_are_reached_once_there_is_a_history(open_pair: Open) -> None:
    for share, expected in ((0.0, "SSSS"), (1.0, "LLLL")):
        pair = open_pair(policy="share", share=share)
        store(pair, [0.0, 0.5, 1.4] * 10)
        assert writers(step for step in run(pair).steps if step.part == "thought")[:3] == expected[:3]


def test_a_policy_that_wants_a_model_not_loaded_is_refused(open_pair: Open) -> None:
    pair = open_pair(policy="small")
    with pytest.raises(UsageError, match="needs the large model"):
        Session(pair, policy=Threshold(1.0))
    session = Session(pair)
    with pytest.raises(UsageError, match="needs the large model"):
        session.policy = Threshold(1.0)


def test_the_share_policy_starts_from_the_pair_s_history(open_pair: Open) -> None:
    pair = open_pair(policy="share", share=0.25)
    store(pair, [0.0] * 30 + [1.2] * 10)
    assert run(pair).steps[0].threshold_nats == 0.0
    assert writers(run(pair).steps)[2] == "L"


def test_the_random_numbers_of_a_run_are_told_and_repeatable(open_pair: Open) -> None:
    pair = open_pair(sampling={"temperature": 20.0, "top_k": 0, "top_p": 1.0}, max_thought=60, max_answer=30)
    session = Session(pair)
    (started,) = [event for event in session.ask(QUESTION) if isinstance(event, Started)]
    again = run(pair, seed=started.seed)
    assert started.seed == session.seed
    assert again.answer == run(pair, seed=started.seed).answer
    assert again.answer != run(pair, seed=started.seed + 1).answer


def test_who_writes_the_answer_is_a_setting(open_pair: Open) -> None:
    assert [run(open_pair(answer_by=by)).steps[-1].model for by in ("large", "small")] == ["large", "small"]
    routed = run(open_pair(answer_by="route", threshold=0.0)).steps[-1]
    assert (routed.part, routed.reason) == ("answer", "uncertain")
    assert routed.entropy_nats is not None


def test_forcing_the_next_step_counts_once(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    session.force("large")
    steps = fold(session.ask(QUESTION)).steps
    assert [(step.model, step.reason) for step in steps[:2]] == [("large", "user"), ("small", "confident")]


def test_the_policy_can_be_changed_while_it_runs(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    events = []
    for event in session.ask(QUESTION):
        events.append(event)
        if isinstance(event, StepEnded) and event.step.index == 0:
            session.policy = Threshold(9.0)
    assert writers(fold(events).steps)[:3] == "SSS"


# Hand-over.


def test_catch_up_feeds_each_model_what_it_missed_and_no_more(open_pair: Open) -> None:
    solution = run(open_pair())
    assert [step.catch_up_tokens for step in solution.steps] == [0, 0, 4, 2, 1]
    assert solution.stats.switches == 3
    small, large = solution.stats.small, solution.stats.large
    assert small is not None
    assert large is not None
    assert (small.tokens, large.tokens) == (5, 5)
    assert small.prefill_tokens == large.prefill_tokens > 0
    assert (small.catch_up_tokens, large.catch_up_tokens) == (2, 5)


def test_both_caches_equal_a_fresh_run(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    fold(session.ask(QUESTION))
    assert_caches_equal_fresh_runs(session)
    assert lane_of(session, "small").ids == lane_of(session, "large").ids


def test_models_of_other_vocabularies_hand_over_text_with_a_warning(open_pair: Open) -> None:
    pair = open_pair(large="other-vocabulary")
    session = Session(pair, seed=1)
    solution = fold(session.ask(QUESTION))
    assert "not of one vocabulary" in solution.notices[0]
    assert writers(solution.steps)[:3] == "SSL"
    small, large = (lane_of(session, model) for model in ("small", "large"))
    assert small.ids != large.ids
    texts = [lane.engine.vocabulary.text(lane.ids) for lane in (small, large)]
    assert texts[0] == texts[1]
    assert_caches_equal_fresh_runs(session)


def test_a_shared_vocabulary_needs_no_warning(open_pair: Open) -> None:
    assert run(open_pair()).notices == ()


# Conversations.


def test_a_second_question_uses_what_the_caches_hold(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    first = fold(session.ask(QUESTION)).stats
    second = fold(session.ask("And then?"))
    assert first.small is not None
    assert second.stats.small is not None
    asked = (Message("user", QUESTION), Message("assistant", "Answer \\boxed{3}"), Message("user", "And then?"))
    messages = prompt_of(session.pair, "small", *asked)
    text = engine_in(session.pair, "small").vocabulary.text(messages).decode()
    assert "First one" not in text
    assert "Answer \\boxed{3}" in text
    # What is fed begins where the thought of the first turn stood: question, answer and template are new.
    assert second.stats.small.prefill_tokens < len(messages) - first.small.prefill_tokens + 10
    assert_caches_equal_fresh_runs(session)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_conversation_on_any_architecture_equals_fresh_runs(open_pair: Open, name: str) -> None:
    pair = open_pair(name, "attention", max_answer=40, sampling={"temperature": 1.0}, share=0.5, policy="random")
    session = Session(pair, seed=5)
    for question in ("One?", "Two?", "And three?"):
        fold(session.ask(question))
    for lane in lanes_of(session):
        lane.catch_up()
        fresh = held_by_a_fresh_engine(lane.engine, lane.ids)
        assert np.allclose(lane.engine.logits(), fresh, atol=0.03)


def test_an_unanswered_question_is_not_remembered(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    events = session.ask(QUESTION)
    next(events)
    session.cancel()
    list(events)
    fold(session.ask("Again?"))
    assert session.history == []


# Pairs that do not think.


def test_a_plain_pair_is_routed_over_its_whole_reply(open_pair: Open) -> None:
    solution = run(open_pair("plain", "plain", max_answer=11))
    assert solution.thought == ""
    assert solution.thought_end is None
    assert {step.part for step in solution.steps} == {"reply"}
    assert solution.answer == "".join(step.text for step in solution.steps).rstrip()
    assert writers(solution.steps)[:3] == "SSL"
    assert solution.stats.steps == len(solution.steps)


def test_one_thinking_template_of_two_is_said(open_pair: Open) -> None:
    solution = run(open_pair("plain", "large"))
    assert "only one of the two chat templates" in solution.notices[0]
    assert solution.thought_end == "closed"


# Events.


def test_events_come_in_order_and_tell_the_whole_text(open_pair: Open) -> None:
    events = list(Session(open_pair(), seed=1).ask(QUESTION))
    assert isinstance(events[0], Started)
    assert [type(event) for event in events[-2:]] == [Answer, Finished]
    for index, step in enumerate(fold(events).steps):
        told = "".join(event.text for event in events if isinstance(event, Text) and event.index == index)
        assert told == step.text
        began = next(i for i, e in enumerate(events) if isinstance(e, StepStarted) and e.index == index)
        ended = next(i for i, e in enumerate(events) if isinstance(e, StepEnded) and e.step.index == index)
        assert began < ended


def test_a_character_of_several_tokens_is_told_whole(in_bytes: Callable[..., Pair]) -> None:
    events = list(Session(in_bytes("a😀b"), seed=1).ask(QUESTION))
    assert [event.text for event in events if isinstance(event, Text)][:3] == ["a", "😀", "b"]


def test_the_share_of_tokens_counts_all_and_the_share_of_steps_the_thought(open_pair: Open) -> None:
    stats = run(open_pair()).stats
    assert (stats.steps, stats.steps_large, stats.tokens, stats.tokens_large) == (4, 1, 10, 5)
    assert stats.time_to_first_token_seconds is not None
    assert 0 < stats.time_to_first_token_seconds < stats.seconds
    assert len(stats.entropies_nats) == 4
