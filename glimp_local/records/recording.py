"""All runs of a file, as far as its lines show: events are folded as everywhere, and damaged lines may be missing.

The one place that says what the gaps amount to that lost lines leave between events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

import msgspec

from glimp_local.events import AnyEvent, Finished, Fold, Rewound, Started, StepEnded, StepStarted, TakenBack
from glimp_local.records import lines
from glimp_local.records.lines import BenchHeader, BenchLooks, BenchRun, Header, Problem, Record
from glimp_local.runs import Run, Solution, Step


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
        """What is damaged, in words; None if nothing is."""
        if not self.damaged:
            return None
        many = "1 damaged line is" if self.damaged == 1 else f"{self.damaged:,} damaged lines are"
        return f"{many} left out ({'' if self.damaged == 1 else 'the first: '}{self.first})"


def runs_of(file: IO[bytes], name: str) -> Recording:
    """Put the lines of a file together to runs; raises UsageError if a newer glimp has written it."""
    reading = _Reading()
    for number, found in lines.read(file):
        lines.refuse_newer(found, name)
        reading.take(number, found)
    return reading.end()


class _MisplacedError(ValueError):
    """A record that cannot stand where it stands."""


class _Reading:
    """Puts records together, one after another; says what to make of those behind a line that is lost.

    Steps are numbered, and this shows whether a lost line held a step, a question or a redo. If no line is lost, the
    order counts alone.
    """

    def __init__(self) -> None:
        self._fold = Fold()
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
        """Return what was found, at the end of the file."""
        self._settle()
        self._found.runs = [run for run in self._fold.runs if not _is_lost(run)]
        return self._found

    def _lose(self, problem: Problem) -> None:
        self._lost += 1
        self._is_gapless = False
        self._found.damaged += 1
        self._found.first = self._found.first or problem

    def _take(self, number: int, record: Record) -> None:
        match record:
            case Header():
                self._head(record)
            case BenchRun() | Solution():
                self._lost = 0
                self._fold.runs.append(_of_bench(record) if isinstance(record, BenchRun) else Run.of(record))
            case Started():
                self._settle()
                self._fold.take(record)
            case StepStarted():
                self._run_of(number, record)
                self._fold.take(record)
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
        runs = self._fold.runs
        if not self._is_gapless:  # a chat restores what `end` would leave, with its steps numbered so
            while runs and _is_lost(runs[-1]):
                runs.pop()
            if runs:
                runs[-1].steps = numbered(runs[-1].steps)
            self._is_gapless = True
        self._found.headers.append(header)

    def _settle(self) -> None:
        """Another turn begins, or the file ends: lines lost before belong to the last run, if it is not over."""
        runs = self._fold.runs
        if self._lost and runs and not _is_over(runs[-1]):
            runs[-1].damaged = True
        self._lost = 0

    def _run_of(self, number: int, step: Step | StepStarted) -> Run:
        """Return the run a step belongs to: a new one without a question if that is what was lost."""
        run = self._fold.runs[-1] if self._fold.runs else None
        if not self._lost and (run is None or _is_behind_answer(run, step)):
            self._lose(Problem(number, "the question before it is missing"))
        if run is None:
            return self._unasked()
        if self._lost and not _continues(run, step):
            run.damaged = run.damaged or not _is_over(run)
            return self._unasked()
        if self._lost and step.index < run.next_index:
            run.cut(step.index)
        return run

    def _unasked(self) -> Run:
        """Begin a run whose question is lost."""
        runs = self._fold.runs
        pair = runs[-1].pair if runs else None
        if pair is None and self._found.headers:
            pair = self._found.headers[-1].pair
        runs.append(Run(pair=pair, damaged=True))
        return runs[-1]

    def _add(self, run: Run, step: Step) -> None:
        index = run.next_index
        if self._lost and step.index > index:  # steps between them are lost
            run.damaged, index = True, step.index
        self._fold.take(StepEnded(_renumbered(step, index)))
        self._lost = 0

    def _go_on(self, event: AnyEvent) -> None:
        """Let another event of the last run count."""
        if not self._fold.runs:
            raise _MisplacedError("it continues a run whose beginning is missing")
        run = self._fold.runs[-1]
        # If lines are lost behind a run that is over, those of another one are among them.
        is_of_another = self._lost > 0 and run.finish is not None
        if isinstance(event, Rewound) and (event.index < 0 or (event.index > run.next_index and not self._lost)):
            raise _MisplacedError(f"there is no step {event.index} to return to")
        if isinstance(event, Finished):
            run = self._unasked() if is_of_another else run
            run.damaged = run.damaged or self._lost > 0
        if not is_of_another or isinstance(event, Finished | Rewound):
            self._fold.take(event)
        if isinstance(event, Finished | Rewound | TakenBack):
            self._lost = 0  # each of them says where the run stands


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


def numbered(steps: Iterable[Step]) -> list[Step]:
    """Return the steps numbered without a gap."""
    return [_renumbered(step, index) for index, step in enumerate(steps)]


def _renumbered(step: Step, index: int) -> Step:
    return step if step.index == index else msgspec.structs.replace(step, index=index)


def _of_bench(found: BenchRun) -> Run:
    run = Run.of(found.solution, found.question)
    run.problem, run.arm, run.repeat, run.correct = found.problem, found.arm, found.repeat, found.correct
    return run
