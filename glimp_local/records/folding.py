"""Lines of a file put together to runs: one question each, and what was written to it.

The one place that says what events, and the gaps that damaged lines leave between them, amount to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

import msgspec

from glimp_local.events import (
    AnyEvent,
    Finished,
    FinishReason,
    Notice,
    Rewound,
    Solution,
    Started,
    Stats,
    Step,
    StepEnded,
    StepStarted,
    TakenBack,
    Text,
    ThoughtEnd,
    ThoughtEnded,
    answer_of,
)
from glimp_local.records import lines as records
from glimp_local.records.lines import BenchHeader, BenchLooks, BenchRun, Header, Problem, Record
from glimp_local.routing import PolicyName


@dataclass
class Run:
    """One question and what was written to it, as far as the file goes."""

    question: str | None
    """None where the file does not say: `--json` leaves it out, and a line may be damaged."""
    pair: str | None
    policy: PolicyName | None
    seed: int | None
    """None, like pair and policy, where the line that says it is damaged."""
    steps: list[Step] = field(default_factory=list)
    thought_end: ThoughtEnd | None = None
    finish: FinishReason | None = None
    """None where the process ended in the middle."""
    stats: Stats | None = None
    """None where the run has no end."""
    notices: list[str] = field(default_factory=list)
    begun: StepStarted | None = None
    """The step that was being written where the file ends."""
    begun_text: str = ""
    problem: str | None = None
    """The problem's id, of a bench's run."""
    arm: str | None = None
    repeat: int | None = None
    correct: bool | None = None
    damaged: bool = False
    """Is something of it lost?"""
    system: str | None = None
    """The system message its conversation begins with; None if it has none, or if the file does not say."""

    @property
    def next_index(self) -> int:
        """The number of the step that comes next."""
        return self.steps[-1].index + 1 if self.steps else 0

    @property
    def title(self) -> str:
        """The question's first line, or what stands for it."""
        lines = (self.question or "").strip().splitlines()
        return lines[0] if lines else "(the file does not hold the question)"

    @property
    def answer(self) -> str:
        """The text of the answer, as far as it was written."""
        return answer_of(self.steps)


@dataclass
class Recording:
    """All runs of a file, and what of it was not understood."""

    runs: list[Run] = field(default_factory=list)
    headers: list[Header] = field(default_factory=list)
    """Of a conversation: the first one, and those from which on another pair wrote."""
    damaged: int = 0
    """Lines that were left out."""
    first: Problem | None = None
    """The first of them."""

    @property
    def damage(self) -> str | None:
        """What is damaged, in words; None where nothing is."""
        if not self.damaged:
            return None
        many = "1 damaged line is" if self.damaged == 1 else f"{self.damaged:,} damaged lines are"
        return f"{many} left out ({'' if self.damaged == 1 else 'the first: '}{self.first})"


def runs_of(file: IO[bytes], name: str) -> Recording:
    """Put the lines of a file together to runs; raises UsageError where a newer glimp has written it."""
    folding = _Fold()
    for number, found in records.read(file):
        records.refuse_newer(found, name)
        folding.take(number, found)
    return folding.end()


class _MisplacedError(ValueError):
    """A record that cannot stand where it stands."""


