"""Runs read back from whatever file holds them.

The events of `glimp solve --save` or `--jsonl` (a last line cut short by a killed process is left out), the object of
`--json`, a saved conversation of `glimp chat` (each turn is a run), and the runs of a bench. Each line says by itself
what it is (`lines.py`), so that several such files may stand in one. A damaged line costs what it held.
"""

from __future__ import annotations

import io

import msgspec

from glimp_local.errors import UsageError
from glimp_local.records.recording import Recording, runs_of
from glimp_local.runs import Run, Solution
from glimp_local.tree import Tree

HINT = "a run is in what glimp solve --save, --jsonl or --json writes, a saved conversation, or a bench's runs.jsonl"


def read_runs(content: bytes, name: str) -> Recording:
    """Read all runs of a file called `name`; damaged lines are left out, and `damage` says so.

    Raises UsageError, which says what the file is not, where there is no run in it.
    """
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        raise UsageError(f"{name} is empty", hint=HINT)
    found = runs_of(io.BytesIO(content), name)
    if found.runs:
        return found
    if (whole := _solution(content)) is not None:
        return Recording(Tree.of(whole))
    if found.first is not None:
        raise UsageError(f"{name} holds no run: {found.first}", hint=HINT)
    if found.headers or b"\n" in content:
        raise UsageError(f"{name} holds no run, though its lines are those of glimp", hint=HINT)
    raise UsageError(f"{name} holds no run: its only line is cut short", hint=HINT)


def _solution(content: bytes) -> Run | None:
    """Read one object that is written over several lines."""
    try:
        return Run.of(msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=Solution))
    except (ValueError, RecursionError):
        return None
