"""The bench: every problem under every arm, problem by problem, so that a machine that drifts hurts all arms alike.

One run at a time begins with empty caches. With several at once, on servers that compute them in batches, caches stay
warm and seconds are shared; what a run comes to is the same. What is on the disk already is not done again. Only the
thread that calls `Bench.run` touches the disk and the grader; those that compute end with it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from glimp_local.bench.agreement import watch
from glimp_local.bench.arms import Arm
from glimp_local.bench.asking import Instruction, asked, check_lengths, check_peeks, prepared
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import Look, Looks, Record, Run, RunLog
from glimp_local.bench.specreason import Judge, SpecReason
from glimp_local.bench.tasks import Schedule, Task, tasks_of
from glimp_local.errors import CancelledError, GlimpError, UsageError
from glimp_local.events import AnyEvent, Solution, fold
from glimp_local.machine.survey import describe
from glimp_local.pair import Pair
from glimp_local.routing import Policy, Threshold
from glimp_local.session.session import Session

_AHEAD = 4
"""Tasks among which the next one is looked for, for each run that is under way at once."""
_LOOK_SECONDS = 0.05
"""Between two looks at `cancel` while runs are under way in other threads."""


class _Done(NamedTuple):
    """What has come of a task."""

    solution: Solution
    seconds: float
    looks: tuple[Look, ...]


class _UnderWay(NamedTuple):
    """A task that is computed in a thread of its own."""

    task: Task
    cancel: threading.Event
    """Its own: a run that is cancelled clears it."""


class Bench:
    """Runs what is still to be run; its `tasks` come in the order in which they are done, one at a time.

    With `parallel` more runs than one are under way at once. A run that could not be finished is not kept: `failures`
    has why, and the next call does it again. Raises UsageError, before anything is run, where a problem is too long for
    the context, where the pair cannot have as many runs at once, or where a model does not tell what an arm needs.
    """

    def __init__(
        self,
        pair: Pair,
        problems: Sequence[Problem],
        arms: Sequence[Arm],
        log: RunLog,
        *,
        seed: int,
        repeat: int = 1,
        looks: bool = True,
        instruction: Instruction = Instruction(),  # noqa: B008 - a tuple, which nobody can change
        parallel: int = 1,
        cancel: threading.Event | None = None,
    ) -> None:
        check_parallel(pair, parallel)
        self._pair = pair
        self._cancel = cancel or threading.Event()
        self._log = log
        self._seed = seed
        self._instruction = instruction
        self._problems = problems
        self.parallel = parallel
        self.tasks = tasks_of(problems, arms, repeat=repeat, looks=looks)
        self.failures: list[str] = []
        self._is_stopping = False
        self._under_way: dict[Future[_Done], _UnderWay] = {}
        is_judged = any(arm.kind == "specreason" for arm in arms)
        check_peeks(pair, judges=is_judged, looks=looks)
        self._judge = Judge(pair.backends["large"].vocabulary) if is_judged else None
        self._check_problems()
        check_lengths(pair, problems, instruction)

    def _check_problems(self) -> None:
        problems = {problem.id: problem for problem in self._problems}
        for record in self._log:
            problem = problems.get(record.problem)
            if (
                problem
                and isinstance(record, Run)
                and (record.question, record.answer) != (problem.text, problem.answer)
            ):
                raise UsageError(
                    f"the runs in {self._log.path} are of another problem or answer {problem.id!r}",
                    hint="choose another --output, or the problems of those runs",
                )

    @property
    def pending(self) -> list[Task]:
        """The tasks that are not on the disk."""
        return [task for task in self.tasks if task.key not in self._log]

    @property
    def under_way(self) -> int:
        """Number of runs that are computed in other threads."""
        return len(self._under_way)

    def stop(self) -> None:
        """Begin no further run; those under way are finished."""
        self._is_stopping = True

    def run(self, grader: Grader) -> Generator[Task, None, None]:
        """Do what is pending; yields each task when it is over, and its record on the disk.

        Raises CancelledError after a cancel. If it is closed, runs that are under way are cancelled.
        """
        pending = self.pending
        if pending:
            self._warm_up(pending[0].problem)
        yield from self._one_by_one(pending, grader) if self.parallel == 1 else self._together(pending, grader)

    def _one_by_one(self, pending: Sequence[Task], grader: Grader) -> Iterator[Task]:
        for task in pending:
            if self._is_stopping:
                return
            self._pair.forget()
            self._keep(task, self._compute(task, self._policy(task), self._cancel), grader)
            yield task

    def _together(self, pending: Sequence[Task], grader: Grader) -> Iterator[Task]:
        schedule = Schedule(pending, ahead=_AHEAD * self.parallel)
        with ThreadPoolExecutor(self.parallel, "glimp bench") as pool:
            try:
                while self._begin(schedule, pool):
                    done, _ = wait(self._under_way, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    if self._cancel.is_set():
                        raise _interrupted()
                    for future in done:
                        task = self._under_way.pop(future).task
                        self._keep(task, future.result(), grader)
                        schedule.settle(task)
                        yield task
            finally:
                self._abandon(grader)

    def _begin(self, schedule: Schedule, pool: ThreadPoolExecutor) -> bool:
        """Begin as many runs as there is room for; return whether any is under way."""
        while len(self._under_way) < self.parallel and not self._is_stopping and (task := schedule.take()):
            cancel = threading.Event()
            # What its policy starts from is read here: no other thread looks into the log.
            future = pool.submit(partial(self._compute, task, self._policy(task), cancel))
            self._under_way[future] = _UnderWay(task, cancel)
        return bool(self._under_way)

    def _abandon(self, grader: Grader) -> None:
        """Cancel what is under way, and keep what was finished meanwhile."""
        for _, cancel in self._under_way.values():
            cancel.set()
        wait(self._under_way)
        for future, (task, _) in self._under_way.items():
            if future.exception() is None:
                with suppress(GlimpError):  # of a disk that is full, say: then the run is done again
                    self._keep(task, future.result(), grader)
        self._under_way.clear()

    def _warm_up(self, problem: Problem) -> None:
        """Have both models compute something: the first run must not pay for pages that come from the disk."""
        self._pair.forget()
        for lane, prompt in prepared(self._pair, problem, self._instruction).values():
            lane.begin(prompt)
            with closing(lane.write(2)) as pieces:
                for _ in pieces:
                    pass

    def _policy(self, task: Task) -> Policy:
        header = self._log.header
        if task.arm is None:
            return Threshold(header.threshold_nats)
        return task.arm.policy(
            self._before(task),
            seed=self._seed_of(task),
            threshold_nats=header.threshold_nats,
            history=header.history_nats,
        )

    def _before(self, task: Task) -> Iterator[Solution]:
        """Give the runs that a task's policy starts from: of the first problems, in the same repeat."""
        name, problems = task.starts_from or ("", 0)
        runs = (self._log.run(problem.id, name, task.repeat) for problem in self._problems[:problems])
        return (run.solution for run in runs if run is not None)

    def _compute(self, task: Task, policy: Policy, cancel: threading.Event) -> _Done:
        """Do a task, in whichever thread; raises CancelledError after a cancel."""
        judge = self._judge if task.arm is not None and task.arm.kind == "specreason" else None
        seed = self._seed_of(task)
        session = Session(self._pair, seed=seed, policy=policy, cancel=cancel, may_redo=judge is not None)
        looks: list[Look] = []
        start = perf_counter()
        solution = fold(self._events(task, session, judge, looks))
        seconds = perf_counter() - start
        if solution.finish_reason == "cancelled":
            raise _interrupted()
        return _Done(solution, seconds, tuple(looks))

    def _events(self, task: Task, session: Session, judge: Judge | None, looks: list[Look]) -> Iterable[AnyEvent]:
        question = asked(task.problem, self._instruction)
        if task.arm is None:
            return watch(session, question, looks)
        return session.ask(question) if judge is None else SpecReason(session, judge).ask(question)

    def _keep(self, task: Task, done: _Done, grader: Grader) -> None:
        """Write what has come of a task to the disk; or note why it could not be finished."""
        solution = done.solution
        if solution.finish_reason == "failed":
            self.failures.append(f"{task.problem.id}, {task.key[1]}: {solution.notices[-1]}")
        else:
            self._log.add(self._record(task, done, grader))

    def _record(self, task: Task, done: _Done, grader: Grader) -> Record:
        problem = task.problem
        if task.arm is None:
            return Looks(problem.id, task.repeat, done.looks)
        grade = grader.grade(done.solution.answer, problem.answer, choices=problem.choices)
        return Run(
            problem=problem.id,
            question=problem.text,
            answer=problem.answer,
            arm=task.arm.name,
            repeat=task.repeat,
            correct=grade.correct,
            given=grade.given,
            note=grade.note,
            seconds=done.seconds,
            solution=done.solution,
        )

    def _seed_of(self, task: Task) -> int:
        """Give the seed of a problem's repeat, wherever the problem stands in its file: the same for all arms."""
        return (self._seed + crc32(f"{task.repeat} {task.problem.id}".encode())) % 2**32


