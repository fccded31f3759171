"""A worker with several runs at a time, on models that compute nothing: each has its own events, cancel and end."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any, cast

import pytest

from glimp_local.events import AnyEvent, Finished, Started, Text, ThoughtEnded, fold
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.server import wire
from glimp_local.server.worker import Worker
from tests.support.scripted import ScriptedBackend, scripted_pair

SECONDS = 20.0
"""A test that waits this long fails."""


class Working:
    """A worker in threads of this process, and both ends of its pipes."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        lines, commands = os.pipe()
        reports, out = os.pipe()
        self._lines, self.commands = os.fdopen(lines, "rb"), os.fdopen(commands, "wb")
        self._reports, self._out = os.fdopen(reports, "rb"), os.fdopen(out, "wb")
        self.said: Queue[wire.Report] = Queue()
        self.worker = Worker(pair, self._out)
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._work, self._read)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        with self._out:
            self.worker.work(self._lines)

    def _read(self) -> None:
        for line in self._reports:
            self.said.put(wire.decode_report(line))

    def tell(self, command: wire.Command | bytes) -> None:
        self.commands.write(command if isinstance(command, bytes) else wire.encode(command))
        self.commands.flush()

    def begin(self, run: int, question: str = "What?") -> None:
        self.tell(wire.Begin(run, wire.Ask((Message("user", question),), self.pair.config.run, 1)))

    def heard(self, is_last: Callable[[wire.Report], bool]) -> list[wire.Report]:
        """Return what it says, up to a certain report."""
        found: list[wire.Report] = []
        while not found or not is_last(found[-1]):
            found.append(self.said.get(timeout=SECONDS))
        return found

    def until_done(self, *runs: int) -> tuple[dict[int, list[AnyEvent]], dict[int, wire.Done]]:
        """Return the events and the ends of runs."""
        events: dict[int, list[AnyEvent]] = {run: [] for run in runs}
        ends: dict[int, wire.Done] = {}
        while len(ends) < len(runs):
            report = self.said.get(timeout=SECONDS)
            if isinstance(report, wire.Done):
                ends[report.run] = report
            else:
                assert isinstance(report, wire.Happened), report
                events[report.run].append(report.event)
        return events, ends

    def close(self) -> None:
        self.commands.close()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        self._lines.close()
        self._reports.close()


@pytest.fixture
def working() -> Iterator[Callable[..., Working]]:
    opened: list[Working] = []

    def start(**settings: Any) -> Working:
        opened.append(Working(scripted_pair(policy="threshold", **settings)))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def backends(pair: Pair) -> list[ScriptedBackend]:
    return [cast("ScriptedBackend", backend) for backend in pair.backends.values()]


def endless(working: Working) -> Working:
    """Have the models write without end."""
    for backend in backends(working.pair):
        backend.before_word = lambda: time.sleep(0.002)
        backend.says = lambda behind: f"{len(behind)} "
    return working


def has(report: wire.Report, event: type, run: int) -> bool:
    return isinstance(report, wire.Happened) and report.run == run and isinstance(report.event, event)


def finish(events: list[AnyEvent]) -> str:
    assert isinstance(events[-1], Finished)
    return events[-1].finish_reason


def test_runs_at_the_same_time_come_to_what_they_come_to_alone(working: Callable[..., Working]) -> None:
    alone, together = working(parallel=1), working(parallel=4)
    texts = {}
    for run in range(4):
        alone.begin(run, f"Question {run}?")
        events, _ = alone.until_done(run)
        texts[run] = [(step.model, step.text) for step in fold(events[run]).steps]
    meeting, met = threading.Barrier(4), threading.local()

    def meet() -> None:
        if not getattr(met, "is_over", False):
            met.is_over = True
            meeting.wait(SECONDS)  # it fails if not all four have begun

    for backend in backends(together.pair):
        backend.before_word = meet
    for run in range(4):
        together.begin(run, f"Question {run}?")
    all_events, ends = together.until_done(*range(4))
    assert {run: [(step.model, step.text) for step in fold(all_events[run]).steps] for run in range(4)} == texts
    assert len({str(text) for text in texts.values()}) == 4
    assert not any(done.failed for done in ends.values())


