"""Redo and other questions anywhere in a conversation; what they replace can be gone back to and continued."""

from __future__ import annotations

import random

import pytest

from glimp_local import Session
from glimp_local.errors import PromptTooLongError, UsageError
from glimp_local.events import AnyEvent, Fold, Rewound, Started, StepEnded, TakenBack, answer_of, fold
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.runs import Run
from glimp_local.settings import SamplingSettings
from glimp_local.tree import Tree
from tests.support.scripted import ScriptedLane, scripted_pair


class Talk:
    """A session, and what its events fold into."""

    def __init__(self, pair: Pair | None = None, tree: Tree | None = None) -> None:
        self.session = Session(pair or scripted_pair(), seed=1)
        self.fold = Fold(tree)

    def hear(self, *events: AnyEvent) -> list[AnyEvent]:
        for event in events:
            self.fold.take(event)
        return list(events)

    def ask(self, question: str, *, instead: bool | str = False) -> list[AnyEvent]:
        return self.hear(*self.session.ask(question, instead=instead))

    def ask_and_stop(self, question: str) -> None:
        for event in self.session.ask(question):
            self.hear(event)
            if isinstance(event, StepEnded):
                self.session.cancel()

    def redo(self, index: int, turn: str | None = None) -> list[AnyEvent]:
        return self.hear(*self.session.redo(index, turn=turn))

    def select(self, turn: str) -> None:
        self.hear(self.session.select(turn))

    @property
    def ids(self) -> list[str]:
        return [run.turn for run in self.fold.runs]

    def check(self) -> None:
        """The session must say, and its models must read, what its events tell."""
        runs = self.fold.runs
        assert self.session.messages == said(runs)
        turn = self.session.last_turn
        assert (turn is None) == (not runs)
        if turn is not None:
            assert (turn.id, turn.steps, turn.finish) == (runs[-1].turn, runs[-1].steps, runs[-1].finish)
            assert self.session.history == said(runs[:-1])
            asked = [*self.session.history, Message("user", runs[-1].asked)]
            texts = [*(f"[{message.role}]{message.content}" for message in asked), *(step.text for step in turn.steps)]
            for lane in self.session._lanes.values():
                assert isinstance(lane, ScriptedLane)
                assert blank(lane.text.decode()) == blank("".join(texts))


def said(runs: list[Run]) -> list[Message]:
    pairs = [(Message("user", run.asked), Message("assistant", run.answer)) for run in runs if run.answer]
    return [message for pair in pairs for message in pair]


def blank(text: str) -> str:
    """Return a text without what an answer and a thought are told apart by."""
    return "".join(text.replace("<think>", "").replace("</think>", "").split())


def test_a_question_in_the_place_of_another_folds_like_any_other() -> None:
    talk = Talk()
    talk.ask("One?")
    solution = fold(talk.session.ask("Two?", instead=True))
    assert solution.answer


def test_a_step_of_an_earlier_turn_is_written_again_and_what_stood_behind_it_is_kept() -> None:
    talk = Talk()
    for question in ("One?", "Two?", "Three?"):
        talk.ask(question)
    first, second, third = talk.ids
    before = talk.fold.tree.copy().runs
    rewound, *rest = talk.redo(1, second)
    assert isinstance(rewound, Rewound)
    assert (rewound.index, rewound.of) == (1, second)
    assert talk.ids == [first, rewound.turn]
    steps = [event.step for event in rest if isinstance(event, StepEnded)]
    assert (steps[0].index, steps[0].reason) == (1, "redo")
    assert steps[0].model != before[1].steps[1].model
    assert talk.fold.runs[-1].steps == [before[1].steps[0], *steps]
    talk.check()
    talk.select(third)
    assert talk.fold.runs == before
    talk.check()


def test_a_turn_written_again_later_is_written_as_if_it_were_the_last_one() -> None:
    one, other = (Talk(scripted_pair(sampling=SamplingSettings(temperature=0))) for _ in range(2))
    for talk in (one, other):
        talk.ask("One?")
    other.ask("Two?")
    alone, later = one.redo(1), other.redo(1, other.ids[0])
    assert [event.step.text for event in alone if isinstance(event, StepEnded)] == [
        event.step.text for event in later if isinstance(event, StepEnded)
    ]


