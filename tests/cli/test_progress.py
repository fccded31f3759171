from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from glimp_local.bench.arms import Arm
from glimp_local.bench.bench import Bench
from glimp_local.bench.problems import Problem
from glimp_local.bench.tasks import Task
from glimp_local.cli import progress
from glimp_local.cli.progress import RunProgress

TASKS = [
    Task(Problem(name, "How many?", "3"), number, 0, Arm(kind))
    for number, name in enumerate("abc")
    for kind in ("small", "large")
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def progress_of(pending: list[Task], written: StringIO, *, quiet: bool = False, parallel: int = 1) -> RunProgress:
    bench = cast("Bench", SimpleNamespace(tasks=TASKS, pending=pending, parallel=parallel))
    return RunProgress(bench, Console(file=written, width=80), quiet=quiet)


def test_the_time_left_is_reckoned_from_the_runs_of_each_arm(clock: list[float]) -> None:
    with progress_of(TASKS, StringIO()) as shown:
        clock[0] = 1.0
        shown.advance(TASKS[0])
        assert shown.seconds_left == 2 * 1.0 + 3 * 1.0  # of the large arm nothing is known yet
        clock[0] = 10.0
        shown.advance(TASKS[1])
        assert shown.seconds_left == 2 * 1.0 + 2 * 9.0
        clock[0] = 13.0
        shown.advance(TASKS[2])
        assert shown.seconds_left == 1 * 2.0 + 2 * 9.0


def test_with_several_runs_at_a_time_the_time_left_is_reckoned_from_all_of_them(clock: list[float]) -> None:
    with progress_of(TASKS, StringIO(), parallel=2) as shown:
        clock[0] = 10.0
        shown.advance(TASKS[0])
        assert shown.seconds_left == 10.0 * 4 / 2  # two runs take 10 s: of five, one is half done
        shown.advance(TASKS[1])
        clock[0] = 20.0
        shown.advance(TASKS[2])
        shown.advance(TASKS[3])
        assert shown.seconds_left == 20.0 * 1 / 5
        shown.advance(TASKS[4])
        shown.advance(TASKS[5])
        assert shown.seconds_left == 0


def test_outside_a_terminal_a_line_comes_now_and_then(clock: list[float]) -> None:
    written = StringIO()
    with progress_of(TASKS[2:], written) as shown:
        for task in TASKS[2:]:
            clock[0] += 20.0
            shown.advance(task)
    assert written.getvalue().splitlines() == ["glimp: 4 of 6 runs, 40 s left", "glimp: 6 of 6 runs, 0 s left"]


def test_quiet_is_quiet(clock: list[float]) -> None:
    written = StringIO()
    with progress_of(TASKS, written, quiet=True) as shown:
        for task in TASKS:
            clock[0] += 60.0
            shown.advance(task)
    assert written.getvalue() == ""
