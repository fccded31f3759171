"""How many threads are used while the machine has other things to do: on a machine that is made up."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import psutil
import pytest

from glimp_local.engines.llama import pace, placement
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.pace import Gauge, Pace
from glimp_local.hardware import Cpus, free_core_seconds
from glimp_local.settings import EngineOptions


@dataclass
class Machine:
    """Cores shared fairly by spinning threads: ours, which wait for each other, and those of `busy` neighbours."""

    cores: int = 2
    busy: int = 0
    token_seconds: float = 0.02
    """What a token takes one thread that has a core to itself."""
    tells_idle: bool = True
    waits_quietly: bool = False
    """Do threads sleep at a barrier instead of spinning?"""
    now: float = 0.0
    free: float = 0.0
    spent: float = 0.0

    def clock(self) -> float:
        return self.now

    def cpu_clock(self) -> float:
        return self.spent

    def free_core_seconds(self) -> float | None:
        return self.free if self.tells_idle else None

    def pace(self) -> Pace:
        return Pace(self.cores, free_core_seconds=self.free_core_seconds, clock=self.clock, cpu_clock=self.cpu_clock)

    def part(self, threads: int) -> float:
        """Give the part of the time that each of our threads has a core."""
        return min(1.0, self.cores / (threads + self.busy))

    def seconds(self, threads: int) -> float:
        """Give what a token takes: a thread without a core holds all the others up for many times as long."""
        part = self.part(threads)
        held_up = 1.0 if threads == 1 else 1.0 + 8.0 * (1.0 - part)
        return self.token_seconds / threads / part * held_up

    def pass_time(self, seconds: float, threads: float) -> float:
        self.now += seconds
        self.free += seconds * max(0.0, self.cores - self.busy - threads)
        return seconds

    def compute(self, pace: Pace, gauge: Gauge, calls: int = 1, size: float = 1.0) -> Iterator[int]:
        """Compute tokens at the pace's own number of threads; yield that of each."""
        for _ in range(calls):
            threads = pace.threads
            seconds = self.seconds(threads) * size
            used = threads * self.part(threads) * (0.6 if self.waits_quietly else 1.0)
            self.pass_time(seconds, used if self.waits_quietly else threads)
            self.spent += seconds * used
            pace.measure(gauge, seconds, seconds * used)
            yield threads


def run(machine: Machine, pace: Pace, gauge: Gauge, seconds: float, size: float = 1.0) -> list[int]:
    """Compute for so long; give the number of threads of each token."""
    until = machine.now + seconds
    used: list[int] = []
    while machine.now < until:
        used += machine.compute(pace, gauge, size=size)
    return used


def test_an_idle_machine_is_used_whole_and_nothing_is_tried() -> None:
    machine = Machine()
    assert set(run(machine, machine.pace(), Gauge(), 60)) == {2}


def test_a_busy_neighbour_costs_a_thread_within_half_a_second() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 5)
    machine.busy = 1
    run(machine, pace, gauge, 0.6)
    assert pace.threads == 1
    assert set(run(machine, pace, gauge, 30)) == {1}


def test_the_thread_comes_back_when_the_neighbour_is_gone() -> None:
    machine = Machine(busy=1)
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 10)
    assert pace.threads == 1
    machine.busy = 0
    run(machine, pace, gauge, 1.5)
    assert pace.threads == 2
    assert set(run(machine, pace, gauge, 30)) == {2}


@pytest.mark.parametrize(("cores", "busy", "threads"), [(8, 1, 7), (8, 2, 6), (16, 1, 15), (4, 3, 1), (2, 2, 1)])
def test_the_neighbours_get_the_cores_they_use_and_no_more(cores: int, busy: int, threads: int) -> None:
    machine = Machine(cores=cores, busy=busy)
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 20)
    assert pace.threads == threads


def test_a_machine_that_is_busy_from_the_start_is_known_before_the_first_token() -> None:
    machine = Machine(busy=1)
    pace = machine.pace()
    machine.pass_time(0.5, threads=1)
    machine.spent += 0.5
    pace.begin()
    assert pace.threads == 1


def test_an_idle_machine_is_known_before_the_first_token() -> None:
    machine = Machine()
    pace = machine.pace()
    machine.pass_time(0.5, threads=1)
    machine.spent += 0.5
    pace.begin()
    assert pace.threads == 2


def test_a_model_read_from_a_slow_disk_does_not_look_like_a_busy_machine() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    for _ in range(20):
        machine.pass_time(0.3, threads=0.4)
        pace.measure(gauge, 0.3, 0.3 * 0.4)
    assert pace.threads == 2


def test_threads_that_sleep_at_barriers_do_not_look_like_a_busy_machine() -> None:
    machine = Machine(waits_quietly=True)
    assert set(run(machine, machine.pace(), Gauge(), 30)) == {2}


def test_where_the_idle_time_is_unknown_trials_that_fail_become_rare() -> None:
    machine = Machine(waits_quietly=True, tells_idle=False)
    used = run(machine, machine.pace(), Gauge(), 120)
    assert 0.95 < used.count(2) / len(used) < 1.0


def test_where_the_idle_time_is_unknown_a_busy_machine_still_costs_a_thread() -> None:
    machine = Machine(tells_idle=False)
    pace, gauge = machine.pace(), Gauge()
    machine.busy = 1
    used = run(machine, pace, gauge, 120)
    assert used.count(1) / len(used) > 0.97
    machine.busy = 0
    used = run(machine, pace, gauge, 120)
    assert used.count(2) / len(used) > 0.7


