"""Plain sums, asked in digits and in words, and the rules all reckoning here follows.

Every number is whole and from 0 to 999: three digits are one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from training.words import PARTS, in_words

LARGEST = 999
"""No amount is larger."""
_TABLE = 10
"""Up to this factor a product is known; a larger one is taken apart."""


@dataclass(frozen=True)
class Question:
    """A question with its solution."""

    question: str
    steps: tuple[str, ...]
    """The thought; a blank line stands between two steps."""
    answer: str
    boxed: str | None
    """What the answer has in its box; None if it has none."""
    kinds: tuple[str, ...] = ()
    """What happens in it, in order."""

    @property
    def thought(self) -> str:
        """The steps as the model writes them."""
        return "\n\n".join(self.steps)


class BrokenSum(Exception):  # noqa: N818 - it is no error of the program
    """A sum whose result is no whole number from 0 to 999; its text is the answer to the question."""

    RESULTS: ClassVar = ("Below 0.", f"Above {LARGEST}.", "Not whole.")

    def __init__(self, text: str, result: str) -> None:
        super().__init__(f"{text} is {result[0].lower()}{result[1:-1]}: I count in whole numbers from 0 to {LARGEST}.")
        self.result = result


def work_out(x: int, sign: str, y: int) -> int:
    """Return what comes out; raises BrokenSum if that is no whole number from 0 to 999."""
    below, above, not_whole = BrokenSum.RESULTS
    text = f"{x} {sign} {y}"
    if sign == "/":
        if not y or x % y:
            raise BrokenSum(text, not_whole)
        return x // y
    result = {"+": x + y, "-": x - y, "*": x * y}[sign]
    if result < 0:
        raise BrokenSum(text, below)
    if result > LARGEST:
        raise BrokenSum(text, above)
    return result


_OPERATORS = {
    "+": ("+", "+", "+", "plus", "and", "added to"),
    "-": ("-", "-", "-", "minus", "less"),
    "*": ("*", "*", "x", "×", "times", "multiplied by"),
    "/": ("/", "/", ":", "÷", "divided by", "over"),
}
_FRAMES = (
    "what is {}?",
    "What is {}?",
    "whats {}",
    "what's {}?",
    "What's {}?",
    "what is {}",
    "how much is {}?",
    "How much is {}?",
    "{}",
    "{}",
    "{}",
    "{}?",
    "{} = ?",
    "{} =",
    "calculate {}",
    "Calculate {}.",
    "Compute {}.",
    "work out {}",
    "Please tell me what {} is.",
    "Can you work out {}?",
    "{} is?",
    "solve {}",
    "{} equals?",
    "Tell me: what is {}?",
)
_IN_WORDS = {
    "+": ("the sum of {x} and {y}", "{x} and {y} together", "add {x} and {y}", "{y} more than {x}"),
    "-": (
        "the difference between {x} and {y}",
        "take {y} from {x}",
        "subtract {y} from {x}",
        "{y} less than {x}",
        "{x} take away {y}",
    ),
    "*": ("the product of {x} and {y}", "multiply {x} by {y}"),
    "/": ("divide {x} by {y}", "{x} shared by {y}"),
}


def tell_sum(rng: Random, *, broken: float = 0.04, hard: float = 0.0) -> Question:
    """Make up a sum of two or three numbers, one that comes out except with the probability `broken`.

    With the probability `hard` it is a product that has to be taken apart.
    """
    while True:
        if hard and rng.random() < hard:
            numbers, signs, text = _product(rng)
        else:
            numbers, signs, text = _three(rng) if rng.random() < 0.2 else _two(rng)
        steps, boxed, answer = _solved(numbers, signs)
        if boxed is not None or rng.random() < broken:
            asked = rng.choice(_FRAMES).format(text)
            return Question(
                asked[0].upper() + asked[1:] if rng.random() < 0.1 else asked, steps, answer, boxed, ("sum",)
            )


def _two(rng: Random) -> tuple[list[int], list[str], str]:
    sign = rng.choice("++---***//")
    x, y = _numbers(rng, sign)
    if sign == "/" and y in PARTS and rng.random() < 0.4:
        return [x, y], [sign], f"{rng.choice(PARTS[y])} of {x if rng.random() < 0.8 else _said(rng, x)}"
    if sign == "*" and y in {2, 3} and rng.random() < 0.4:
        word = rng.choice(["double", "twice"] if y == 2 else ["triple", "three times"])
        return [x, y], [sign], f"{word} {_said(rng, x)}"
    if rng.random() < 0.2:
        a, b = (_said(rng, x), _said(rng, y)) if rng.random() < 0.3 else (str(x), str(y))
        return [x, y], [sign], rng.choice(_IN_WORDS[sign]).format(x=a, y=b)
    return [x, y], [sign], _written(rng, [x, y], [sign])


def _product(rng: Random) -> tuple[list[int], list[str], str]:
    """Return a product of two numbers of two digits, most of them with a result of three."""
    small = rng.randint(_TABLE + 1, 31)
    numbers = [small, rng.randint(small, max(small, LARGEST // small))]
    rng.shuffle(numbers)
    return numbers, ["*"], _written(rng, numbers, ["*"])


def _numbers(rng: Random, sign: str) -> tuple[int, int]:
    """Return two numbers for an operation; most of them come out."""
    most = rng.choice([12, 30, 99, 99, 400, LARGEST])
    x, y = rng.randint(0 if rng.random() < 0.1 else 1, most), rng.randint(1, most)
    if rng.random() < 0.03:  # whatever comes out
        return x, y
    if sign == "-":
        return max(x, y), min(x, y)
    if sign in "*/":
        y = rng.choice([rng.randint(1, 12), rng.randint(2, 10), rng.randint(2, 31)])
        x = rng.randint(1, min(most, LARGEST // y))
        if sign == "/":
            return x * y, y
        return (x, y) if rng.random() < 0.5 else (y, x)
    return x, y


def _three(rng: Random) -> tuple[list[int], list[str], str]:
    signs = [rng.choice("++--*/"), rng.choice("++--*")]
    numbers = [rng.randint(1, rng.choice([12, 99, 300])), *(rng.randint(1, rng.choice([12, 99])) for _ in signs)]
    return numbers, signs, _written(rng, numbers, signs)


def _said(rng: Random, n: int) -> str:
    return in_words(n) if n < 100 and rng.random() < 0.4 else str(n)


def _written(rng: Random, numbers: list[int], signs: list[str]) -> str:
    in_text = rng.random() < 0.25 and all(n < 100 for n in numbers)
    space = " " if in_text else rng.choice(["", " ", " "])
    text = in_words(numbers[0]) if in_text else str(numbers[0])
    for sign, n in zip(signs, numbers[1:], strict=True):
        operator = rng.choice([o for o in _OPERATORS[sign] if not in_text or o[-1].isalpha()])
        gap = space if len(operator) == 1 else " "
        text += f"{gap}{operator}{gap}{in_words(n) if in_text else n}"
    return text


def _solved(numbers: list[int], signs: list[str]) -> tuple[tuple[str, ...], str | None, str]:
    """Work a sum out step by step, products and quotients first."""
    text = str(numbers[0]) + "".join(f" {sign} {n}" for sign, n in zip(signs, numbers[1:], strict=True))
    steps = [f"Sum: {text}."]
    numbers, signs = list(numbers), list(signs)
    try:
        while signs:
            at = next((place for place, sign in enumerate(signs) if sign in "*/"), 0)
            x, sign, y = numbers[at], signs[at], numbers[at + 1]
            hard = sign == "*" and min(x, y) > _TABLE and min(x, y) % 10 and x * y <= LARGEST
            parts = _apart(x, y) if hard else [(x, sign, y)]
            for part in parts:
                if len(parts) > 1 or len(steps) > 1 or len(signs) > 1:
                    steps.append("{}: {} {} {}.".format("Then" if len(steps) > 1 else "First", *part))
                steps.append(f"{work_out(*part)}.")
            numbers[at : at + 2] = [work_out(x, sign, y)]
            del signs[at]
    except BrokenSum as broken:
        return (*steps, broken.result), None, str(broken)
    return tuple(steps), str(numbers[0]), f"{text} = \\boxed{{{numbers[0]}}}"


def _apart(x: int, y: int) -> list[tuple[int, str, int]]:
    """Take a product apart into tens and ones of its smaller factor."""
    large, small = max(x, y), min(x, y)
    tens, ones = small - small % 10, small % 10
    return [(large, "*", tens), (large, "*", ones), (large * tens, "+", large * ones)]
