"""Finding words in a conversation: in what it says, without a screen."""

from __future__ import annotations

from glimp_local.runs import Run
from glimp_local.tui.places import Place, pattern, places
from tests.support.tracing import step


def run(question: str, *thoughts: str, answer: str = "") -> Run:
    steps = [step(index, text=text) for index, text in enumerate(thoughts)]
    return Run(question, steps=[*steps, step(len(steps), part="answer", text=answer)])


def test_words_are_found_in_questions_steps_and_answers_in_reading_order() -> None:
    runs = [run("How many?", "Many, I think.\n\n", "Or few.", answer="So many."), run("Why many?")]
    assert places(runs, "MANY") == [
        Place(0, "question", 0, 0),
        Place(0, "step", 0, 0),
        Place(0, "answer", 0, 0),
        Place(1, "question", 0, 0),
    ]
    assert places(runs, "few") == [Place(0, "step", 1, 0)]
    assert places(runs, "none such") == places(runs, " ") == places([], "many") == []


def test_paragraphs_of_an_answer_are_places_of_their_own() -> None:
    answer = "One word.\n\nNothing.\n\nAnother word, and a word.\n"
    assert places([run("?", answer=answer)], "word") == [Place(0, "answer", 0, 0), Place(0, "answer", 0, 1)]


def test_a_reply_of_a_pair_that_does_not_think_is_found_once_in_its_steps() -> None:
    replied = Run("?", steps=[step(0, part="reply", text="One.\n\n"), step(1, part="reply", text="Two.")])
    assert places([replied], "two") == [Place(0, "step", 1, 0)]


def test_the_text_is_searched_as_it_is_shown() -> None:
    runs = [run("?", answer="The **whole** area\nis \\(x^2\\), `snake_case`, and \\boxed{\\frac{1}{2}}.\x1b[2J")]
    for words in ("the whole area is", "x²", "snake_case", "[ 1/2 ]", "␛[2j"):
        assert places(runs, words) == [Place(0, "answer", 0, 0)], words
    assert places(runs, "frac") == []


def test_words_are_marked_wherever_the_line_is_broken_and_not_read_as_a_pattern() -> None:
    assert pattern(" a  (b) ").findall("A\n(b), a (b), ab") == ["A\n(b)", "a (b)"]