def test_the_answer_of_an_earlier_turn_is_written_again() -> None:
    talk = Talk()
    talk.ask("One?")
    talk.ask("Two?")
    steps = talk.fold.runs[0].steps
    answer = next(step.index for step in steps if step.part == "answer")
    talk.redo(answer, talk.ids[0])
    (run,) = talk.fold.runs
    assert run.steps[:answer] == steps[:answer]
    assert (run.steps[answer].part, run.steps[answer].reason) == ("answer", "redo")
    talk.check()


def test_another_question_takes_the_place_of_an_earlier_one() -> None:
    talk = Talk()
    for question in ("One?", "Two?", "Three?"):
        talk.ask(question)
    first, second, third = talk.ids
    taken_back, started, *_ = talk.ask("Two, in other words?", instead=second)
    assert taken_back == TakenBack(second)
    assert isinstance(started, Started)
    assert talk.ids == [first, started.turn]
    talk.check()
    talk.select(third)
    assert [run.question for run in talk.fold.runs] == ["One?", "Two?", "Three?"]
    talk.check()


def test_a_version_gone_back_to_is_continued_by_the_next_question() -> None:
    talk = Talk()
    talk.ask("One?")
    (first,) = talk.ids
    talk.ask("Other?", instead=True)
    talk.select(first)
    talk.ask("Two?")
    assert [run.question for run in talk.fold.runs] == ["One?", "Two?"]
    talk.check()


def test_a_stopped_version_gone_back_to_is_resumed() -> None:
    talk = Talk()
    events = talk.session.ask("One?")
    for event in events:
        talk.hear(event)
        if isinstance(event, StepEnded) and event.step.index == 1:
            talk.session.cancel()
    (first,) = talk.ids
    stopped = talk.fold.runs[0].steps[:]
    talk.ask("Other?", instead=True)
    could = talk.session.can_resume
    talk.select(first)
    assert (could, talk.session.can_resume) == (False, True)
    talk.hear(*talk.session.resume())
    (run,) = talk.fold.runs
    assert (run.turn, run.finish, run.steps[: len(stopped)]) == (first, "done", stopped)
    talk.check()


def test_a_stopped_turn_that_another_question_stands_behind_is_resumed_in_another_version() -> None:
    talk = Talk()
    talk.ask_and_stop("One?")
    talk.ask("Two?")
    first, second = talk.ids
    stopped = talk.fold.runs[0].steps[:]
    talk.select(first)
    talk.hear(*talk.session.resume())
    (run,) = talk.fold.runs
    assert run.turn not in {first, second}
    assert (run.finish, run.steps[: len(stopped)]) == ("done", stopped)
    talk.check()
    talk.select(second)
    assert [run.finish for run in talk.fold.runs] == ["cancelled", "done"]
    talk.check()


def test_what_cannot_be_done_leaves_everything_as_it_was() -> None:
    talk = Talk()
    talk.ask("One?")
    talk.ask("Two?")
    first = talk.ids[0]
    with pytest.raises(UsageError, match="no version 'x' of a turn"):
        talk.select("x")
    with pytest.raises(UsageError, match="no version 'x' of a turn"):
        talk.redo(0, "x")
    with pytest.raises(UsageError, match="no version 'x' of a turn"):
        talk.ask("Three?", instead="x")
    with pytest.raises(UsageError, match="no step 99"):
        talk.redo(99, first)
    with pytest.raises(PromptTooLongError):
        talk.ask("too long " * 400, instead=first)
    talk.check()


def test_a_run_is_not_left_while_it_is_read() -> None:
    talk = Talk()
    talk.ask("One?")
    (first,) = talk.ids
    events = talk.session.ask("Two?")
    next(events)
    for leave in (lambda: talk.select(first), lambda: talk.redo(0, first)):
        with pytest.raises(UsageError, match="still being answered"):
            leave()
    events.close()


def test_a_run_that_was_not_begun_is_of_the_conversation_as_it_was() -> None:
    talk = Talk()
    talk.ask("One?")
    (first,) = talk.ids
    talk.ask("Other?", instead=True)
    events = talk.session.redo(0)
    talk.select(first)
    with pytest.raises(UsageError, match="before these events were read"):
        next(events)
    talk.check()


