"""Steps that were stopped because they repeat themselves: who continues, what is kept, and going back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glimp_local import Session
from glimp_local.events import AnyEvent, Solution, Text, fold
from glimp_local.pair import Pair
from glimp_local.runs import Run
from glimp_local.session.turn import Position
from glimp_local.tree import Tree
from tests.support.scripted import ScriptedBackend, scripted_pair
from tests.support.sessions import QUESTION, Open, assert_caches_equal_fresh_runs, run

Says = Callable[[str], str | None]
CLOSED = "</think>"


def scripted(small: Says, large: Says, **settings: Any) -> Pair:
    """Return a pair whose models write what they are told to; the small one is sure of everything."""
    pair = scripted_pair(**{"context": 4000, "threshold": 100, **settings})
    for model, says in (("small", small), ("large", large)):
        backend = pair.backends[model]  # type: ignore[index]
        assert isinstance(backend, ScriptedBackend)
        backend.says = says
    return pair


def answering(thought: Says, answer: Says) -> Says:
    return lambda text: answer(text.partition(CLOSED)[2]) if CLOSED in text else thought(text)


def forever(*words: str) -> Says:
    """Write words again and again."""
    after = dict(zip(words, (*words[1:], words[0]), strict=True))
    return lambda text: next((after[word] for word in words if text.endswith(word)), words[0])


def once(*words: str) -> Says:
    """Write words, once in a turn, and end."""
    return lambda text: next((word for word in words if word not in text), None)


ANSWERS = once("It ", "is ", "3.")
STUCK = answering(forever("equal "), ANSWERS)
SENSIBLE = answering(once("So it is 3.\n\n", CLOSED), ANSWERS)


def ends(solution: Solution) -> list[tuple[str, str, str, str]]:
    return [(step.part, step.model, step.reason, step.end) for step in solution.steps]


def test_the_large_model_gets_its_chance_and_the_text_is_kept() -> None:
    solution = run(scripted(STUCK, SENSIBLE))
    assert ends(solution) == [
        ("thought", "small", "confident", "repetition"),
        ("thought", "large", "loop", "blank_line"),
        ("thought", "small", "confident", "repetition"),
        ("thought", "large", "loop", "thought_end"),
        ("answer", "large", "answer", "end_of_generation"),
    ]
    assert solution.steps[0].text == "equal " * solution.steps[0].tokens
    assert 85 < solution.steps[0].tokens < 100
    assert (solution.answer, solution.finish_reason, solution.thought_end) == ("It is 3.", "done", "closed")


def test_a_second_repetition_in_a_row_ends_the_thought() -> None:
    solution = run(scripted(STUCK, STUCK))
    assert [step.end for step in solution.steps] == ["repetition", "repetition", "end_of_generation"]
    assert (solution.thought_end, solution.answer, solution.finish_reason) == ("loop", "It is 3.", "done")


def test_an_answer_that_repeats_itself_is_stopped_at_once() -> None:
    stuck = answering(once("Hm.\n\n", CLOSED), forever("equal "))
    solution = run(scripted(SENSIBLE, stuck))
    assert (solution.finish_reason, solution.steps[-1].end) == ("loop", "repetition")
    assert solution.answer == ("equal " * solution.steps[-1].tokens).rstrip()
    assert solution.stats.tokens < 110


def test_in_a_routed_answer_the_large_model_gets_its_chance() -> None:
    small = answering(once("Hm.\n\n", CLOSED), forever("equal "))
    solution = run(scripted(small, SENSIBLE, answer_by="route"))
    assert [(step.model, step.end) for step in solution.steps if step.part == "answer"] == [
        ("small", "repetition"),
        ("large", "end_of_generation"),
    ]
    assert solution.answer.endswith("equal It is 3.")
    assert solution.finish_reason == "done"


def test_a_routed_reply_that_repeats_itself_twice_is_stopped() -> None:
    solution = run(scripted(forever("equal "), forever("same "), markers=None))
    assert [(step.model, step.end) for step in solution.steps] == [("small", "repetition"), ("large", "repetition")]
    assert solution.finish_reason == "loop"


def test_blank_lines_without_end_are_stopped() -> None:
    solution = run(scripted(answering(forever("\n"), ANSWERS), answering(forever("\n\n"), ANSWERS), max_step=2000))
    assert [step.end for step in solution.steps] == ["repetition", "repetition", "end_of_generation"]


def test_what_may_begin_the_closing_marker_does_not_hold_it_up() -> None:
    for words in (("a <",), ("</thi",), ("x ", "<")):
        stuck = answering(forever(*words), ANSWERS)
        solution = run(scripted(stuck, stuck, max_step=4000, max_thought=4000))
        assert [step.end for step in solution.steps[:2]] == ["repetition", "repetition"]
        written = "".join(words) * 2000
        assert all(written.startswith(step.text) for step in solution.steps[:1])
        assert solution.thought == written[: len(solution.thought)]


def test_the_step_behind_it_stands_in_the_code_block_that_it_left_open() -> None:
    small = answering(lambda text: "again()\n" if "```" in text else "```\n", ANSWERS)
    large = answering(once("done()\n\n", "```\n\n ", "So it is 3.\n\n", CLOSED), ANSWERS)
    solution = run(scripted(small, lambda text: large(text.replace("```\n", "", 1))))
    first, second = solution.steps[:2]
    assert (first.end, len(first.text) > 1024) == ("repetition", True)
    assert (second.text, second.end) == ("done()\n\n```\n\n ", "blank_line")


def test_mathematics_that_it_left_open_swallows_no_boundary() -> None:
    small = answering(lambda text: "a + " if "$$" in text else "$$ ", ANSWERS)
    solution = run(scripted(small, SENSIBLE))
    assert [(step.model, step.end) for step in solution.steps[:2]] == [("small", "repetition"), ("large", "blank_line")]


def test_a_question_after_a_stopped_one_is_answered_as_ever() -> None:
    def small(text: str) -> str | None:
        return (forever("equal ") if text.startswith("Stuck") else SENSIBLE)(text)

    session = Session(scripted(small, small), seed=1)
    assert fold(session.ask("Stuck?")).finish_reason == "loop"
    solution = fold(session.ask("And this?"))
    assert (solution.thought, solution.answer, solution.finish_reason) == ("So it is 3.\n\n", "It is 3.", "done")


# Going back to it.


def where(position: Position) -> dict[str, Any]:
    """Return what a position is, without where the lanes stand."""
    values = {name: getattr(position, name) for name in ("part", "written", "strikes", "answer", "thought_end")}
    tail = position.tail if position.part == "thought" else None  # closing the thought is all it is for
    return {**values, "tail": tail, "machine": vars(position.machine), "loops": vars(position.loops)}


@pytest.mark.parametrize("answer_by", ["large", "route"])
def test_a_saved_turn_is_restored_to_the_same_position_at_every_step(answer_by: str) -> None:
    def thought(text: str) -> str | None:
        return "again <" if "```" in text else once("Hm.\n\n", "Code:\n```\n")(text)

    def answer(text: str) -> str | None:
        return "then again\n" if "~~~" in text else "~~~\n"

    large = answering(once("end()\n```\n\n", "So it is 3.\n\n", CLOSED), answer)
    pair = scripted(answering(thought, answer), large, answer_by=answer_by)
    session = Session(pair, seed=1)
    solution = fold(session.ask(QUESTION))
    assert [step.end for step in solution.steps].count("repetition") >= 3
    turn = session.last_turn
    assert turn is not None
    for number, mark in enumerate([*turn.marks[1:], turn.position], start=1):
        restored = Session(pair, seed=1)
        ended = solution.thought_end if mark.part == "answer" else None
        restored.restore(Tree.of(Run(QUESTION, steps=list(solution.steps[:number]), thought_end=ended)))
        assert restored.last_turn is not None
        assert where(restored.last_turn.position) == where(mark)


def test_a_repetition_can_be_written_again_by_the_other_model() -> None:
    session = Session(scripted(STUCK, SENSIBLE), seed=1)
    before = list(session.ask(QUESTION))
    solution = fold([*before, *session.redo(0)])
    assert ends(solution)[:2] == [
        ("thought", "large", "redo", "blank_line"),
        ("thought", "small", "confident", "repetition"),
    ]
    assert solution.thought.startswith("So it is 3.\n\nequal ")


def test_a_repetition_that_was_cancelled_midway_is_found_when_it_is_continued() -> None:
    session = Session(scripted(STUCK, STUCK), seed=1)
    events: list[AnyEvent] = []
    for event in session.ask(QUESTION):
        events.append(event)
        if isinstance(event, Text) and len(events) == 40:
            session.cancel()
    solution = fold([*events, *session.resume()])
    assert [step.end for step in solution.steps[:3]] == ["cancelled", "repetition", "repetition"]
    assert solution.thought == "equal " * sum(step.tokens for step in solution.steps[:3])


# On llama.cpp.


def test_llama_cpp_s_caches_agree_with_a_thought_that_was_ended_for_repeating_itself(open_pair: Open) -> None:
    session = Session(open_pair("endless", "endless"), seed=1)
    solution = fold(session.ask(QUESTION))
    assert [(step.model, step.end) for step in solution.steps[:2]] == [("small", "repetition"), ("large", "repetition")]
    assert (solution.thought_end, solution.boxed, solution.finish_reason) == ("loop", "3", "done")
    assert solution.thought == "Never" + " ends here" * (len(solution.thought) // 10)
    assert_caches_equal_fresh_runs(session)


def test_a_repetition_that_was_drafted_ends_where_one_that_was_not_does(open_pair: Open) -> None:
    texts = []
    for draft in (4, "off"):
        session = Session(open_pair("endless", "endless", draft=draft), seed=1)
        texts.append([(step.text, step.end) for step in fold(session.ask(QUESTION)).steps])
        assert_caches_equal_fresh_runs(session)
    assert texts[0] == texts[1]
