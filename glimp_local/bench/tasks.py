"""What a bench has to do, and in which order, however many runs are under way at once.

An arm that starts from earlier runs (`share` from its own, a control from those of the arm it controls) waits for them:
what a run comes to is the same with any number of runs at once. Knows nothing of models, threads or files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from glimp_local.bench.arms import Arm, turned
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import LOOKS, Key


class Task(NamedTuple):
    """One run to be done; `arm` None is the run with looks at both models."""

    problem: Problem
    number: int
    repeat: int
    arm: Arm | None

    @property
    def key(self) -> Key:
        """The key of its record."""
        return self.problem.id, LOOKS if self.arm is None else self.arm.name, self.repeat

    @property
    def starts_from(self) -> tuple[str, int] | None:
        """The arm whose runs its policy starts from, and of how many problems, the first ones; None if of none."""
        if self.arm is None:
            return None
        if self.arm.control_of is not None:
            return self.arm.control_of, self.number + 1
        return (self.arm.name, self.number) if self.arm.kind == "share" else None


def tasks_of(problems: Sequence[Problem], arms: Sequence[Arm], *, repeat: int, looks: bool) -> list[Task]:
    """Return all tasks: repeat by repeat, problem by problem, under all arms in turn."""
    return [
        Task(problem, number, round_, arm)
        for round_ in range(repeat)
        for number, problem in enumerate(problems)
        for arm in [*turned(arms, number), *([None] if looks else [])]
    ]


class Schedule:
    """Hands out tasks to several runs at once: each as soon as what it starts from is settled, the first ones first.

    All repeats of a problem come together, since the problems of one repeat may have to wait for one another. Nothing
    is begun that is more than `ahead` tasks behind the first one that is not settled: a machine that drifts hurts all
    arms alike.
    """

    def __init__(self, pending: Iterable[Task], *, ahead: int) -> None:
        ordered = sorted(pending, key=lambda task: (task.number, task.repeat))
        self._ahead = ahead
        self._unsettled = {task.key: task for task in ordered}
        self._taken: set[Key] = set()
        self._numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
        """Of the problems that are not settled, by arm and repeat."""
        for task in ordered:
            self._numbers[task.key[1:]].add(task.number)

    def take(self) -> Task | None:
        """Return a task that can be begun now; None if there is none, before another one is settled or at all."""
        for key, task in islice(self._unsettled.items(), self._ahead):
            if key not in self._taken and self._is_ready(task):
                self._taken.add(key)
                return task
        return None

    def _is_ready(self, task: Task) -> bool:
        if task.starts_from is None:
            return True
        arm, problems = task.starts_from
        return min(self._numbers[arm, task.repeat], default=problems) >= problems

    def settle(self, task: Task) -> None:
        """Note that a task is over: its record is on the disk, or it has failed."""
        del self._unsettled[task.key]
        self._numbers[task.key[1:]].discard(task.number)
