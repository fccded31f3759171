"""Where steps end, whatever the tokens; and which thoughts go in circles."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glimp_local.session.steps import LoopDetector, StepMachine

MARKER = b"</think>"


def cut(pieces: list[bytes], marker: bytes | None = MARKER) -> list[tuple[bytes, str | None]]:
    """Feed pieces and give the steps: their text and what ended them."""
    machine, steps, text = StepMachine(marker), [], b""
    for piece in pieces:
        for part, boundary in machine.feed(piece):
            text += part
            if boundary:
                steps.append((text, boundary))
                text = b""
    text += machine.flush()
    return [*steps, (text, None)] if text else list(steps)


def steps_of(text: str, marker: bytes | None = MARKER) -> list[str]:
    return [step.decode() for step, _ in cut([text.encode()], marker)]


AWKWARD = [
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "a",
    "word. ",
    "```",
    "~~~",
    "````",
    "```py\n",
    "$",
    "$$",
    "\\[",
    "\\]",
    "\\",
    "[",
    "]",
    "</think>",
    "</th",
    "<",
    "é",
    "😀",
    "x\n",
    "`a`",
    "\t",
    "\\\\",
    "\\$",
]

# Text made of what matters to the machine, so that every state is reached often.
awkward = st.lists(
    st.sampled_from(AWKWARD),
    max_size=40,
).map("".join)


@given(awkward, st.data())
def test_any_split_into_tokens_gives_the_same_steps(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=len(raw))))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert cut(pieces) == cut([raw])


@given(awkward)
@example("a</think>b")
def test_no_byte_is_lost_but_the_first_marker(text: str) -> None:
    raw = text.encode()
    joined = b"".join(step for step, _ in cut([raw]))
    assert joined == raw.replace(MARKER, b"", 1)


@given(awkward)
def test_a_copy_goes_on_like_the_original(text: str) -> None:
    machine = StepMachine(MARKER)
    machine.feed(text.encode())
    twin = machine.copy()
    rest = b"x\n\n```\n$$</think>\n\ny\n\n"
    assert twin.feed(rest) == machine.feed(rest)


@pytest.mark.parametrize("blank", ["\n\n", ".\n\n", ")\n\n", ":\n\n", "\r\n\r\n", "\n \n", "\n\t \r\n"])
def test_a_blank_line_ends_a_step_whatever_carries_it(blank: str) -> None:
    assert steps_of(f"One{blank}Two") == [f"One{blank}", "Two"]


def test_leading_blank_lines_are_no_step() -> None:
    assert steps_of("\n\n  \n\nOne\n\n\n\nTwo") == ["\n\n  \n\nOne\n\n", "\n\nTwo"]


def test_the_marker_ends_the_thought_and_is_cut_out() -> None:
    assert cut([b"One\n\nTwo\n</think>\n\nAnswer"]) == [
        (b"One\n\n", "blank_line"),
        (b"Two\n", "thought_end"),
        (b"\n\nAnswer", None),
    ]


def test_a_marker_in_many_tokens_is_found() -> None:
    assert cut([b"a<", b"/", b"thi", b"nk", b">b"]) == [(b"a", "thought_end"), (b"b", None)]


def test_what_only_begins_like_a_marker_stays_text() -> None:
    assert cut([b"a <", b"/th", b"e end"]) == [(b"a </the end", None)]
    assert cut([b"a </thin"]) == [(b"a </thin", None)]


def test_without_a_marker_nothing_ends_the_thought() -> None:
    assert steps_of("a</think>b", marker=None) == ["a</think>b"]


def test_a_thought_may_close_inside_an_open_code_block() -> None:
    assert steps_of("```\ncode\n\n</think>One\n\nTwo") == ["```\ncode\n\n", "One\n\n", "Two"]


@pytest.mark.parametrize(
    "block",
    [
        "```python\na = 1\n\nb = 2\n```",
        "~~~\na\n\nb\n~~~",
        "````\n```\n\n```\n````",
        "  ```\n  a\n\n  b\n  ```",
        "```\n$$\n\n```",
        "$$\nx\n\ny\n$$",
        "\\[\nx\n\ny\n\\]",
        "\\[ a \\\\[2pt]\n\n b \\]",
        "- ```py\n  a\n\n  b\n  ```",
        "1. ```\n   a\n\n   b\n   ```",
        "> ```\n> a\n\n> b\n> ```",
        "So code: ```py\na\n\nb\n```",
        "```python title=x\na\n\nb\n```",
        "$$ \\$$ \n\n $$",
    ],
)
def test_blank_lines_inside_a_block_end_nothing(block: str) -> None:
    assert steps_of(f"Look:\n{block}\n\nNext") == [f"Look:\n{block}\n\n", "Next"]


@pytest.mark.parametrize(
    "line",
    [
        "it costs $5 and $6",
        "\\$$5",
        "an escaped \\\\[ bracket",
        "a span ```code``` here",
        "```span``` on its own line",
        "a \\] alone",
        "the span `$$` opens mathematics",
        "the regex `\\[a-z` is short",
        "~~struck~~ out",
    ],
)
def test_what_opens_no_block_does_not_hide_the_boundary(line: str) -> None:
    assert steps_of(f"{line}\n\nNext") == [f"{line}\n\n", "Next"]


def test_a_cap_forgets_open_mathematics_but_not_open_code() -> None:
    mathematics, code = StepMachine(), StepMachine()
    mathematics.feed(b"$$ never closed\n\nmore")
    mathematics.cap()
    assert [part.boundary for part in mathematics.feed(b" text\n\n")] == ["blank_line"]
    code.feed(b"```\nlong")
    code.cap()
    assert [part.boundary for part in code.feed(b" code\n\nmore")] == [None]
    # A second cap in the same block: it was never one, or its end was forgotten.
    code.cap()
    assert [part.boundary for part in code.feed(b" text\n\n")] == ["blank_line"]


def test_a_machine_says_when_it_holds_bytes_back() -> None:
    machine = StepMachine(MARKER)
    machine.feed(b"a </th")
    assert machine.holds
    machine.feed(b"e")
    assert not machine.holds


def circles(*steps: str) -> list[bool]:
    detector = LoopDetector()
    return [detector.add(step) for step in steps]


def test_equal_steps_are_a_circle() -> None:
    assert circles("Wait.", "Wait.") == [False, True]


def test_blanks_and_case_make_no_difference() -> None:
    assert circles("So  the answer\n\n", "so the ANSWER") == [False, True]


def test_alternating_steps_are_a_circle() -> None:
    assert circles("Up.", "Down.", "Up.", "Down.") == [False, False, False, True]


def test_a_circle_of_three_is_found() -> None:
    assert circles("a", "b", "c", "a", "b", "c")[-1]


def test_a_step_that_comes_back_once_is_no_circle() -> None:
    assert not any(circles("Let me check.", "It is 4.", "Let me check.", "It is 5."))


LONG = "Now let me think about this again and see whether the sum of the two numbers is really what I found before."


def test_long_steps_that_nearly_agree_are_a_circle() -> None:
    assert circles(LONG, LONG.replace("really", "truly")) == [False, True]


def test_an_enumeration_is_no_circle() -> None:
    lines = [
        f"For n = {n} the value is {n * n}, which is still smaller than one hundred and so we go on." for n in range(6)
    ]
    assert not any(circles(*lines))


@pytest.mark.parametrize("names", ["ABC", ["Alice", "Bob", "Carol"], ["x", "y", "z"]])
def test_cases_gone_through_one_by_one_are_no_circle(names: Iterable[str]) -> None:
    line = "Let me check the case of {} against the condition that no two of them may sit at one table."
    assert not any(circles(*map(line.format, names)))


def test_other_signs_are_another_step() -> None:
    assert not any(circles("a + b = c", "a - b = c"))


def test_steps_without_words_are_not_compared() -> None:
    assert not any(circles("\n\n", "\n\n", " "))


def test_a_detector_s_copy_remembers_on_its_own() -> None:
    detector = LoopDetector()
    detector.add("once")
    twin = detector.copy()
    assert twin.add("once")
    assert not detector.add("other")
    assert not twin.add("other")
