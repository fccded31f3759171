"""`python -m benchmarks.first_questions`: what a stranger's first questions get from the built-in pair.

Asks every question of first_questions.jsonl as `glimp solve --text` does, and prints, or with --write puts into
docs/first-questions.md, what came out: the answer, the exit code, and what stderr said.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import msgspec

from glimp_local.machine.survey import describe_with_load
from glimp_local.runs import last_boxed

_PAGE = Path(__file__).parents[1] / "docs" / "first-questions.md"
_DECLINED = 7
_LONGEST = 90
"""Characters of a question or of what stderr says that the table shows."""


class Asked(msgspec.Struct, frozen=True):
    """A first question."""

    question: str
    answer: str | None
    """The number that is right; None if there is none that the pair could give."""
    repeat: int = 1
    """How many times the text stands in the question."""


class Got(msgspec.Struct, frozen=True):
    """What a question got."""

    code: int
    answer: str
    said: str
    """On stderr, without the status line."""


def questions() -> list[Asked]:
    """Return the questions, in the order of the page."""
    lines = Path(__file__).with_suffix(".jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Asked) for line in lines]


def ask(asked: Asked) -> Got:
    """Ask one question with the built-in pair, whatever other pairs this machine has."""
    text = asked.question * asked.repeat
    command = [sys.executable, "-m", "glimp_local", "solve", "--pair", "builtin", "--seed", "0", "--text", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - glimp itself is run
    lines = [
        line for line in done.stderr.splitlines() if line and not re.match(r"(small|large|loading|\d+ steps)", line)
    ]
    return Got(done.returncode, " ".join(done.stdout.split()), " ".join(lines))


def verdict(asked: Asked, got: Got) -> str:
    """Return whether what came out is right, declined, answered with a doubt, or wrong."""
    number = last_boxed(got.answer)
    if got.code == _DECLINED:
        return "declined" if asked.answer is None else "declined, but has an answer"
    if got.code:
        return "an error"
    if asked.answer is not None and number == asked.answer:
        return "right"
    if number is None:
        return "says why not" if asked.answer is None else "says why not, but has an answer"
    return "wrong, with a doubt" if "may" in got.said else "WRONG"


def page() -> str:
    """Return the page as Markdown."""
    rows, counts = [], Counter[str]()
    for asked in questions():
        got = ask(asked)
        found = verdict(asked, got)
        counts[found] += 1
        cells = (_short(asked.question * asked.repeat) or "(empty)", found, got.answer, _short(got.said))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    total = ", ".join(f"{count} {found}" for found, count in counts.most_common())
    return "\n".join(
        [
            "# Sixty first questions",
            "",
            "What the built-in pair makes of them, by `python -m benchmarks.first_questions --write`, each asked as",
            f"`glimp solve --text` asks it. {describe_with_load()}.",
            "",
            f"{total[0].upper()}{total[1:]}.",
            "",
            "| question | | stdout | stderr |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@click.command()
@click.option("--write", is_flag=True, help="Put the page into docs/first-questions.md.")
def main(*, write: bool) -> None:
    """Ask the built-in pair a stranger's first questions."""
    text = page()
    if write:
        _PAGE.write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
