"""Is an answer the reference's? Numbers, words and letters are compared here, everything else by math-verify.

math-verify may never come back, or eat all memory, on a formula that a model made up. So it works in a process of its
own, which is killed and restarted when it does not answer in time. Knows nothing of models or runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib.util import find_spec
from multiprocessing import connection, process, resource_tracker
from typing import NamedTuple, Self

import msgspec

from glimp_local.bench.choices import chosen
from glimp_local.bench.judge import Case, Verdict, serve
from glimp_local.errors import GlimpError
from glimp_local.events import last_boxed

_START_SECONDS = 120.0
"""For Python and sympy to start, on a busy machine with a slow disk, too."""

_MINUS = "\N{MINUS SIGN}"
_WRAPPED = re.compile(r"\$([^$]+)\$|\\\((.+)\\\)|\\\[(.+)\\\]", re.DOTALL)
_NUMBER = re.compile(
    r"""
    (?: \\?\$ | [€£¥] )? (?P<sign> [-+]? ) (?: \\?\$ | [€£¥] )?
    (?: (?P<whole> [1-9]\d{0,2} (?: [,\ ]\d{3} )+ | \d+ ) (?: \.(?P<part> \d* ) )? | \.(?P<only> \d+ ) )
    (?: [eE] (?P<exponent> [-+]? \d{1,3} ) )?
    (?:
        \s* (?P<percent> \\?% )
        | \s* (?: \^ \s* (?: \\circ | \{\s*\\circ\s*\} ) | ° )
        | \s* \\(?: text | mathrm | mbox ) \s* \{ (?P<unit> [^{}]* ) \} (?: \^ \{? [23] \}? )?
        | \s+ (?P<words> [A-Za-z]{3,} (?: \s+ [A-Za-z]+ )* )
    )? \.?
    """,
    re.VERBOSE | re.ASCII,
)
_POWERS = {"percent": -2, "hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NO_UNITS = {"i", "e"}
_LAST_NUMBER = re.compile(r"(?:(?<![\w.)}])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?", re.ASCII)
_BASED = re.compile(r"(\w+?)_\{?\s*(\d+)\s*\}?", re.ASCII)
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox)\s*\{([^{}]*)\}")
_NOT_WORDS = re.compile(r"[^\w\s.,;:!?()'-]")


class Grade(msgspec.Struct, frozen=True):
    """What an answer is worth."""

    correct: bool
    given: str | None
    """The result found in the answer."""
    note: str | None = None
    """Why it could not be graded, where it could not: it counts as wrong then."""


class Number(NamedTuple):
    """A number as it is written."""

    written: Decimal
    meant: Decimal | None
    """What it stands for with the percent sign, or the `million`, that is behind it; None where there is none."""


def extract(answer_text: str) -> str | None:
    r"""Give the result in an answer: what is in the last `\boxed{}`, else the last number; None without either."""
    boxed = last_boxed(answer_text)
    if boxed is not None:
        return boxed.strip() or None
    found = None
    for match in _LAST_NUMBER.finditer(answer_text.replace(_MINUS, "-")):
        found = match[0].rstrip(",")
    return found


def number(text: str) -> Number | None:
    r"""Read an integer or a decimal; None where a text is anything else.

    Commas between thousands, a currency before it, a unit, degrees or a percent sign behind it may be there: 1,000 or
    `\$18` or `5\text{ cm}` or 18 dollars. 1e3 is a thousand. Nothing is rounded.
    """
    plain = _clean(text).replace("\\!", "").replace("{,}", ",")
    found = _NUMBER.fullmatch(re.sub(r"\\[,;: ]|~|\s+", " ", plain))
    if found is None:
        return None
    words = re.findall(r"\w+", (found["unit"] or found["words"] or "").lower())
    if _NO_UNITS & set(words):
        return None
    whole, part = re.sub("[, ]", "", found["whole"] or ""), found["part"] or found["only"] or ""
    digits, exponent = f"{found['sign']}{whole}{part}", int(found["exponent"] or 0) - len(part)
    power = -2 if found["percent"] else sum(_POWERS.get(word, 0) for word in words)
    # Made from its digits: arithmetic on decimals would round them.
    return Number(Decimal(f"{digits}E{exponent}"), Decimal(f"{digits}E{exponent + power}") if power else None)


def compare(given: str, reference: str) -> bool | None:
    r"""Compare what can be compared without mathematics: two numbers, two texts; None where that takes math-verify.

    10% is 10 and 0.1, but no more than 0.1 beside 0.1%. Words in a LaTeX text (`\text{Evelyn}`) are compared without
    regard to case and punctuation.
    """
    one, other = number(given), number(reference)
    if one is not None and other is not None:
        if one.meant is not None and other.meant is not None:
            return one.meant == other.meant
        return other.written in one or one.written == other.meant
    given, reference = _clean(given), _clean(reference)
    if _spelled(given) == _spelled(reference):
        return True
    based, base = _BASED.fullmatch(given), _BASED.fullmatch(reference)
    if based and base:  # math-verify takes no notice of the base
        return based.groups() == base.groups()
    words = _TEXT.sub(r"\1", given)
    if _TEXT.fullmatch(reference) and not _NOT_WORDS.search(words):
        return _letters(words) == _letters(_TEXT.sub(r"\1", reference))
    return None


def _clean(text: str) -> str:
    text = text.strip().replace(_MINUS, "-")
    wrapped = _WRAPPED.fullmatch(text)
    return next(filter(None, wrapped.groups())).strip() if wrapped else text


def _formula(text: str) -> str:
    """Give what math-verify reads: of a number, nothing but the number."""
    found = number(text)
    return _clean(text) if found is None or found.meant is not None else f"{found.written:f}"


def _spelled(text: str) -> str:
    return re.sub(r"\s|\\[,;:! ]|\\left\b|\\right\b", "", _TEXT.sub(r"\1", text)).rstrip(".")


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


class Grader:
    """Grades answers; starts the process of math-verify when it is needed first.

    Raises GlimpError where math-verify is not installed.
    """

    def __init__(self, *, seconds: float = 5.0) -> None:
        if find_spec("math_verify") is None:
            raise GlimpError(
                "answers are graded with math-verify, which is not installed", hint="pip install 'glimp-local[bench]'"
            )
        self._seconds = seconds
        self._process: process.BaseProcess | None = None
        self._pipe: connection.Connection | None = None

    def grade(self, answer_text: str, reference: str, *, choices: Sequence[str] = ()) -> Grade:
        """Compare the result in an answer with the reference; with `choices`, that is the letter of the right one.

        Without a box, and with a reference that is no number, math-verify looks for a formula in the answer. Where it
        crashes or takes too long the answer is wrong, and a note says so. Raises GlimpError where it does not start.
        """
        if choices:
            letter = chosen(answer_text, choices)
            return Grade(letter == reference, letter or (last_boxed(answer_text) or "").strip() or None)
        given = extract(answer_text)
        if last_boxed(answer_text) is None and number(reference) is None:
            return self._judge(Case(answer_text, _formula(reference), is_text=True), None)
        if given is None:
            return Grade(correct=False, given=None)
        same = compare(given, reference)
        if same is not None:
            return Grade(same, given)
        return self._judge(Case(_formula(given), _formula(reference), is_text=False), given)

    def _judge(self, case: Case, given: str | None) -> Grade:
        pipe = self._start()
        try:
            pipe.send(case)
            if not pipe.poll(self._seconds):
                self.close()
                return Grade(correct=False, given=given, note=f"math-verify did not finish in {self._seconds:g} s")
            verdict: Verdict = pipe.recv()
        except (EOFError, OSError):
            self.close()
            return Grade(correct=False, given=given, note="math-verify crashed")
        return Grade(verdict.correct, given or verdict.found)

    def _start(self) -> connection.Connection:
        """Give the pipe to the process, started when it is not there (any more)."""
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=serve, args=(end, self._seconds), name="glimp math-verify", daemon=True)
        with _signals_held():
            self._process.start()
        end.close()
        try:
            problem = self._pipe.recv() if self._pipe.poll(_START_SECONDS) else f"not ready after {_START_SECONDS:g} s"
        except (EOFError, OSError):
            problem = "its process ended"
        if problem:
            self.close()
            raise GlimpError(
                f"math-verify does not start: {problem}", hint="pip install --force-reinstall 'glimp-local[bench]'"
            )
        return self._pipe

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._pipe = self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while a process starts: it inherits that, and so none can end it before it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
