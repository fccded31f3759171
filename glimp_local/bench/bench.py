"""The bench: every problem under every arm, problem by problem, so that a machine that drifts hurts all arms alike.

Each run begins with empty caches. What is on the disk already is not done again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from time import perf_counter
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from glimp_local.bench.agreement import watch
from glimp_local.bench.arms import Arm, turned
from glimp_local.bench.asking import Instruction, asked, check_lengths, prepared
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import LOOKS, Look, Looks, Run, RunLog
from glimp_local.bench.specreason import Judge, SpecReason
from glimp_local.errors import CancelledError, UsageError
from glimp_local.events import AnyEvent, Solution, fold
from glimp_local.machine.survey import describe
from glimp_local.pair import Pair
from glimp_local.routing import Threshold
from glimp_local.session.session import Session


class Task(NamedTuple):
    """One run to be done; `arm` None is the run with looks at both models."""

    problem: Problem
    number: int
    repeat: int
    arm: Arm | None

    @property
    def key(self) -> tuple[str, str, int]:
        """The key of its record."""
        return self.problem.id, LOOKS if self.arm is None else self.arm.name, self.repeat


class Bench:
    """Runs what is still to be run; its `tasks` come in the order in which they are done.

    A run that llama.cpp could not finish is not kept: `failures` has why, and the next call does it again. Raises
    UsageError where a problem is too long for the context, before anything is run.
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
        cancel: threading.Event | None = None,
    ) -> None:
        self._pair = pair
        self._cancel = cancel or threading.Event()
        self._log = log
        self._seed = seed
        self._instruction = instruction
        self._problems = problems
        self.tasks = [
            Task(problem, number, round_, arm)
            for round_ in range(repeat)
            for number, problem in enumerate(problems)
            for arm in [*turned(arms, number), *([None] if looks else [])]
        ]
        self.failures: list[str] = []
        is_judged = any(arm.kind == "specreason" for arm in arms)
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

    def run(self, grader: Grader) -> Iterator[Task]:
        """Do what is pending; yields each task when its record is on the disk. Raises CancelledError after a cancel."""
        pending = self.pending
        if pending:
            self._warm_up(pending[0].problem)
        for task in pending:
            self._pair.forget()
            record = self._look(task) if task.arm is None else self._solve(task, task.arm, grader)
            if record is not None:
                self._log.add(record)
            yield task

    def _warm_up(self, problem: Problem) -> None:
        """Have both models compute something: the first run must not pay for pages that come from the disk."""
        self._pair.forget()
        for lane, prompt in prepared(self._pair, problem, self._instruction).values():
            lane.begin(prompt)
            with closing(lane.write(2)) as pieces:
                for _ in pieces:
                    pass

    def _solve(self, task: Task, arm: Arm, grader: Grader) -> Run | None:
        seed = self._seed_of(task)
        policy = arm.policy(
            self._before(task, arm),
            seed=seed,
            threshold_nats=self._log.header.threshold_nats,
            history=self._log.header.history_nats,
        )
        judge = self._judge if arm.kind == "specreason" else None
        session = Session(self._pair, seed=seed, policy=policy, cancel=self._cancel, may_redo=judge is not None)
        answering = session if judge is None else SpecReason(session, judge)
        start = perf_counter()
        solution = self._finish(task, answering.ask(asked(task.problem, self._instruction)))
        seconds = perf_counter() - start
        if solution is None:
            return None
        grade = grader.grade(solution.answer, task.problem.answer, choices=task.problem.choices)
        return Run(
            problem=task.problem.id,
            question=task.problem.text,
            answer=task.problem.answer,
            arm=arm.name,
            repeat=task.repeat,
            correct=grade.correct,
            given=grade.given,
            note=grade.note,
            seconds=seconds,
            solution=solution,
        )

    def _look(self, task: Task) -> Looks | None:
        looks: list[Look] = []
        policy = Threshold(self._log.header.threshold_nats)
        session = Session(self._pair, seed=self._seed_of(task), policy=policy, cancel=self._cancel)
        solution = self._finish(task, watch(session, asked(task.problem, self._instruction), looks))
        return None if solution is None else Looks(task.problem.id, task.repeat, tuple(looks))

    def _before(self, task: Task, arm: Arm) -> Iterator[Solution]:
        """Give the runs an arm's policy starts from: those of the problems before this one, in the same repeat.

        A control starts from those of the arm it controls, that of the same problem included.
        """
        name, end = (arm.name, task.number) if arm.control_of is None else (arm.control_of, task.number + 1)
        runs = (self._log.run(problem.id, name, task.repeat) for problem in self._problems[:end])
        return (run.solution for run in runs if run is not None)

    def _finish(self, task: Task, events: Iterable[AnyEvent]) -> Solution | None:
        solution = fold(events)
        if solution.finish_reason == "cancelled":
            raise CancelledError("interrupted; every finished run is on the disk")
        if solution.finish_reason == "failed":
            self.failures.append(f"{task.problem.id}, {task.key[1]}: {solution.notices[-1]}")
            return None
        return solution

    def _seed_of(self, task: Task) -> int:
        """Give the seed of a problem's repeat, wherever the problem stands in its file: the same for all arms."""
        return (self._seed + crc32(f"{task.repeat} {task.problem.id}".encode())) % 2**32


def settings_of(pair: Pair, *, seed: int, instruction: Instruction) -> dict[str, Any]:
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
        "machine": describe(),
    }
