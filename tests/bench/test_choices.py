"""Problems of multiple choice: how their choices are shown, and which letter is read from an answer."""

from __future__ import annotations

from itertools import permutations
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.bench.choices import chosen, shown, shuffled
from glimp_local.bench.grading import Grade, Grader

QUESTION = "How far does the made-up beetle walk?"
CHOICES = ("3 km", "10^{-4} m", "About 5 km, and back.", "It stays at home.")


def test_choices_stand_below_the_question_behind_their_letters() -> None:
    assert shown("Which?", ["one", "two", "three"]) == "Which?\n\n(A) one\n(B) two\n(C) three"


def test_the_order_hangs_on_the_problem_alone() -> None:
    # As it was in the first release that had it: runs of a bench that is continued are of the same letters.
    expected = ["3 km", "About 5 km, and back.", "10^{-4} m", "It stays at home."]
    assert {tuple(shuffled(QUESTION, order)) for order in permutations(CHOICES)} == {tuple(expected)}


def test_the_right_choice_gets_every_letter_about_equally_often() -> None:
    places = [shuffled(f"Question {i}?", ["right", "wrong", "false", "untrue"]).index("right") for i in range(400)]
    assert all(70 < places.count(place) < 130 for place in range(4))


@pytest.mark.parametrize(
    "answer",
    [
        r"So it is \boxed{C}.",
        r"\boxed{(C)}",
        r"\boxed{[C]}",
        r"\boxed{C.}",
        r"\boxed{C)}",
        r"\boxed{ c }",
        r"\boxed{\text{C}}",
        r"\boxed{\text{(C)}}",
        r"\boxed{\textbf{C}}",
        r"\boxed{\mathrm{C}}",
        r"\boxed{\left(\mathbf{C}\right)}",
        r"\boxed{$C$}",
        r"\boxed{**C**}",
        r"\boxed{Option C}",
        r"\boxed{\text{The answer is C}}",
        r"\boxed{\boxed{C}}",
        r"\boxed{C) About 5 km, and back.}",
        r"\boxed{(C) 5 km there and 5 km back}",
        r"\boxed{\text{C. About five}}",
        r"\boxed{C: about five}",
        r"\boxed{(C) (R)-beetle}",
        "\\boxed{C \N{EN DASH} about five}",
        r"\boxed{A}, no: \boxed{C}",
        r"The answer is (A)? No: \boxed{C}, as (B) is too little.",
    ],
)
def test_the_letter_in_the_last_box_is_the_answer(answer: str) -> None:
    assert chosen(answer, CHOICES) == "C"


@pytest.mark.parametrize(
    ("boxed", "letter"),
    [
        ("3 km", "A"),
        (r"3\text{ km}", "A"),
        (r"3\,\mathrm{km}", "A"),
        ("10^{-4} m", "B"),
        (r"10^{-4}\ \text{m}", "B"),
        ("10^-4 m", "B"),
        ("about 5 km, and back", "C"),
        (r"\text{It stays at home}", "D"),
    ],
)
def test_the_text_of_a_choice_in_the_box_stands_for_its_letter(boxed: str, letter: str) -> None:
    assert chosen(f"\\boxed{{{boxed}}}", CHOICES) == letter


@pytest.mark.parametrize(
    ("choices", "boxed", "letter"),
    [
        (["c", "2c", "3c", "c^2"], "c", "A"),
        (["c", "2c", "3c", "c^2"], "C", "C"),
        (["B. rapa", "C. sativa", "A. thaliana"], "A. thaliana", "C"),
        (["5 mM", "5 MM"], "5 mM", "A"),
        (["5 mM", "5 MM"], "5 MM", "B"),
        (["5 mM", "5 MM"], "5 mm", None),
        (["x + 1", "x+1"], "x+1", None),
    ],
)
def test_what_could_be_a_letter_or_a_text_is_told_apart(choices: list[str], boxed: str, letter: str | None) -> None:
    assert chosen(f"\\boxed{{{boxed}}}", choices) == letter


@pytest.mark.parametrize(
    "boxed",
    [
        "",
        "E",
        "A man",
        "A-form",
        "A, C",
        "A and C",
        "AC",
        "A or (C)",
        "4 km",
        "E. coli",
        "I",
        "3",
        "neither",
        "(A)(B)",
        "(A), (B)",
    ],
)
def test_a_box_without_one_of_the_letters_names_none(boxed: str) -> None:
    # What stands outside of it is not asked then.
    assert chosen(f"The answer is (C). \\boxed{{{boxed}}}", CHOICES) is None


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is (C).",
        "the answer is C",
        "The answer is: C.",
        "Answer: C",
        "**Answer:** C",
        "**Answer: (C)**",
        "The correct answer is **C**.",
        "The correct option is (C), as the others are too short.",
        "So the right choice would be C) about five.",
        "The answer is option C.",
        r"The answer is $\text{C}$.",
        "The answer is (A)? It is not.\nThe answer is (C).",
        "The answer is (C). (A) is too short, and (B), too.",
        "(A) is too short.\nThe answer is C. About 5 km, and back.",
        "C",
        "(C)",
        "**C**",
        "C.",
        "C) About 5 km, and back.",
        "(C) About 5 km, and back.\n\nThe others are too short.",
        "It walks there and back:\n\n**(C)** About 5 km, and back.",
        "about 5 km, and back",
    ],
)
def test_without_a_box_what_is_said_to_be_the_answer_counts(answer: str) -> None:
    assert chosen(answer, CHOICES) == "C"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A man walks, and A is his name.",
        "A",  # of three choices below: not this one
        "A man (C) walked.",
        "The answer is a matter of taste.",
        "The answer is A man.",
        "The answer is A. thaliana.",
        "The answer is not (C).",
        "The answer is (B) or (C).",
        "The answer is (B), (C).",
        "The answer is B and C.",
        "The answer is (E).",
        "Option C is wrong.",
        "(B) is too short.\n(C) is too long.",
        "Vitamin C",
        "I",
    ],
)
def test_a_letter_in_running_text_never_counts(answer: str) -> None:
    choices = ["B", "A", "none"] if answer == "A" else CHOICES
    assert chosen(answer, choices) == ("A" if answer == "A" else None)


@given(st.text(), st.lists(st.text(min_size=1), min_size=2, max_size=26))
def test_no_answer_is_too_odd_to_be_read(answer: str, choices: list[str]) -> None:
    for text in (answer, f"\\boxed{{{answer}}}", f"The answer is {answer}"):
        letter = chosen(text, choices)
        assert letter is None or letter in ascii_uppercase[: len(choices)]


def test_the_letter_is_graded_and_no_process_is_started() -> None:
    with Grader() as grader:
        assert grader.grade(r"\boxed{C}", "C", choices=CHOICES) == Grade(correct=True, given="C")
        assert grader.grade(r"\boxed{3 km}", "C", choices=CHOICES) == Grade(correct=False, given="A")
        assert grader.grade(r"\boxed{4 km}", "C", choices=CHOICES) == Grade(correct=False, given="4 km")
        assert grader.grade("A man.", "A", choices=CHOICES) == Grade(correct=False, given=None)
        assert grader._process is None
