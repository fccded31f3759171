"""How many CPU threads the models compute with, adapted to what else the machine is doing.

ggml's threads spin at a barrier after each operation, so all of them wait for the slowest one: with as many threads as
cores, a single busy neighbour takes not its share of the speed but most of it. With one thread fewer than there are
free cores, the neighbour costs its share. So what computes is watched: the CPU time it gets, of the time it takes, says
whether its threads have to wait for a core; the machine's idle time says when a core is free again. Both only propose:
what decides between two numbers of threads is the seconds that the same computation takes with either, or, if the same
one does not come again, the CPU time that others get.

The CPU time is that of the whole process: with an eager catch-up, two models hide what each of them misses.

Knows nothing of llama.cpp. No forward pass is made for the sake of trying: the next ones simply use another number of
threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter, process_time

from glimp_local.hardware import cpus, free_core_seconds

_WINDOW_SECONDS, _WINDOW_CALLS = 0.2, 4
"""Shortest window that is judged. One call is enough once it takes _LONG_SECONDS."""
_LONG_SECONDS = 0.4
_MISSING = 0.4
"""Threads are too many if this much of a core, on average, was neither theirs nor idle."""
_SLOWED = 1.5
"""A window that takes this multiple of the best one with as many threads is worth a trial, whatever the CPU time says:
in a virtual machine a neighbour may be out of sight."""
_BETTER = 0.95
"""What is tried is kept if it takes less than this part of the time before."""
_HOPELESS = 1.6
"""A trial ends early once it has taken this multiple of the time that as many calls took before."""
_FREE = 0.7
"""Cores that must have been idle, on average, before one more thread is tried."""
_WAIT_SECONDS, _MOST_WAIT_SECONDS = 1.0, 32.0
"""Between a trial that failed and the next one in that direction: doubled each time."""
_FOLLOWS = 0.1
"""How much of its lead over the newest window the best one loses: each token costs a little more than the last."""
_AGES = 1.002
"""How much dearer the usual pace may get with each window."""
_PAUSE_SECONDS = 2.0
"""After this time without a window, nothing is known of what was between."""
_FAR_BELOW = 2.5
"""A pace is far below the usual one if a call takes this multiple of it and its threads miss a core,..."""
_STARVED = 0.6
"""...or if even a single thread misses this much of a core."""
_FAR_BELOW_SECONDS = 5.0
"""How long that has to last before it is reported."""


@dataclass(slots=True)
class Gauge:
    """The pace of one kind of computation, always of the same size: one model's batches of one length."""

    calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    threads: int = 0
    """With which the window was measured."""
    best: dict[int, float] = field(default_factory=dict)
    """Seconds of a call in the best of the last windows, by the number of threads."""
    usual: float = math.inf
    """Fewest seconds a call took on average, with any number."""

    def clear(self) -> None:
        """Begin a new window."""
        self.calls, self.seconds, self.cpu_seconds = 0, 0.0, 0.0


@dataclass(slots=True)
class _Trial:
    """Another number of threads, used for a moment."""

    before: int
    gauge: Gauge
    seconds: float
    """What a call took before."""
    elsewhere: float = 0.0
    """Seconds spent meanwhile on computations that cannot be compared,..."""
    elsewhere_cpu: float = 0.0
    """...and their CPU time."""