def _interrupted() -> CancelledError:
    return CancelledError("interrupted; every finished run is on the disk")


def check_parallel(pair: Pair, parallel: int) -> None:
    """Raise UsageError where a pair cannot have as many runs at once."""
    model, backend = min(pair.backends.items(), key=lambda item: item[1].parallel)
    if parallel <= backend.parallel:
        return
    if backend.parallel > 1:
        raise UsageError(
            f"--parallel {parallel} is more than the {model} model ({backend.where}) answers at a time: "
            f"{backend.parallel}",
            hint=f"give at most --parallel {backend.parallel}",
        )
    raise UsageError(
        f"--parallel is for a pair whose two models are on servers: the {model} model ({backend.where}) answers one "
        "question at a time",
        hint="leave --parallel out",
    )


def settings_of(pair: Pair, *, seed: int, instruction: Instruction, parallel: int = 1) -> dict[str, Any]:
    """Give all that decides what the runs of a bench are; records of two benches belong together where it is equal."""
    config = msgspec.to_builtins(pair.config)
    written = (
        "task",
        "top_k",
        "answer_by",
        "max_step",
        "max_thought",
        "max_answer",
        "sampling",
        "thinking",
        "chat_template",
    )
    found = {"pair": pair.name}
    for model, backend in pair.backends.items():
        found |= {f"{model} {name}".strip(): value for name, value in backend.about().items()}
        found[f"{model} file"] = backend.identity
    found |= {name: config[name] for name in written}
    return {
        **found,
        "seed": seed,
        "instruction": instruction.plain,
        "instruction for choices": instruction.choices,
        "parallel": parallel,
        "machine": describe(),
    }
