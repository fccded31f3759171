"""A session's settings from one run to the next, and what a model cannot do."""

from __future__ import annotations

import msgspec
import pytest

from glimp_local import Session
from glimp_local.errors import GlimpError, UsageError
from glimp_local.events import Finished, StepEnded, fold
from glimp_local.routing import Threshold
from glimp_local.settings import RunSettings
from tests.support.scripted import ScriptedBackend, scripted_pair
from tests.support.sessions import QUESTION, Open, cancelled


def test_settings_differ_from_one_run_to_the_next_without_loading() -> None:
    pair = scripted_pair(threshold=0)
    session = Session(pair, seed=1)
    assert {step.model for step in fold(session.ask(QUESTION)).steps} == {"large"}
    session.settings = RunSettings(threshold=100, answer_by="small", max_thought=1, max_answer=2)
    second = fold(session.ask(QUESTION))
    assert {step.model for step in second.steps} == {"small"}
    assert (second.thought_end, second.finish_reason) == ("budget", "answer_budget")
    assert pair.config.threshold == 0
    session.settings = RunSettings(policy="large")
    assert session.messages[-1].content == second.answer
    assert {step.model for step in fold(session.ask(QUESTION)).steps} == {"large"}


def test_settings_that_need_a_model_not_loaded_are_refused_and_change_nothing() -> None:
    pair = scripted_pair()
    del pair.backends["large"]
    with pytest.raises(UsageError, match="needs the large model, which is not loaded"):
        Session(pair)
    session = Session(pair, settings=RunSettings(policy="small"))
    with pytest.raises(UsageError, match="needs the large model"):
        session.settings = RunSettings(policy="large")
    assert session.settings.policy == session.policy.name == "small"


# Between turns with other settings.


def test_a_turn_is_continued_with_the_models_and_the_policy_it_was_begun_with() -> None:
    session = Session(scripted_pair(), seed=1, settings=RunSettings(policy="small"))
    list(cancelled(session))
    used = session.contexts()
    session.settings = RunSettings(policy="large")
    assert session.contexts() == used
    resumed = [event for event in session.resume() if isinstance(event, StepEnded)]
    assert {event.step.model for event in resumed} == {"small"}
    with pytest.raises(UsageError, match="no model 'large' to force"):
        session.force("large")
    assert {step.model for step in fold(session.ask("Next?")).steps} == {"large"}


def test_a_policy_counts_from_the_next_step_of_a_turn_that_was_begun_with_other_settings() -> None:
    session = Session(scripted_pair(threshold=100), seed=1)
    list(cancelled(session))
    session.settings = msgspec.structs.replace(session.settings, max_answer=9)
    session.policy = Threshold(0)
    resumed = [event for event in session.resume() if isinstance(event, StepEnded)]
    assert {event.step.model for event in resumed} == {"large"}


def test_what_keeps_a_model_from_drafting_is_said_once() -> None:
    session = Session(scripted_pair(draft=4), seed=1)
    for _ in range(3):
        session.settings = msgspec.structs.replace(session.settings, max_answer=session.settings.max_answer + 1)
    assert sum("does not draft" in notice for notice in fold(session.ask(QUESTION)).notices) == 1


# What a model cannot do.


def test_a_model_that_cannot_be_glimpsed_at_is_refused_by_policies_that_need_it() -> None:
    pair = scripted_pair()
    pair.backends["small"].can_glimpse = False  # type: ignore[misc]  # a scripted backend's attribute
    with pytest.raises(UsageError, match="small does not tell how sure it is"):
        Session(pair)
    assert fold(Session(pair, settings=RunSettings(policy="small")).ask(QUESTION)).finish_reason == "done"


def test_a_pair_that_was_closed_begins_no_session(open_pair: Open) -> None:
    pair = open_pair()
    pair.close()
    with pytest.raises(GlimpError, match="the pair has been closed"):
        Session(pair)


def test_a_model_that_cannot_go_on_ends_the_run_and_can_be_asked_again() -> None:
    pair = scripted_pair(threshold=100)
    session = Session(pair, seed=1)
    small = pair.backends["small"]
    assert isinstance(small, ScriptedBackend)
    small.fails_at = 12
    failed = list(session.ask(QUESTION))
    assert isinstance(failed[-1], Finished)
    assert failed[-1].finish_reason == "failed"
    small.fails_at = None
    assert list(session.resume())[-1].finish_reason == "done"  # type: ignore[union-attr]  # a run ends with Finished


def test_a_model_that_tells_no_probabilities_says_so() -> None:
    session = Session(scripted_pair(), seed=1)
    list(session.ask(QUESTION))
    with pytest.raises(UsageError, match="small does not tell how likely a continuation is"):
        session.peek("small", [b"x"])
    with pytest.raises(UsageError, match="does not tell"):
        session.likeliest("large")


def test_what_keeps_a_model_from_drafting_is_said_if_it_was_asked_to() -> None:
    pair = scripted_pair(draft=4)
    assert any("does not draft" in notice for notice in fold(Session(pair, seed=1).ask(QUESTION)).notices)
    assert not any(
        "does not draft" in notice for notice in fold(Session(scripted_pair(), seed=1).ask(QUESTION)).notices
    )