def test_prompts_are_read_with_fewer_threads_from_the_second_batch_on() -> None:
    machine = Machine(busy=1)
    pace, gauge = machine.pace(), Gauge()
    used = list(machine.compute(pace, gauge, calls=8, size=60))
    assert used == [2, *[1] * 7]


def test_what_is_found_out_reading_a_prompt_holds_for_the_tokens_behind_it() -> None:
    machine = Machine(busy=1)
    pace = machine.pace()
    list(machine.compute(pace, Gauge(), calls=1, size=60))
    assert set(run(machine, pace, Gauge(), 10)) == {1}


def test_tokens_that_get_dearer_with_the_context_are_no_reason_for_a_trial() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    used: list[int] = []
    for number in range(2000):
        machine.token_seconds = 0.02 * (1 + number / 2000)
        used += machine.compute(pace, gauge)
    assert set(used) == {2}


def test_a_neighbour_out_of_sight_is_noticed_by_the_seconds_alone() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 5)
    # The hypervisor's: our threads seem to compute all the time.
    slow = {2: 0.1, 1: 0.03}
    for _ in range(40):
        seconds = machine.pass_time(slow[pace.threads], pace.threads)
        pace.measure(gauge, seconds, seconds * pace.threads)
    assert pace.threads == 1


@pytest.mark.parametrize("largest", [8, 17])
def test_batches_of_many_sizes_leave_an_idle_machine_whole_and_a_busy_one_alone(largest: int) -> None:
    machine, source = Machine(token_seconds=0.12), random.Random(1)
    pace, gauges = machine.pace(), [Gauge() for _ in range(largest + 1)]

    def compute(seconds: float) -> list[int]:
        until, used = machine.now + seconds, list[int]()
        while machine.now < until:
            size = source.choice([1, source.randint(2, largest)])
            used += machine.compute(pace, gauges[size], size=size)
        return used

    assert set(compute(10)) == {2}
    machine.busy = 1
    compute(4)
    used = compute(60)
    assert used.count(1) / len(used) > 0.95
    machine.busy = 0
    compute(8)
    used = compute(120)
    assert used.count(2) / len(used) > 0.95


def test_a_context_that_jumps_is_no_busy_machine() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 5)
    machine.token_seconds *= 4
    run(machine, pace, gauge, 30)
    assert pace.threads == 2
    assert pace.news() is None


def test_batches_of_a_long_prompt_that_get_dearer_are_no_reason_for_a_trial() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    used: list[int] = []
    for number in range(64):
        used += machine.compute(pace, gauge, size=60 * (1 + number / 20))
    assert set(used) == {2}


def test_a_pause_is_not_counted_as_slow() -> None:
    machine = Machine(busy=6)
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 3)
    machine.now += 60
    run(machine, pace, gauge, 1)
    assert pace.news() is None


def test_a_pace_far_below_the_usual_one_is_reported_once() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 5)
    assert pace.news() is None
    machine.busy = 6
    run(machine, pace, gauge, 3)
    assert pace.news() is None
    run(machine, pace, gauge, 6)
    news = pace.news()
    assert news is not None
    assert "busy" in news
    assert pace.news() is None


def test_one_busy_neighbour_is_nothing_to_report() -> None:
    machine = Machine()
    pace, gauge = machine.pace(), Gauge()
    run(machine, pace, gauge, 5)
    machine.busy = 1
    run(machine, pace, gauge, 60)
    assert pace.news() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts waiting for a disk")
def test_the_system_counts_the_idle_time() -> None:
    before, counted = free_core_seconds(), psutil.cpu_times()
    time.sleep(1.0)
    after, then = free_core_seconds(), psutil.cpu_times()
    assert before is not None
    assert after is not None
    idle = then.idle + then.iowait - counted.idle - counted.iowait
    assert after - before == pytest.approx(idle, abs=0.2)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Pace:
    """Make tiny models count as real ones, on a machine of two cores."""
    monkeypatch.setattr(placement, "_TINY_BYTES", 0)
    monkeypatch.setattr(placement, "cpus", lambda: Cpus(2, 2, 2, None))
    found = Pace(2)
    monkeypatch.setattr(pace, "shared", lambda: found)
    return found


def test_an_engine_follows_the_pace_and_computes_the_same(small: Path, shared: Pace) -> None:
    for options in (EngineOptions(), EngineOptions(threads_batch=2)):
        with_two = Engine(small, options)
        with_two.feed([5, 6])
        with_two.decode(7)
        expected = with_two.logits().copy()
        assert llama_cpp.llama_n_threads(with_two._context) == 2
        shared.threads = 1
        with_two.rewind(0)
        with_two.feed([5, 6])
        with_two.decode(7)
        assert llama_cpp.llama_n_threads(with_two._context) == 1
        assert llama_cpp.llama_n_threads_batch(with_two._context) == (1 if options == EngineOptions() else 2)
        assert (with_two.logits() == expected).all()
        with_two.close()
        shared.threads = 2


def test_threads_that_were_set_stay(small: Path, shared: Pace) -> None:
    engine = Engine(small, EngineOptions(threads=2))
    shared.threads = 1
    engine.feed([5, 6, 7])
    assert llama_cpp.llama_n_threads(engine._context) == 2
    assert engine.news is None
    engine.close()