class Pace:
    """Chooses the number of threads, from 1 to `most`, for everything in this process that computes on the CPU.

    `free_core_seconds` counts the seconds that cores have been idle, added up over the cores this process may use, or
    returns None if the system does not say; `clock` counts seconds, `cpu_clock` those of CPU time this process spent.
    """

    def __init__(
        self,
        most: int,
        *,
        free_core_seconds: Callable[[], float | None] = free_core_seconds,
        clock: Callable[[], float] = perf_counter,
        cpu_clock: Callable[[], float] = process_time,
    ) -> None:
        self.threads = self.most = most
        self._free_core_seconds = free_core_seconds
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._trial: _Trial | None = None
        self._looked, self._free_then = clock(), free_core_seconds()
        self._cpu_then: float | None = cpu_clock()
        self._fewer_from = self._more_from = 0.0  # when the next trial may begin
        self._fewer_wait = self._more_wait = _WAIT_SECONDS
        self._slow_since: float | None = None
        self._told = False

    def begin(self) -> None:
        """Choose the number of threads to begin with, by the cores that were free since this was made."""
        with self._lock:
            before, self._cpu_then = self._cpu_then, None
            seconds = self._clock() - self._looked
            if before is None or seconds < _WINDOW_SECONDS:
                return
            free = self._free_cores()
            if free is not None:
                usable = free + (self._cpu_clock() - before) / seconds
                self.threads = max(1, min(self.most, int(usable + _MISSING)))

    def measure(self, gauge: Gauge, seconds: float, cpu_seconds: float) -> None:
        """Record one call: how long it took, and the CPU time this process spent meanwhile."""
        with self._lock:
            if gauge.threads != self.threads:
                gauge.clear()
                gauge.threads = self.threads
            gauge.calls += 1
            gauge.seconds += seconds
            gauge.cpu_seconds += cpu_seconds
            if self._trial is not None:
                self._judge(self._trial, gauge, seconds, cpu_seconds)
            elif gauge.seconds >= _LONG_SECONDS or (gauge.calls >= _WINDOW_CALLS and gauge.seconds >= _WINDOW_SECONDS):
                self._look(gauge)

    def _look(self, gauge: Gauge) -> None:
        """Judge a window, and begin a trial if there is a reason for one."""
        now, taken, used = self._clock(), gauge.seconds / gauge.calls, gauge.cpu_seconds / gauge.seconds
        is_after_pause = now - self._looked > gauge.seconds + _PAUSE_SECONDS
        gauge.clear()
        free = self._free_cores()
        missing = self.threads - used - (free or 0.0)
        best = gauge.best.get(self.threads, taken)
        gauge.best[self.threads] = min(taken, best + _FOLLOWS * (taken - best))
        gauge.usual = min(taken, gauge.usual * _AGES)
        slow = missing > (_STARVED if self.threads == 1 else _MISSING)
        slow = slow and (self.threads == 1 or taken > _FAR_BELOW * gauge.usual)
        self._slow_since = None if is_after_pause or not slow else (self._slow_since or now)
        if self.threads > 1 and (missing > _MISSING or taken > _SLOWED * best):
            if now >= self._fewer_from:
                self._try(gauge, max(1, min(self.threads - 1, int(self.threads - missing + _MISSING))), taken)
        elif self.threads < self.most and now >= self._more_from and (free is None or free >= _FREE):
            self._try(gauge, min(self.most, self.threads + max(1, int(free or 0.0))), taken)

    def _free_cores(self) -> float | None:
        """Return how many cores were idle since the last look, on average; None if the system does not say."""
        before, since = self._free_then, self._looked
        self._looked, self._free_then = self._clock(), self._free_core_seconds()
        if before is None or self._free_then is None or self._looked <= since:
            return None
        return (self._free_then - before) / (self._looked - since)

    def _try(self, gauge: Gauge, threads: int, seconds: float) -> None:
        self._trial = _Trial(self.threads, gauge, seconds)
        self.threads = threads

    def _judge(self, trial: _Trial, gauge: Gauge, seconds: float, cpu_seconds: float) -> None:
        """End a trial that has lasted long enough."""
        if gauge is not trial.gauge:
            gauge.clear()
            trial.elsewhere += seconds
            trial.elsewhere_cpu += cpu_seconds
            if trial.elsewhere > _LONG_SECONDS:
                # Nothing to compare with: what is tried is kept if its threads have their cores.
                self._end(trial, keep=trial.elsewhere_cpu / trial.elsewhere > self.threads - _MISSING)
            return
        if gauge.calls >= _WINDOW_CALLS or gauge.seconds >= _LONG_SECONDS:
            self._end(trial, keep=gauge.seconds < _BETTER * trial.seconds * gauge.calls)
        elif gauge.seconds > _HOPELESS * trial.seconds * _WINDOW_CALLS:
            self._end(trial, keep=False)

    def _end(self, trial: _Trial, *, keep: bool) -> None:
        now, fewer = self._clock(), self.threads < trial.before
        self._trial = None
        trial.gauge.clear()
        self._free_cores()  # what was idle until now was so beside another number of threads
        if not keep:
            self.threads = trial.before
        if fewer:
            self._fewer_wait = _WAIT_SECONDS if keep else min(2 * self._fewer_wait, _MOST_WAIT_SECONDS)
            self._fewer_from = now if keep else now + self._fewer_wait
            if keep:
                self._more_from = now + _WAIT_SECONDS
        else:
            self._more_wait = _WAIT_SECONDS if keep else min(2 * self._more_wait, _MOST_WAIT_SECONDS)
            self._more_from = now if keep else now + self._more_wait

    def news(self) -> str | None:
        """Say once, in a sentence, that the pace is far below the usual one; None if there is nothing to say."""
        if self._told or self._slow_since is None or self._clock() - self._slow_since < _FAR_BELOW_SECONDS:
            return None
        self._told = True
        return "this machine is busy with other work: the models run far below their usual pace"


class Paced:
    """One context, computing with as many threads as `pace` has now; `set_threads` is how it is told."""

    def __init__(self, pace: Pace, set_threads: Callable[[int], None]) -> None:
        self.pace = pace
        self._set_threads = set_threads
        self._gauges: dict[int, Gauge] = {}  # by the tokens in a batch
        self._threads = 0  # as last set

    def run(self, tokens: int, compute: Callable[[], int]) -> int:
        """Compute a batch of this many tokens, measured; return what `compute` returns."""
        if not self._threads:
            self.pace.begin()
        if self.pace.threads != self._threads:
            self._threads = self.pace.threads
            self._set_threads(self._threads)
        gauge = self._gauges.get(tokens)
        if gauge is None:
            gauge = self._gauges[tokens] = Gauge()
        began, spent = perf_counter(), process_time()
        result = compute()
        self.pace.measure(gauge, perf_counter() - began, process_time() - spent)
        return result


@cache
def shared() -> Pace:
    """Return the pace of this process: what else the machine does concerns all its models alike."""
    return Pace(cpus().threads)