def test_a_run_more_than_there_may_be_waits(working: Callable[..., Working]) -> None:
    worker = endless(working(parallel=2, context=100_000))
    for run in range(3):
        worker.begin(run)
    texts = Counter[int]()
    while min(texts[0], texts[1]) < 20:
        report = worker.said.get(timeout=SECONDS)
        assert isinstance(report, wire.Happened)
        texts[report.run] += isinstance(report.event, Text)
    assert texts.keys() == {0, 1}
    worker.tell(wire.Cancel(0))
    before = worker.heard(lambda report: has(report, Started, 2))
    assert [report.run for report in before if isinstance(report, wire.Done)] == [0]
    for run in (1, 2):
        worker.tell(wire.Cancel(run))
    events, _ = worker.until_done(1, 2)
    assert finish(events[1]) == finish(events[2]) == "cancelled"


def test_a_cancel_stops_one_run_and_no_other(working: Callable[..., Working]) -> None:
    worker = endless(working(parallel=3, context=100_000))
    for run in range(3):
        worker.begin(run)
    worker.tell(wire.Cancel(1))
    reports = worker.heard(lambda report: isinstance(report, wire.Done))
    done = reports[-1]
    assert isinstance(done, wire.Done)
    assert (done.run, done.failed) == (1, None)
    later = worker.heard(lambda report: has(report, Text, 0)) + worker.heard(lambda report: has(report, Text, 2))
    assert not any(isinstance(report, wire.Done) for report in later)
    for run in (0, 1, 2):  # the one that is over is nothing to cancel
        worker.tell(wire.Cancel(run))
    events, _ = worker.until_done(0, 2)
    assert finish(events[0]) == finish(events[2]) == "cancelled"


def test_an_end_of_the_thought_is_for_one_run(working: Callable[..., Working]) -> None:
    worker = endless(working(parallel=2, context=100_000, max_thought=50_000, max_answer=5))
    for run in (0, 1):
        worker.begin(run)
    worker.heard(lambda report: has(report, Text, 0))
    worker.tell(wire.AnswerNow(0))
    reports = worker.heard(lambda report: isinstance(report, wire.Done))
    assert [has(report, ThoughtEnded, 0) for report in reports].count(True) == 1
    assert not any(has(report, ThoughtEnded, 1) for report in reports)
    assert isinstance(reports[-1], wire.Done)
    assert reports[-1].run == 0


def test_a_run_that_fails_says_so_and_disturbs_no_other(working: Callable[..., Working]) -> None:
    worker = working(parallel=2)
    worker.tell(wire.Begin(0, wire.Ask((Message("user", "What?"),), worker.pair.config.run, 2**40)))
    worker.begin(1)
    events, ends = worker.until_done(0, 1)
    assert ends[0].failed is not None
    assert ends[0].failed.kind == "UsageError"
    assert events[0] == []
    assert ends[1].failed is None
    assert finish(events[1]) == "done"


def test_a_command_that_cannot_be_read_is_reported_to_its_run(working: Callable[..., Working]) -> None:
    worker = working(parallel=2)
    worker.tell(b'{"type": "Begin", "run": 7, "ask": {"messages": 5}}\n')
    _, ends = worker.until_done(7)
    assert ends[7].failed is not None
    assert ends[7].failed.kind == "InternalError"
    worker.begin(8)
    events, _ = worker.until_done(8)
    assert finish(events[8]) == "done"


def test_when_the_server_has_gone_all_runs_end(working: Callable[..., Working]) -> None:
    worker = endless(working(parallel=3, context=100_000))
    for run in range(5):  # two of them wait
        worker.begin(run)
    worker.commands.close()
    events, ends = worker.until_done(*range(5))
    for run, done in ends.items():
        assert done.failed.kind == "CancelledError" if done.failed else finish(events[run]) == "cancelled"


def test_a_model_that_was_swapped_is_reported_with_the_end_of_a_run(working: Callable[..., Working]) -> None:
    worker = working(parallel=2)
    worker.begin(0)
    assert not worker.until_done(0)[1][0].is_outdated
    backends(worker.pair)[1].is_outdated = True
    worker.begin(1)
    assert worker.until_done(1)[1][1].is_outdated
