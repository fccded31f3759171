"""What the tests of damaged conversations share: one on the disk, made without a model, and `glimp` on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from glimp_local.cli import cli
from glimp_local.events import Answer, Finished, Started, Stats, StepEnded, StepStarted, ThoughtEnded, encode
from glimp_local.records import conversations
from glimp_local.records.lines import VERSION, Header
from tests.support.tracing import SOLUTION, step

STATS: Stats = SOLUTION.stats
HEADER = encode(Header(VERSION, "2026-01-02T03:04:05+00:00", "builtin")) + b"\n"


def steps_of(turn: int) -> list[Any]:
    return [
        step(0, text=f"First, of {turn}.\n\n"),
        step(1, model="large", reason="uncertain", entropy_nats=1.5, text=f"Sécond, of {turn}: ∑ = 3.\n\n"),
        step(2, text=f"Third, of {turn}.", end="thought_end"),
        step(3, part="answer", reason="answer", text=f"The answer is \\boxed{{{turn}}}.", end="end_of_generation"),
    ]


def turn_lines(turn: int, question: str | None = None, system: str | None = None) -> list[bytes]:
    """Return the lines of a turn of four steps as a chat writes them: 12 of them."""
    question = f"Question {turn}: how many?" if question is None else question
    events: list[Any] = [Started(question, "builtin", "threshold", 1, "small", "large", True, 20, system)]
    for each in steps_of(turn):
        fields = {name: getattr(each, name) for name in StepStarted.__struct_fields__}
        events += [StepStarted(**fields), StepEnded(each)]
        if each.end == "thought_end":
            events.append(ThoughtEnded("closed"))
    events += [Answer(f"The answer is \\boxed{{{turn}}}.", str(turn)), Finished("done", "closed", STATS)]
    return [encode(event) + b"\n" for event in events]


def write(id_: str, *lines: bytes) -> Path:
    """Write a file where conversations are."""
    path = conversations.folder() / f"{id_}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def converse(id_: str, turns: int = 3) -> Path:
    """Write a whole conversation."""
    return write(id_, HEADER, *(line for turn in range(turns) for line in turn_lines(turn)))


def glimp(*arguments: str, code: int = 0, typed: str = "") -> Result:
    result = CliRunner().invoke(cli, arguments, input=typed)
    assert result.exit_code == code, result.output
    return result
