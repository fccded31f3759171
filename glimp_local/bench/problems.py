"""The problems of a bench: from a file of JSON lines, the built-in ones, or a data set in the hub's cache.

Reads everything before any model is loaded. Knows nothing of models or of how an answer is graded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from glimp_local.bench.choices import MOST, letters, shown
from glimp_local.bench.datasets import DATA_SETS, find, rows
from glimp_local.errors import UsageError
from glimp_local.paths import BUILTIN_FOLDER

BUILTIN = "builtin"
NAMES = (BUILTIN, *DATA_SETS)
"""What `read_problems` knows by name."""

_EXPECTED = 'expected {"problem": "...", "answer": "..."}'
_EXPECTED_CHOICES = 'expected {"problem": "...", "choices": ["...", "..."], "answer": "B"}'
_BUILTIN_FILE = BUILTIN_FOLDER / "problems.jsonl"
_RESULT = re.compile(r"#### *(.*)")
"""How the last line of an answer in GSM8K begins; the lines above it work the result out."""


class Problem(msgspec.Struct, frozen=True):
    """A problem with its solution."""

    id: str
    text: str
    """What is asked, the choices included."""
    answer: str
    """The reference result, and nothing but it, or the letter of the right choice; empty where answers were not asked
    for."""
    choices: tuple[str, ...] = ()
    """Of a problem of multiple choice, in the order of their letters."""


class _Row(msgspec.Struct):
    """A line as it stands in a file; other keys are ignored."""

    problem: str | None = None
    question: str | None = None
    choices: list[msgspec.Raw] | None = None
    answer: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """As it is spelled: 0.10 is no float here."""
    id: str | int | None = None
    unique_id: str | int | None = None


def read_problems(source: str, *, download: bool = False, answers: bool = True) -> list[Problem]:
    """Read the problems of a JSON-lines file, or those of a name in `NAMES`.

    Something with a suffix or a separator (`mine.jsonl`, `./builtin`) is a path; anything else is a name first, and a
    path only when there is no such name. Each line is an object with `problem` or `question`, and `answer` (text or a
    number; in GSM8K's form only what follows `####` on its last line counts); `id` or `unique_id` may name it, else its
    number from 1 does. With `choices`, a list of texts or numbers, the answer is a letter or what one of them says.
    Without `answers` none is needed, or looked at. Only `download` lets a data set come over the network. Raises
    UsageError with the file and the line of what cannot be read, or where a data set is not on this machine; GlimpError
    where a download fails.
    """
    path = Path(source)
    named = path.name == source and not path.suffix
    if named and source == BUILTIN:
        return _read([_BUILTIN_FILE], answers=answers)
    if named and source in DATA_SETS:
        return _read(find(source, download=download), answers=answers)
    if not path.exists():
        if not named:
            raise UsageError(f"{source}: no such file", hint="check the path")
        close = difflib.get_close_matches(source, NAMES, n=1)
        raise UsageError(
            f"there are no problems {source!r}{f' (did you mean {close[0]!r}?)' if close else ''}",
            hint=f"give a file of JSON lines, or one of: {', '.join(NAMES)}",
        )
    return _read([path], answers=answers)


def _read(paths: list[Path], *, answers: bool) -> list[Problem]:
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for path in paths:
        for number, line in _lines(path):
            place = f"{path}:{number}"
            name = str(len(problems) + 1 if len(paths) > 1 else number)
            problem = _problem(line, place, name, answers=answers)
            if problem.id in places:
                raise UsageError(f"{place}: the id {problem.id!r} is that of {places[problem.id]}, too")
            places[problem.id] = place
            problems.append(problem)
    if not problems:
        raise UsageError(f"{paths[0]}: there are no problems in it; {_EXPECTED} on each line")
    return problems


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines that are not blank with their numbers, checked to be UTF-8."""
    try:
        found = rows(path)
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}", hint="check the path") from error
    for number, line in enumerate(found, 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}:{number}: this is not UTF-8", hint="save the file as UTF-8") from error
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if text.strip():
            yield number, text


def _problem(line: bytes, place: str, number: str, *, answers: bool) -> Problem:
    try:
        row = msgspec.json.decode(line, type=_Row)
    except msgspec.ValidationError as error:
        message = str(error).replace(" - at `$.", ", in `")
        hint = "write one object a line: jq -c '.[]' FILE" if line.lstrip().startswith(b"[") else None
        raise UsageError(f"{place}: {message[:1].lower()}{message[1:]}; {_EXPECTED}", hint=hint) from error
    except (msgspec.DecodeError, RecursionError) as error:
        hint = "write one object a line: jq -c . FILE" if line.strip() in {b"[", b"{"} else None
        raise UsageError(f"{place}: this is not JSON ({error}); {_EXPECTED}", hint=hint) from error
    texts = [text for text in (row.problem, row.question) if text is not None]
    if len(texts) != 1:
        which = "both `problem` and `question`" if texts else "neither `problem` nor `question`"
        raise UsageError(f"{place}: there is {which}; {_EXPECTED}")
    if not texts[0].strip():
        raise UsageError(f"{place}: the problem is empty")
    name = str(next((one for one in (row.id, row.unique_id) if one not in {None, ""}), number))
    if answers and not bytes(row.answer):
        raise UsageError(f"{place}: there is no `answer`; {_EXPECTED}")
    answer = _spelled(bytes(row.answer), place, "the answer", _EXPECTED) if answers else ""
    if row.choices is None:
        return Problem(name, texts[0], _result(answer, place) if answers else "")
    choices = tuple(_spelled(bytes(one), place, "a choice", _EXPECTED_CHOICES) for one in row.choices)
    if not 1 < len(choices) <= MOST:
        raise UsageError(f"{place}: there are {len(choices)} choices; {_EXPECTED_CHOICES}, with 2 to {MOST} choices")
    letter = _letter(answer, choices, place) if answers else ""
    return Problem(name, shown(texts[0].rstrip(), choices), letter, choices)


def _spelled(spelled: bytes, place: str, what: str, expected: str) -> str:
    """Return a text, or a number as it is spelled."""
    if not spelled.startswith((b'"', b"-", *(b"%d" % digit for digit in range(10)))):
        raise UsageError(f"{place}: {what} is neither a text nor a number; {expected}")
    text = (msgspec.json.decode(spelled, type=str) if spelled.startswith(b'"') else spelled.decode()).strip()
    if not text:
        raise UsageError(f"{place}: {what} is empty")
    return text


def _result(answer: str, place: str) -> str:
    if found := _RESULT.fullmatch(answer[answer.rfind("\n") + 1 :]):
        answer = found[1].strip()
    if not answer:
        raise UsageError(f"{place}: the answer is empty")
    return answer


def _letter(answer: str, choices: tuple[str, ...], place: str) -> str:
    """Find which choice is the right one, by its letter or what it says."""
    known = letters(choices)
    meant = {letter for letter, choice in zip(known, choices, strict=True) if choice == answer}
    if answer in tuple(known):
        meant.add(answer)
    if len(meant) > 1:
        raise UsageError(
            f"{place}: the answer {answer!r} could be any of the choices {', '.join(sorted(meant))}",
            hint="give the letter, and no two choices that say the same, or a letter of another one",
        )
    if not meant:
        raise UsageError(
            f"{place}: the answer {answer!r} is neither a letter from A to {known[-1]} nor what one of the choices says"
        )
    return meant.pop()
