"""A word, a line or a paragraph repeated without end inside a step: what is noticed, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.session.repetition import RepetitionDetector

ROOT = Path(__file__).parents[2]
SLACK = 64 + 32
"""Bytes between two looks, and a piece."""


def noticed_at(text: bytes, cuts: Iterator[int], *, in_code: bool = False) -> int | None:
    """Show a text as it grows; return its length when the repetition was noticed."""
    detector, shown, at = RepetitionDetector(), bytearray(), 0
    while at < len(text):
        size = next(cuts)
        shown += text[at : at + size]
        at += size
        if detector.notices(shown, in_code=in_code):
            return len(shown)
    return None


def in_pieces(text: str, *, in_code: bool = False) -> int | None:
    random = Random(0)
    return noticed_at(text.encode(), iter(lambda: random.randint(1, 8), 0), in_code=in_code)


def prose(random: Random, words: int) -> str:
    """Return words that do not repeat themselves."""
    return " ".join("".join(random.choices("abcdefghij", k=random.randint(2, 8))) for _ in range(words))


# What is noticed.


@given(st.integers(1, 40), st.integers(0, 200), st.integers(0, 2**32), st.data())
def test_a_phrase_without_end_is_noticed_whatever_stands_before_it_and_however_it_is_cut(
    words: int, before: int, seed: int, data: st.DataObject
) -> None:
    random = Random(seed)
    unit, lead = prose(random, words).encode() + b" ", prose(random, before).encode()
    sizes = data.draw(st.lists(st.integers(1, 32), min_size=1, max_size=20))
    at = noticed_at(lead + unit * (3000 // len(unit) + 1), (sizes[i % len(sizes)] for i in count()))
    assert at is not None
    needed = max(512, min(8 * len(unit), 1024), 4 * len(unit))
    assert 512 <= at <= len(lead) + needed + len(unit) + SLACK


@given(st.integers(1, 100), st.integers(100, 300), st.integers(0, 2**32))
def test_what_is_repeated_seven_times_or_within_half_a_kilobyte_is_not_noticed(
    length: int, before: int, seed: int
) -> None:
    random = Random(seed)
    unit = prose(random, 40)[:length]
    copies = max(1, min(7, 1000 // length) if length > 64 else 500 // length)
    # Nothing in the lead continues the repetition to the left.
    assert in_pieces(f"{prose(random, before)}!{unit * copies}!{prose(random, before)}") is None


@pytest.mark.parametrize("unit", ["equal ", "ha", "grows grows ", "Wait, ", "的", "Yes.\n", "| N/A | none |\n", "a"])
def test_short_ones_are_noticed_after_half_a_kilobyte(unit: str) -> None:
    at = in_pieces(unit * 1000)
    assert at is not None
    assert 512 <= at <= 512 + SLACK


@pytest.mark.parametrize("unit", ["0", "0 ", "-", "─", "| --- ", "142857", "😊", " ", "\n", "0, 0, 0\n"])
def test_digits_signs_and_blanks_are_noticed_after_twice_as_much(unit: str) -> None:
    at = in_pieces(unit * 2000)
    assert at is not None
    assert 1024 <= at <= 1024 + SLACK


def test_code_may_repeat_itself_for_twice_as_long() -> None:
    for unit in ("equal ", "x = f(x)\n", "0, ", prose(Random(1), 30)):
        outside, inside = in_pieces(unit * 3000), in_pieces(unit * 3000, in_code=True)
        assert outside is not None
        assert inside is not None
        assert inside >= 1024
        assert outside < inside <= 2 * outside + SLACK


def test_a_rule_inside_the_paragraph_does_not_hide_it() -> None:
    paragraph = f"{prose(Random(2), 20)}\n{'-' * 300}\n"
    assert in_pieces(paragraph * 12) is not None


# What is not.


LEGITIMATE = {
    "rules": "\n".join(["=" * 120, "Title", "-" * 120, "─" * 100, ". " * 80, "*" * 79]),
    "a table": "| a | b | c |\n" + "| --- " * 20 + "|\n" + "".join(f"| {n} | yes | no |\n" for n in range(200)),
    "a table padded with blanks": "".join(f"| {n}{' ' * 150} | x{' ' * 150} |\n" for n in range(20)),
    "ASCII art": "".join(f"|{' ' * n}/\\{' ' * (70 - n)}|\n" for n in range(60)),
    "an enumeration": "".join(f"For n = {n} the sum is even, so we continue.\n" for n in range(300)),
    "counting": ", ".join(map(str, range(1000))),
    "ones": ", ".join(["1"] * 100),
    "a large power of ten": "1" + "0" * 500,
    "a matrix of zeros": ("[" + "0, " * 19 + "0],\n") * 15,
    "laughter": "ha " * 100,
    "a refrain": "".join(
        f"{prose(Random(verse), 40)}\nRow, row, row your boat,\nRow, row, row your boat,\n" for verse in range(12)
    ),
    "lines of a punishment": "I will not talk in class.\n" * 15,
    "indentation": "".join(f"{' ' * 200}{prose(Random(n), 3)}\n" for n in range(30)),
    "Base64": "".join(Random(5).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=4000)),
    "repeating decimals": "1/7 = 0." + "142857" * 60,
}


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_text_that_repeats_itself_for_a_reason_is_left_alone(kind: str) -> None:
    assert in_pieces(LEGITIMATE[kind]) is None


@pytest.mark.parametrize(
    "path", sorted(path for part in ("*.md", "docs/*.md", "glimp_local/*/*.py") for path in ROOT.glob(part)), ids=str
)
def test_what_people_wrote_is_left_alone(path: Path) -> None:
    assert in_pieces(path.read_text(encoding="utf-8")[:40_000]) is None


def test_a_counter_that_changes_makes_it_an_enumeration() -> None:
    assert in_pieces("".join(f"{n}. equal " for n in range(1000))) is None
