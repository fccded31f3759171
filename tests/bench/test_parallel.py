"""`--parallel`: several runs at a time come to what they come to one after the other, and stop together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from glimp_local.bench.arms import Arm, make_arms
from glimp_local.bench.asking import Instruction
from glimp_local.bench.bench import Bench, check_parallel, settings_of
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.report import Report
from glimp_local.bench.runs import Header, Record, RunLog, key
from glimp_local.cli import run_bench
from glimp_local.cli.bench import bench as command
from glimp_local.cli.interrupts import Interrupts
from glimp_local.errors import CancelledError, GlimpError, UsageError
from glimp_local.pair import Pair
from tests.support.scripted import ScriptedBackend, scripted_pair

PROBLEMS = [Problem(str(number), f"How many, number {number}?", "3") for number in range(6)]
ARMS = make_arms(["small", "large", "threshold", "share", "random", "speculative"], [0.5, 1.5], [0.3])
SECONDS = 30.0
"""A test that waits this long fails."""


@pytest.fixture
def grader() -> Iterator[Grader]:
    with Grader() as opened:
        yield opened


def header_of(pair: Pair, parallel: int) -> Header:
    return Header(settings_of(pair, seed=1, instruction=Instruction(), parallel=parallel), (), 1.0)


def backends(pair: Pair) -> list[ScriptedBackend]:
    return [cast("ScriptedBackend", backend) for backend in pair.backends.values()]


def before_each_word(pair: Pair, do: Any) -> None:
    for backend in backends(pair):
        backend.before_word = do


def benched(folder: Path, grader: Grader, *, parallel: int, do: Any = None, **settings: Any) -> dict[Any, Record]:
    """Run a whole bench; return its records."""
    pair = scripted_pair(parallel=parallel, policy="threshold", **settings)
    before_each_word(pair, do)
    with RunLog(folder, header_of(pair, parallel)) as log:
        bench = Bench(pair, PROBLEMS, ARMS, log, seed=1, repeat=2, looks=False, parallel=parallel)
        before = len(bench.pending)
        assert len(list(bench.run(grader))) == before
        assert not bench.pending
        assert not bench.failures
        return {key(record): record for record in log}


def untimed(value: Any) -> Any:
    """Leave out times, and the ids of turns, which are drawn."""
    if isinstance(value, dict):
        timed = ("seconds", "per_second", "turn")
        return {name: untimed(inner) for name, inner in value.items() if not name.endswith(timed)}
    return [untimed(inner) for inner in value] if isinstance(value, list | tuple) else value


def test_several_runs_at_a_time_come_to_what_they_come_to_one_by_one(tmp_path: Path, grader: Grader) -> None:
    one_by_one = benched(tmp_path / "one", grader, parallel=1)
    delays = iter(range(10**9))

    def dawdle() -> None:
        time.sleep((next(delays) * 7919 % 5) / 5000)  # some runs are slower than others, and each time other ones

    together = benched(tmp_path / "four", grader, parallel=4, do=dawdle)
    assert together.keys() == one_by_one.keys()
    assert len(together) == len(PROBLEMS) * len(ARMS) * 2
    for name, record in one_by_one.items():
        assert untimed(msgspec.to_builtins(together[name])) == untimed(msgspec.to_builtins(record)), name
    routed = [record for name, record in together.items() if name[1].startswith(("share", "random"))]
    assert len({record.solution.stats.share_steps for record in routed if not hasattr(record, "looks")}) > 2


def test_as_many_runs_as_are_asked_for_are_under_way_at_once(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=4, policy="threshold")
    lock, threads, most = threading.Lock(), set[int](), 0
    meeting = threading.Barrier(4)

    def meet() -> None:
        nonlocal most
        if threading.current_thread() is threading.main_thread():
            return  # the warm-up
        with lock:
            is_new = threading.get_ident() not in threads
            threads.add(threading.get_ident())
            most = max(most, len(threads))
        if is_new:
            meeting.wait(SECONDS)

    before_each_word(pair, meet)
    with RunLog(tmp_path / "bench", header_of(pair, 4)) as log:
        bench = Bench(pair, PROBLEMS, [Arm("large"), Arm("small")], log, seed=1, looks=False, parallel=4)
        assert len(list(bench.run(grader))) == 12
    assert most == 4


def endless(pair: Pair) -> list[Problem]:
    """Have a pair write without end, but for the first of these problems."""
    before_each_word(pair, lambda: time.sleep(0.002))
    for backend in backends(pair):
        backend.says = lambda behind: f"{len(behind)} " if "never" in behind or len(behind) < 40 else None
    return [Problem("quick", "Some words?", "3"), *(Problem(f"{i}", f"It never ends, {i}!", "3") for i in range(6))]


def test_a_cancel_stops_all_runs_and_what_was_finished_is_on_the_disk(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=4, context=100_000, policy="threshold")
    problems = endless(pair)
    cancel = threading.Event()
    with RunLog(tmp_path / "bench", header_of(pair, 4)) as log:
        bench = Bench(pair, problems, [Arm("large")], log, seed=1, looks=False, parallel=4, cancel=cancel)
        runs = bench.run(grader)
        assert next(runs).problem.id == "quick"
        timer = threading.Timer(0.2, cancel.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(CancelledError):
            next(runs)
        assert time.monotonic() - began < SECONDS / 2
        assert bench.under_way == 0
        assert [record.problem for record in log] == ["quick"]
        assert len(bench.pending) == 6
    # All permits are back: the pair can be used, and emptied.
    pair.forget()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("glimp bench")]


def test_a_bench_that_is_left_cancels_what_is_under_way(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=3, context=100_000, policy="threshold")
    problems = endless(pair)
    with RunLog(tmp_path / "bench", header_of(pair, 3)) as log:
        bench = Bench(pair, problems, [Arm("large")], log, seed=1, looks=False, parallel=3)
        with closing(bench.run(grader)) as runs:
            next(runs)
        assert bench.under_way == 0
        assert [record.problem for record in log] == ["quick"]
    pair.forget()


def test_after_a_stop_the_runs_under_way_are_finished_and_no_other_is_begun(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=3, policy="threshold")
    before_each_word(pair, lambda: time.sleep(0.002))
    with RunLog(tmp_path / "bench", header_of(pair, 3)) as log:
        bench = Bench(pair, PROBLEMS, [Arm("large"), Arm("small")], log, seed=1, looks=False, parallel=3)
        over = []
        for task in bench.run(grader):
            over.append(task)
            bench.stop()
        assert len(over) == 3
        assert len(list(log)) == 3
        # It continues where it was stopped.
        again = Bench(pair, PROBLEMS, [Arm("large"), Arm("small")], log, seed=1, looks=False, parallel=3)
        assert len(list(again.run(grader))) == 9


def test_a_run_that_ends_while_the_others_are_cancelled_is_kept(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=2, policy="threshold")
    problems = [Problem("a", "What?", "3"), Problem("b", "What else?", "3")]
    for backend in backends(pair):
        backend.says = lambda behind: None if "done" in behind else "done"
    with RunLog(tmp_path / "bench", header_of(pair, 2)) as log:
        bench = Bench(pair, problems, [Arm("large")], log, seed=1, looks=False, parallel=2)
        with closing(bench.run(grader)) as runs:
            next(runs)
            time.sleep(0.5)  # the other one ends, and nobody has looked
        assert bench.under_way == 0
        assert len(list(log)) == 2


def test_a_run_that_fails_is_not_kept_and_what_waits_for_it_is_run(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=4, policy="threshold")
    large = next(backend for backend in backends(pair) if backend.name == "large")
    large.fails_at = 12  # tokens of its transcript
    with RunLog(tmp_path / "bench", header_of(pair, 4)) as log:
        arms = make_arms(["small", "threshold", "random"], [0.0], [])
        bench = Bench(pair, PROBLEMS, arms, log, seed=1, looks=False, parallel=4)
        assert len(list(bench.run(grader))) == len(PROBLEMS) * 3
        assert len(bench.failures) == len(bench.pending) >= len(PROBLEMS)
        assert all("the script ends here" in failure for failure in bench.failures)
        assert {record.arm for record in log if not hasattr(record, "looks")} >= {"small"}
        large.fails_at = None
        again = Bench(pair, PROBLEMS, arms, log, seed=1, looks=False, parallel=4)
        list(again.run(grader))
        assert not again.pending


def test_a_disk_that_is_full_ends_the_bench_and_all_its_runs(
    tmp_path: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = scripted_pair(parallel=3, policy="threshold")

    def full(_: RunLog, __: Record) -> None:
        raise GlimpError("no room")

    with RunLog(tmp_path / "bench", header_of(pair, 3)) as log:
        monkeypatch.setattr(RunLog, "add", full)
        bench = Bench(pair, PROBLEMS, [Arm("large")], log, seed=1, looks=False, parallel=3)
        with pytest.raises(GlimpError, match="no room"):
            list(bench.run(grader))
        assert bench.under_way == 0
    pair.forget()


def test_caches_are_emptied_before_each_run_only_if_there_is_one_at_a_time(
    tmp_path: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parallel, expected in ((1, 1 + 6), (3, 1)):
        pair, emptied = scripted_pair(parallel=3, policy="threshold"), list[int]()
        monkeypatch.setattr(pair, "forget", lambda emptied=emptied: emptied.append(1))
        with RunLog(tmp_path / str(parallel), header_of(pair, parallel)) as log:
            list(Bench(pair, PROBLEMS, [Arm("large")], log, seed=1, looks=False, parallel=parallel).run(grader))
        assert len(emptied) == expected


def test_more_runs_than_the_models_answer_at_a_time_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match="the large model \\(nowhere\\) answers one question at a time") as caught:
        check_parallel(scripted_pair(), 4)
    assert "two models are on servers" in str(caught.value)
    assert caught.value.hint == "leave --parallel out"
    pair = scripted_pair(parallel=8)
    check_parallel(pair, 8)
    with pytest.raises(UsageError, match="--parallel 9 is more than") as caught:
        check_parallel(pair, 9)
    assert caught.value.hint == "give at most --parallel 8"
    backends(pair)[1].parallel = 2
    with pytest.raises(UsageError, match="the small model \\(nowhere\\) answers at a time: 2"):
        check_parallel(pair, 8)


def test_runs_of_one_at_a_time_and_of_several_do_not_go_into_one_folder(tmp_path: Path, grader: Grader) -> None:
    pair = scripted_pair(parallel=3, policy="threshold")
    with RunLog(tmp_path / "bench", header_of(pair, 1)) as log:
        list(Bench(pair, PROBLEMS[:1], [Arm("large")], log, seed=1, looks=False).run(grader))
    with pytest.raises(UsageError, match="made with another parallel: 1, not 3"):
        RunLog(tmp_path / "bench", header_of(pair, 3))
    # An earlier glimp, which knew no --parallel, did not write it.
    old = header_of(pair, 1)
    del old.settings["parallel"]
    with RunLog(tmp_path / "old", old) as log:
        list(Bench(pair, PROBLEMS[:1], [Arm("large")], log, seed=1, looks=False).run(grader))
    with RunLog(tmp_path / "old", header_of(pair, 1)) as log:
        assert len(list(log)) == 1
    with pytest.raises(UsageError, match="made with another parallel"):
        RunLog(tmp_path / "old", header_of(pair, 3))


@pytest.mark.parametrize("parallel", [1, 3])
def test_the_report_says_that_seconds_were_shared(tmp_path: Path, grader: Grader, parallel: int) -> None:
    pair, arms = scripted_pair(parallel=3, policy="threshold"), make_arms(["large", "threshold"], [1], [])
    with RunLog(tmp_path / "bench", header_of(pair, parallel)) as log:
        bench = Bench(pair, PROBLEMS, arms, log, seed=1, looks=False, parallel=parallel)
        list(bench.run(grader))
        markdown = Report("title", "glimp bench", arms, log, bench.tasks).markdown()
    shared = (
        "under every policy, 3 runs at a time",
        "Seconds are each run's own, on servers that it shared with up to 2 others; prefix caches were warm.",
        "What is said of time below is of servers that 3 runs shared",
    )
    assert [said in markdown for said in shared] == [parallel > 1] * 3
    assert ("each run with empty caches" in markdown) is (parallel == 1)


@pytest.mark.parametrize(
    ("exit_code", "deadline", "stopped", "kept"),
    [
        (None, None, None, 12),
        (None, 0.0, "the time is up", 3),
        (130, None, "interrupted", None),
    ],
)
def test_the_command_stops_all_runs_in_order(
    tmp_path: Path, exit_code: int | None, deadline: float | None, stopped: str | None, kept: int | None
) -> None:
    pair, written = scripted_pair(parallel=3, policy="threshold"), StringIO()
    before_each_word(pair, lambda: time.sleep(0.002))
    interrupts = cast("Interrupts", SimpleNamespace(exit_code=exit_code))
    with RunLog(tmp_path / "bench", header_of(pair, 3)) as log:
        bench = Bench(pair, PROBLEMS, [Arm("large"), Arm("small")], log, seed=1, looks=False, parallel=3)
        console = Console(file=written, width=200)
        assert run_bench._solve(bench, interrupts, deadline, console, quiet=False) == stopped
        assert bench.under_way == 0
        assert kept is None or len(list(log)) == kept
        assert log
    told = "glimp: the time is up: the runs under way are finished first (2)" in written.getvalue()
    assert told is (stopped == "the time is up")
    pair.forget()


def test_the_flag_is_one_unless_it_is_given() -> None:
    (option,) = [param for param in command.params if param.name == "parallel"]
    assert option.default == 1
