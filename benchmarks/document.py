"""docs/benchmarks.md: one section a subject, each with the command that drew it and the machine.

Knows nothing of what is measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from glimp_local.engines.llama.binding import gpus
from glimp_local.machine.survey import describe_with_load

FILE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_TITLE = """\
# Benchmarks

Drawn by `python -m benchmarks --write`, which replaces the sections it measures and leaves the others. What is
compared is measured in turns in one run; figures are medians, ratios have their middle half in brackets. Folders are
left out of the commands.
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(heading: str, arguments: Sequence[str], blocks: Iterable[str], machine: str) -> str:
    """Put a section together: what it is called, how it was drawn and where, and what was found."""
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    return "\n\n".join([f"## {heading}", f"    {command}", machine, *blocks]) + "\n"


def machine() -> str:
    """Name the machine, its load and its GPUs in a sentence."""
    return f"{describe_with_load()}; {', '.join(gpus()) or 'no GPU'}."


def replaced(document: str, drawn: str) -> str:
    """Put a section in the place of the one with its heading, or behind all others."""
    heading = drawn.partition("\n")[0]
    parts = ("\n" + (document or _TITLE)).split("\n## ")
    sections = [parts[0].strip(), *(f"## {part.strip()}" for part in parts[1:])]
    for number, old in enumerate(sections):
        if old.partition("\n")[0] == heading:
            sections[number] = drawn.strip()
            break
    else:
        sections.append(drawn.strip())
    return "\n\n".join(sections) + "\n"


def write(drawn: str) -> None:
    """Put a section into the file."""
    document = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    FILE.write_text(replaced(document, drawn), encoding="utf-8")