def test_a_saved_conversation_is_restored_with_all_its_versions() -> None:
    talk = Talk()
    for question in ("One?", "Two?"):
        talk.ask(question)
    talk.redo(0, talk.ids[0])
    tree = talk.fold.tree
    old = next(run.turn for run in tree.versions.values() if run.question == "Two?")
    again = Talk(tree=tree.copy())
    again.session.restore(tree)
    again.check()
    again.select(old)
    again.check()
    again.redo(1, talk.ids[0])
    again.check()
    assert len(again.fold.tree.siblings(again.fold.runs[0])) == 3


def test_each_version_has_the_system_message_it_was_asked_with() -> None:
    brief, long = (Run("One?", system=text, turn=text, finish="done") for text in ("Be brief.", "Be long."))
    tree = Tree.of(brief)
    tree.go_to(None)
    tree.add(long)
    session = Session(scripted_pair(), seed=1, history=[Message("system", "Be long.")])
    session.restore(tree)
    assert session.history == [Message("system", "Be long.")]
    session.select("Be brief.")
    assert session.history == [Message("system", "Be brief.")]


def test_what_a_pair_of_another_kind_has_written_is_kept_and_not_written_into() -> None:
    talk = Talk()
    talk.ask("One?")
    talk.ask("Two?")
    tree, (first, second) = talk.fold.tree, talk.ids
    other = Talk(scripted_pair(markers=None), tree.copy())
    other.session.restore(tree)
    assert other.session.messages == talk.session.messages
    with pytest.raises(UsageError, match="another kind has written this turn") as error:
        other.redo(0, first)
    assert error.value.hint == "ask its question again"
    other.ask("One?", instead=first)
    other.select(second)
    assert other.session.messages == talk.session.messages
    assert [run.steps for run in other.fold.runs] == [run.steps for run in tree.runs]


def test_a_turn_that_a_pair_of_another_kind_left_without_an_answer_is_answered_in_another_version() -> None:
    talk = Talk()
    talk.ask_and_stop("One?")
    (first,) = talk.ids
    other = Talk(scripted_pair(markers=None), talk.fold.tree.copy())
    other.session.restore(talk.fold.tree)
    rewound, *_ = other.hear(*other.session.resume())
    assert isinstance(rewound, Rewound)
    assert (rewound.index, rewound.of) == (0, first)
    other.check()
    assert {step.part for step in other.fold.runs[0].steps} == {"reply"}
    assert other.fold.tree.versions[first].steps == talk.fold.runs[0].steps


@pytest.mark.parametrize("markers", [True, False], ids=["thinks", "does not think"])
def test_whatever_is_done_and_in_whatever_order_session_models_and_events_agree(markers: bool) -> None:
    drawn = random.Random(3)
    for _ in range(40):
        talk = Talk(scripted_pair() if markers else scripted_pair(markers=None))
        talk.ask("Q0?")
        texts: set[str] = set()
        for number in range(1, 8):
            turns = talk.fold.tree.versions
            turn = drawn.choice(list(turns))
            match drawn.choice(["ask", "instead", "stopped", "redo", "resume", "select", "restore"]):
                case "ask":
                    talk.ask(f"Q{number}?")
                case "stopped":
                    talk.ask_and_stop(f"Q{number}?")
                case "resume":
                    if talk.session.can_resume:
                        talk.hear(*talk.session.resume())
                case "instead":
                    talk.ask(f"Q{number}?", instead=turn)
                case "redo":
                    talk.redo(drawn.randrange(len(turns[turn].steps)), turn)
                case "select":
                    talk.select(turn)
                case _:
                    restored = Talk(talk.session.pair, talk.fold.tree.copy())
                    restored.session.restore(talk.fold.tree)
                    talk = restored
            talk.check()
            answers = {answer_of(run.steps) for run in talk.fold.tree.versions.values()}
            # Nothing is lost; what was stopped may have been continued.
            assert all(any(answer.startswith(text) for answer in answers) for text in texts)
            texts = answers
