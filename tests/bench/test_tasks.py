"""The order of a bench's tasks, and what may be begun while others are under way."""

from __future__ import annotations

from glimp_local.bench.arms import make_arms
from glimp_local.bench.problems import Problem
from glimp_local.bench.tasks import Schedule, Task, tasks_of

PROBLEMS = [Problem(name, "How many?", "3") for name in "abcd"]


def names(tasks: list[Task]) -> list[tuple[str, str, int]]:
    return [task.key for task in tasks]


def taken(schedule: Schedule) -> list[Task]:
    found = []
    while (task := schedule.take()) is not None:
        found.append(task)
    return found


def test_what_starts_from_nothing_can_all_be_begun_at_once() -> None:
    tasks = tasks_of(PROBLEMS, make_arms(["small", "large", "threshold"], [1], []), repeat=2, looks=True)
    schedule = Schedule(tasks, ahead=100)
    found = taken(schedule)
    assert sorted(names(found)) == sorted(names(tasks))
    assert [(task.number, task.repeat) for task in found] == sorted((task.number, task.repeat) for task in tasks)


def test_a_control_waits_for_what_it_controls_on_its_problem_and_those_before() -> None:
    tasks = tasks_of(PROBLEMS[:2], make_arms(["threshold", "random"], [1], []), repeat=1, looks=False)
    first, first_control, second, second_control = tasks
    schedule = Schedule(tasks, ahead=100)
    assert taken(schedule) == [first, second]
    schedule.settle(second)
    assert taken(schedule) == []
    schedule.settle(first)
    assert taken(schedule) == [first_control, second_control]


def test_share_waits_for_its_own_runs_of_the_problems_before_in_its_repeat() -> None:
    tasks = tasks_of(PROBLEMS[:2], make_arms(["share"], [], [0.2]), repeat=2, looks=False)
    schedule = Schedule(tasks, ahead=100)
    assert names(taken(schedule)) == [("a", "share 0.2", 0), ("a", "share 0.2", 1)]
    schedule.settle(tasks[2])
    assert names(taken(schedule)) == [("b", "share 0.2", 1)]
    schedule.settle(tasks[0])
    assert names(taken(schedule)) == [("b", "share 0.2", 0)]


def test_what_is_on_the_disk_already_is_not_waited_for() -> None:
    tasks = tasks_of(PROBLEMS[:2], make_arms(["threshold", "random"], [1], []), repeat=1, looks=False)
    schedule = Schedule(tasks[1:], ahead=100)
    assert taken(schedule) == tasks[1:3]


def test_nothing_is_begun_that_is_far_behind_what_is_not_settled() -> None:
    tasks = tasks_of(PROBLEMS, make_arms(["large", "share"], [], [0.2]), repeat=1, looks=False)
    schedule = Schedule(tasks, ahead=3)
    first = taken(schedule)
    # The second problem begins with `share`, which waits.
    assert names(first) == [("a", "large", 0), ("a", "share 0.2", 0)]
    schedule.settle(first[0])
    assert names(taken(schedule)) == [("b", "large", 0)]
    schedule.settle(first[1])
    assert names(taken(schedule)) == [("b", "share 0.2", 0), ("c", "large", 0)]


def test_all_tasks_come_whatever_is_settled_first() -> None:
    arms = make_arms(["small", "threshold", "share", "random"], [1, 2], [0.2])
    tasks = tasks_of(PROBLEMS, arms, repeat=2, looks=True)
    for last_first in (True, False):
        schedule, under_way, over = Schedule(tasks, ahead=12), list[Task](), list[Task]()
        while under_way := [*under_way, *taken(schedule)]:
            schedule.settle(task := under_way.pop(-1 if last_first else 0))
            over.append(task)
        assert sorted(names(over)) == sorted(names(tasks))