class _Fold:
    """Puts records together, one after another; says what to make of those behind a line that is lost.

    Steps are numbered, and this tells whether a lost line held a step, a question or a redo. Where no line is lost, the
    order counts alone.
    """

    def __init__(self) -> None:
        self._found = Recording()
        self._lost = 0
        """Lines that were lost since the place in the file was last certain."""
        self._is_gapless = True
        """Is nothing lost since a chat began that has put in order what was left?"""

    def take(self, number: int, record: Record | Problem) -> None:
        """Take the next line."""
        if isinstance(record, Problem):
            self._lose(record)
            return
        try:
            self._take(number, record)
        except _MisplacedError as error:
            self._lose(Problem(number, str(error)))

    def end(self) -> Recording:
        """Give what was found, at the end of the file."""
        self._settle()
        self._found.runs = [run for run in self._found.runs if not _is_lost(run)]
        return self._found

    def _lose(self, problem: Problem) -> None:
        self._lost += 1
        self._is_gapless = False
        self._found.damaged += 1
        self._found.first = self._found.first or problem

    def _take(self, number: int, record: Record) -> None:
        runs = self._found.runs
        match record:
            case Header():
                self._head(record)
            case BenchRun() | Solution():
                self._lost = 0
                runs.append(_of_bench(record) if isinstance(record, BenchRun) else of_solution(record))
            case Started():
                self._settle()
                runs.append(Run(record.question, record.pair, record.policy, record.seed, system=record.system))
            case StepStarted():
                run = self._run_of(number, record)
                run.begun, run.begun_text, run.finish, run.stats = record, "", None, None
            case StepEnded(step):
                self._add(self._run_of(number, step), step)
            case BenchHeader() | BenchLooks():
                pass
            case _:
                self._go_on(record)

    def _head(self, header: Header) -> None:
        if header.version < 1:
            raise _MisplacedError(f"there is no version {header.version}")
        self._settle()
        if not self._is_gapless:  # a chat takes up what `end` would leave, with its steps numbered so
            while self._found.runs and _is_lost(self._found.runs[-1]):
                self._found.runs.pop()
            if self._found.runs:
                self._found.runs[-1].steps = numbered(self._found.runs[-1].steps)
            self._is_gapless = True
        self._found.headers.append(header)

    def _settle(self) -> None:
        """Another turn begins, or the file ends: lines lost before belong to the last run, if it is not over."""
        if self._lost and self._found.runs and not _is_over(self._found.runs[-1]):
            self._found.runs[-1].damaged = True
        self._lost = 0

    def _run_of(self, number: int, step: Step | StepStarted) -> Run:
        """Give the run a step belongs to: a new one without a question where that is what was lost."""
        run = self._found.runs[-1] if self._found.runs else None
        if not self._lost and (run is None or _is_behind_answer(run, step)):
            self._lose(Problem(number, "the question before it is missing"))
        if run is None:
            return self._unasked()
        if self._lost and not _continues(run, step):
            run.damaged = run.damaged or not _is_over(run)
            return self._unasked()
        if self._lost and step.index < run.next_index:
            _cut(run, step.index)
        return run

    def _unasked(self) -> Run:
        """Begin a run whose question is lost."""
        pair = self._found.runs[-1].pair if self._found.runs else None
        if pair is None and self._found.headers:
            pair = self._found.headers[-1].pair
        self._found.runs.append(Run(None, pair, None, None, damaged=True))
        return self._found.runs[-1]

    def _add(self, run: Run, step: Step) -> None:
        index = run.next_index
        if self._lost and step.index > index:  # steps between them are lost
            run.damaged, index = True, step.index
        run.steps.append(step if step.index == index else msgspec.structs.replace(step, index=index))
        run.begun, run.begun_text, run.finish, run.stats = None, "", None, None
        self._lost = 0

    def _go_on(self, event: AnyEvent) -> None:
        """Let another event of the last run count."""
        if not self._found.runs:
            raise _MisplacedError("it continues a run whose beginning is missing")
        run = self._found.runs[-1]
        # Where lines are lost behind a run that is over, those of another one are among them.
        is_of_another = self._lost > 0 and run.finish is not None
        match event:
            case TakenBack():
                if not is_of_another:
                    self._found.runs.pop()
                self._lost = 0
            case Rewound(index):
                if index < 0 or (index > run.next_index and not self._lost):
                    raise _MisplacedError(f"there is no step {index} to return to")
                _cut(run, index)
                self._lost = 0
            case Finished():
                self._finish(self._unasked() if is_of_another else run, event)
            case _ if not is_of_another:
                _note_down(run, event)
            case _:
                pass

    def _finish(self, run: Run, finished: Finished) -> None:
        run.damaged = run.damaged or self._lost > 0
        run.begun, run.begun_text = None, ""
        run.finish, run.thought_end, run.stats = finished.finish_reason, finished.thought_end, finished.stats
        self._lost = 0


def _note_down(run: Run, event: AnyEvent) -> None:
    match event:
        case Text(text=text):
            run.begun_text += text
        case ThoughtEnded(reason):
            run.thought_end = reason
        case Notice(message):
            run.notices.append(message)
        case _:
            pass


def _is_lost(run: Run) -> bool:
    """Is nothing left of it but that it was?"""
    return run.question is None and not run.steps and run.damaged


def _is_over(run: Run) -> bool:
    """Can nothing more have been written to it?"""
    return run.finish not in {None, "cancelled", "failed"}


def _continues(run: Run, step: Step | StepStarted) -> bool:
    """Is a step behind lost lines one of this run, and not of another one that begins in them?"""
    if step.reason == "redo":
        return True
    return step.index >= run.next_index and not _is_over(run) and not _is_behind_answer(run, step)


def _is_behind_answer(run: Run, step: Step | StepStarted) -> bool:
    """Is it a step of a thought, or reply, that no redo has put behind an answer?"""
    return step.part != "answer" and bool(run.steps) and run.steps[-1].part == "answer"


def _cut(run: Run, index: int) -> None:
    """Void the steps from `index` on."""
    while run.steps and run.steps[-1].index >= index:  # they are in order
        run.steps.pop()
    run.begun, run.begun_text, run.finish, run.stats = None, "", None, None
    if not run.steps or run.steps[-1].part != "answer":
        run.thought_end = None


def numbered(steps: Iterable[Step]) -> list[Step]:
    """Return the steps numbered without a gap."""
    return [
        step if step.index == index else msgspec.structs.replace(step, index=index) for index, step in enumerate(steps)
    ]


def of_solution(solution: Solution, question: str | None = None) -> Run:
    """Return the run that an object of `--json` tells of."""
    return Run(
        question=question,
        pair=solution.pair,
        policy=solution.policy,
        seed=solution.seed,
        steps=list(solution.steps),
        thought_end=solution.thought_end,
        finish=solution.finish_reason,
        stats=solution.stats,
        notices=list(solution.notices),
    )


def _of_bench(found: BenchRun) -> Run:
    run = of_solution(found.solution, found.question)
    run.problem, run.arm, run.repeat, run.correct = found.problem, found.arm, found.repeat, found.correct
    return run
