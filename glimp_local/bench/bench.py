"""The bench: every problem under every arm, problem by problem, so that a machine that drifts hurts all arms alike.

Each run begins with empty caches. What is on the disk already is not done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from glimp_local import __version__
from glimp_local.bench.agreement import watch
from glimp_local.bench.arms import Arm
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import LOOKS, Look, Looks, Run, RunLog
from glimp_local.bench.specreason import SpecReason, digit_tokens
from glimp_local.errors import CancelledError, UsageError
from glimp_local.events import AnyEvent, Solution, fold
from glimp_local.pair import Pair
from glimp_local.prompt import Message
from glimp_local.routing import Threshold
from glimp_local.session import Session

INSTRUCTION = (
    "Reason step by step, with a blank line between two steps, and put the result at the end in \\boxed{}, alone."
)
"""What is put behind a problem, unless the pair was made for one kind of problem as it stands."""

_NEXT_REPEAT = 1_000_003
"""A prime between the seeds of a problem's repeats."""


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

    Raises UsageError where a problem is too long for the context, before anything is run.
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
        instruction: str = "",
    ) -> None:
        self._pair = pair
        self._log = log
        self._seed = seed
        self._instruction = instruction
        self._arms = {arm.name: arm for arm in arms}
        self._problems = problems
        self.tasks = [
            Task(problem, number, round_, arm)
            for round_ in range(repeat)
            for number, problem in enumerate(problems)
            for arm in [*arms, *([None] if looks else [])]
        ]
        self._digits = digit_tokens(pair.engines["large"].vocabulary) if "specreason" in self._arms else None
        self._check_problems()
        self._check_lengths()

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
                    f"the runs in {self._log.path} are of another problem {problem.id!r}",
                    hint="choose another --output, or the problems of those runs",
                )

    def _check_lengths(self) -> None:
        for problem in self._problems:
            for model, prompts in self._pair.prompts.items():
                length = len(prompts.prompt(self._messages(problem)))
                context = self._pair.engines[model].context
                if length > context // 2:
                    raise UsageError(
                        f"the problem {problem.id!r} takes {length:,} tokens, more than half of the context of the "
                        f"{model} model ({context:,})",
                        hint="give them more with --ctx, or leave the problem out",
                    )

    def _messages(self, problem: Problem) -> list[Message]:
        return [{"role": "user", "content": asked(problem, self._instruction)}]

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
            self._log.add(self._look(task) if task.arm is None else self._solve(task, task.arm, grader))
            yield task

    def _warm_up(self, problem: Problem) -> None:
        """Have both models read something: the first run must not pay for the files' pages that come from the disk."""
        self._pair.empty_caches()
        for model, engine in self._pair.engines.items():
            engine.feed(self._pair.prompts[model].prompt(self._messages(problem)))

    def _solve(self, task: Task, arm: Arm, grader: Grader) -> Run:
        seed = self._seed_of(task)
        policy = arm.policy(
            self._before(task, arm),
            seed=seed,
            threshold_nats=self._pair.config.threshold,
            history=self._log.header.history_nats,
        )
        self._pair.empty_caches()
        session = Session(self._pair, seed=seed, policy=policy)
        answering = session if self._digits is None or arm.kind != "specreason" else SpecReason(session, self._digits)
        start = perf_counter()
        solution = self._finish(answering.ask(asked(task.problem, self._instruction)))
        seconds = perf_counter() - start
        grade = grader.grade(solution.answer, task.problem.answer)
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

    def _look(self, task: Task) -> Looks:
        self._pair.empty_caches()
        looks: list[Look] = []
        session = Session(self._pair, seed=self._seed_of(task), policy=Threshold(self._pair.config.threshold))
        self._finish(watch(session, asked(task.problem, self._instruction), looks))
        return Looks(task.problem.id, task.repeat, tuple(looks))

    def _before(self, task: Task, arm: Arm) -> list[Solution]:
        """Give the runs an arm's policy starts from, in the order in which they were made."""
        name = arm.control_of or arm.name
        earlier = [
            (number, repeat)
            for repeat in range(task.repeat + 1)
            for number in range(len(self._problems))
            if (repeat, number) < (task.repeat, task.number + (arm.control_of is not None))
        ]
        runs = (self._log.run(self._problems[number].id, name, repeat) for number, repeat in earlier)
        return [run.solution for run in runs if run is not None]

    def _finish(self, events: Iterable[AnyEvent]) -> Solution:
        solution = fold(events)
        if solution.finish_reason == "cancelled":
            raise CancelledError("interrupted; every finished run is on the disk")
        return solution

    def _seed_of(self, task: Task) -> int:
        return (self._seed + task.number + _NEXT_REPEAT * task.repeat) % 2**32


def asked(problem: Problem, instruction: str) -> str:
    """Give what a pair is asked: the problem, and the instruction behind it."""
    return f"{problem.text}\n\n{instruction}" if instruction else problem.text


def instruction_for(pair: Pair, given: str | None) -> str:
    """Give the instruction: the one given, or INSTRUCTION, which a pair made for one kind of problem does without."""
    if given is not None:
        return given
    return "" if pair.config.only else INSTRUCTION


def objection(pair: Pair, problems: Sequence[Problem], instruction: str) -> str | None:
    """Say it, once for all problems, where they are not of the one kind the pair was made for."""
    found = [said for problem in problems if (said := pair.objection(asked(problem, instruction)))]
    return f"{len(found):,} of {len(problems):,} problems are not for this pair: {found[0]}" if found else None


def settings_of(pair: Pair, *, seed: int, instruction: str) -> dict[str, Any]:
    """Give all that decides what the runs of a bench are; records of two benches belong together where it is equal."""
    config = msgspec.to_builtins(pair.config)
    written = (
        "threshold",
        "top_k",
        "answer_by",
        "max_step",
        "max_thought",
        "max_answer",
        "sampling",
        "thinking",
        "chat_template",
    )
    return {
        "pair": pair.name,
        **{
            model: f"{engine.path.name}, {engine.path.stat().st_size:,} bytes, {engine.device}, context "
            f"{engine.context:,}"
            for model, engine in pair.engines.items()
        },
        **{name: config[name] for name in written},
        "seed": seed,
        "instruction": instruction,
        "glimp": __version__,
    }
