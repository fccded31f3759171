"""Messages with roles: a system message, and a question that comes as a conversation."""

from __future__ import annotations

from typing import Literal

import pytest

from glimp_local import Session
from glimp_local.errors import UsageError
from glimp_local.events import Started, fold
from glimp_local.messages import Message, ToolCall
from tests.support.scripted import ScriptedBackend, scripted_pair


def prompt_of(session: Session) -> str:
    backend = session.pair.backends["small"]
    assert isinstance(backend, ScriptedBackend)
    return b" ".join(backend.held).decode()


def test_a_system_message_stays_on_top_of_all_turns() -> None:
    session = Session(scripted_pair(), seed=1, history=[Message("system", "Be brief.")])
    for question in ("One?", "Two?"):
        started, *_ = list(session.ask(question))
        assert isinstance(started, Started)
        assert (started.question, started.system) == (question, "Be brief.")
        assert prompt_of(session).startswith("[system]Be brief.")
    assert [message.role for message in session.messages] == ["system", "user", "assistant", "user", "assistant"]


@pytest.mark.parametrize(
    ("only", "read"), [("counting stories and small sums", "One and two?"), (None, "One\nand  two?")]
)
def test_a_narrow_pair_reads_a_question_as_one_line(
    only: Literal["counting stories and small sums"] | None, read: str
) -> None:
    session = Session(scripted_pair(only=only), seed=1)
    list(session.ask("One\nand  two?"))
    assert prompt_of(session).startswith(f"[user]{read}")
    assert session.messages[0].content == "One\nand  two?"


def test_a_question_may_come_as_messages() -> None:
    session = Session(scripted_pair(), seed=1)
    asked = [Message("system", "S"), Message("user", "A?"), Message("assistant", "B."), Message("user", "C?")]
    solution = fold(session.ask(asked))
    assert solution.system == "S"
    assert session.messages == [*asked, Message("assistant", solution.answer)]
    list(session.ask("D?", instead=True))
    assert [message.content for message in session.messages[:-1]] == ["S", "A?", "B.", "D?"]


def test_a_conversation_that_ends_with_an_answer_asks_nothing() -> None:
    session = Session(scripted_pair(), seed=1)
    for asked in ([], [Message("user", "A?"), Message("assistant", "B.")], [Message("user", " ")], " \n"):
        with pytest.raises(UsageError, match="no question"):
            session.ask(asked)


def test_a_system_message_survives_a_question_without_an_answer() -> None:
    session = Session(scripted_pair(), seed=1)
    events = session.ask([Message("system", "S"), Message("user", "A?")])
    next(events)
    session.cancel()
    list(events)
    assert session.messages == [Message("system", "S")]


def test_the_last_question_of_a_history_can_be_replaced() -> None:
    history = [Message("system", "S"), Message("user", "A?"), Message("assistant", "B.")]
    session = Session(scripted_pair(), seed=1, history=history)
    list(session.ask("C?", instead=True))
    assert [message.content for message in session.messages[:-1]] == ["S", "C?"]
    with pytest.raises(UsageError, match="nothing was asked yet"):
        Session(scripted_pair(), history=[Message("system", "S")]).ask("C?", instead=True)


def test_an_answer_may_be_begun() -> None:
    session = Session(scripted_pair(), seed=1)
    solution = fold(session.ask("One?", opening="It is"))
    assert session.messages[-1].content == f"It is{solution.answer}"
    large = session.pair.backends["large"]
    assert isinstance(large, ScriptedBackend)
    assert "</think>\n\nIt is" in b"".join(large.held).decode()
    step = len(solution.steps) - 1
    list(session.redo(step))
    assert session.messages[-1].content.startswith("It is")
    list(session.redo(0))
    assert session.messages[-1].content.startswith("It is")


def test_what_a_tool_returned_is_answered_like_a_question() -> None:
    session = Session(scripted_pair(), seed=1, tools=[{"type": "function", "function": {"name": "weather"}}])
    call = Message("assistant", "", (ToolCall("1", "weather", {}),))
    asked = [Message("user", "One?"), call, Message("tool", "rain", tool_call_id="1")]
    started, *_ = list(session.ask(asked))
    assert isinstance(started, Started)
    assert started.question == "One?"
    assert prompt_of(session).startswith("[tool weather][user]One?")


def test_tools_that_a_model_does_not_know_are_refused() -> None:
    pair = scripted_pair()
    pair.backends["small"].tool_style = None  # type: ignore[misc]
    with pytest.raises(UsageError, match="calls no tools"):
        Session(pair, tools=[{"type": "function", "function": {"name": "weather"}}]).ask("One?")
