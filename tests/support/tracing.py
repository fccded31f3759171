"""What the tests of a trace share: a recorded run, runs made up, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result
from hypothesis import strategies as st

from glimp_local.cli import cli
from glimp_local.events import Solution, Step, fold
from glimp_local.records.event_log import read_events

RECORDED = Path(__file__).with_name("run.jsonl")
CONTENT = RECORDED.read_bytes()
SOLUTION = fold(read_events(RECORDED))
HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\"'\x1b[31m\x07\x9b1m\u202e\u2066"
)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

NATS = st.floats(0, 12)
THRESHOLDS = st.one_of(NATS, st.sampled_from([step.entropy_nats for step in SOLUTION.steps if step.entropy_nats]))


def glimp(*arguments: str | Path, code: int = 0, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(cli, ["trace", *map(str, arguments)], input=stdin)
    assert result.exit_code == code, result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result


def shown(*arguments: str | Path, stdin: bytes = b"") -> list[str]:
    return glimp(*arguments, stdin=stdin).stdout.splitlines()


def objects(*arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(*arguments, "--json", stdin=stdin)]


def step(index: int = 0, **more: Any) -> Step:
    values: dict[str, Any] = {
        "part": "thought", "model": "small", "reason": "confident", "threshold_nats": 0.3, "entropy_nats": 0.1,
        "top1_probability": 0.9, "margin": 0.8, "tokens": 2, "seconds": 0.5, "catch_up_tokens": 0,
        "catch_up_seconds": 0.0, "end": "blank_line", "text": "So.\n\n",
    }  # fmt: skip
    return Step(index=index, **(values | more))


def bench(folder: Path, *solutions: Solution) -> Path:
    """Write the runs of a bench, with what else stands in such a file."""
    path = folder / "runs.jsonl"
    lines: list[Any] = [{"type": "bench", "settings": {}, "history_nats": [], "machine": "", "version": 1}]
    for number, solution in enumerate(solutions):
        lines.append(
            {
                "type": "run",
                "problem": f"p{number}",
                "question": "How many?\nReally.",
                "answer": "3",
                "arm": "random 0.2",
                "repeat": 1,
                "correct": number == 0,
                "given": None,
                "note": None,
                "seconds": 1.5,
                "solution": solution,
            }
        )
        lines.append({"type": "looks", "problem": f"p{number}", "repeat": 1, "looks": []})
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def changed(steps: tuple[Step, ...], **more: Any) -> Solution:
    return msgspec.structs.replace(SOLUTION, steps=steps, **more)
