"""How far a bench is: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean
from time import monotonic
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from glimp_local import units
from glimp_local.bench.bench import Bench
from glimp_local.bench.tasks import Task

_LINE_SECONDS = 30
"""Outside a terminal, a line no more often than this."""


class RunProgress:
    """Shows the progress of a bench on stderr.

    The time left is reckoned from what the runs of each arm took; or, with several runs at a time, from what all took.
    """

    def __init__(self, bench: Bench, console: Console, *, quiet: bool) -> None:
        pending = bench.pending
        self._total = len(bench.tasks)
        self._left = Counter(task.key[1] for task in pending)
        self._took: dict[str, list[float]] = defaultdict(list)
        self._parallel = bench.parallel
        self._done = 0
        self._console = console
        self._quiet = quiet
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=self._total, completed=self._total - len(pending))
        self._began = self._last = self._said = monotonic()

    def advance(self, task: Task) -> None:
        """Take note of a finished run."""
        now = monotonic()
        self._took[task.key[1]].append(now - self._last)
        self._left[task.key[1]] -= 1
        self._done += 1
        self._last = now
        text = f"{units.time_left(self.seconds_left)} left"
        self._bar.update(self._task, advance=1, description=text)
        if not (self._quiet or self._console.is_terminal) and now - self._said >= _LINE_SECONDS:
            self._said = now
            done = self._total - self._left.total()
            self._console.print(f"glimp: {done:,} of {self._total:,} runs, {text}", markup=False)

    @property
    def seconds_left(self) -> float:
        """Time left, in seconds; an arm that was not run yet is taken for an average one."""
        if self._parallel > 1:
            # Those under way are half done, on average.
            half = self._parallel / 2
            return (self._last - self._began) * max(self._left.total() - half, 0.0) / (self._done + half)
        average = fmean(seconds for took in self._took.values() for seconds in took)
        return sum(count * fmean(self._took[arm] or [average]) for arm, count in self._left.items())

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
