"""All runs of a file, as far as its lines show: events are folded as everywhere, and damaged lines may be missing.

The one place that says what the gaps amount to that lost lines leave between events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

import msgspec

from glimp_local.events import AnyEvent, Finished, Fold, Rewound, Selected, Started, StepEnded, StepStarted, TakenBack
from glimp_local.records import lines
from glimp_local.records.lines import BenchHeader, BenchLooks, BenchRun, Header, Problem, Record
from glimp_local.runs import Run, Solution, Step
from glimp_local.tree import Tree


@dataclass
class Recording:
    """All runs of a file, and what of it was not understood."""

    tree: Tree = field(default_factory=Tree)
    """Of a conversation, with what was replaced."""
    headers: list[Header] = field(default_factory=list)
    """Of a conversation: the first one, and those from which on another pair wrote."""
    damaged: int = 0
    """Lines that were left out."""
    first: Problem | None = None
    """The first of them."""

    @property
    def runs(self) -> list[Run]:
        """Those that count: what was replaced is left out."""
        return self.tree.runs

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
    order counts alone. A version whose line names none, or is lost, is named by the number of its first line, which
    stays the same whatever is added to the file.
    """

    def __init__(self) -> None:
        self._fold = Fold()
        self._tree = self._fold.tree
        self._found = Recording(self._tree)
        self._nameless: list[str] = []
        """The versions whose own line is lost, as they are called here."""
        self._named: dict[str, str] = {}
        """Their names, once another line has told them."""
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
        self._clear()
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
                self._tree.add(_of_bench(record) if isinstance(record, BenchRun) else Run.of(record))
            case Started(turn=turn):
                self._settle()
                self._fold.take(msgspec.structs.replace(record, turn=self._name(number, turn)))
            case StepStarted():
                self._run_of(number, record)
                self._fold.take(record)
            case StepEnded(step):
                self._add(self._run_of(number, step), step)
            case Rewound() | TakenBack() | Selected():
                self._go_back(number, record)
            case BenchHeader() | BenchLooks():
                pass
            case _:
                self._go_on(number, record)

    def _head(self, header: Header) -> None:
        if header.version < 1:
            raise _MisplacedError(f"there is no version {header.version}")
        self._found.headers.append(header)
        if header.title is not None:  # a name is given in between, and changes no number
            return
        self._settle()
        if not self._is_gapless:  # a chat restores what `end` would leave, with its steps numbered so
            self._clear()
            for run in self._tree.versions.values():
                run.steps = numbered(run.steps)
            self._is_gapless = True

    def _clear(self) -> None:
        """Remove runs of which nothing is left."""
        for run in [run for run in self._tree.versions.values() if _is_lost(run)]:
            self._tree.drop(run.turn)
        self._nameless = [turn for turn in self._nameless if turn in self._tree.versions]
        self._named = {name: turn for name, turn in self._named.items() if turn in self._tree.versions}

    def _settle(self) -> None:
        """Another turn begins, or the file ends: lines lost before belong to the last run, if it is not over."""
        run = self._tree.last
        if self._lost and run is not None and not _is_over(run):
            run.damaged = True
        self._lost = 0

    def _name(self, number: int, turn: str | None) -> str:
        """Return what a version is called that begins in this line and that the line calls `turn`."""
        return f"line-{number}" if turn is None or turn in self._tree.versions else turn

    def _known(self, turn: str | None) -> str | None:
        """Return what a version that a line names is called here: it may be one whose own line is lost."""
        if turn is None or turn in self._tree.versions:
            return turn
        if turn not in self._named:
            if not self._nameless:
                raise _MisplacedError(f"there is no version {turn!r} of a turn")
            self._named[turn] = self._nameless.pop()
        return self._named[turn]

    def _run_of(self, number: int, step: Step | StepStarted) -> Run:
        """Return the run a step belongs to: a new one without a question if that is what was lost."""
        run = self._tree.last
        if not self._lost and (run is None or _is_behind_answer(run, step)):
            self._lose(Problem(number, "the question before it is missing"))
        if run is None:
            return self._unasked(number)
        if self._lost and not _continues(run, step):
            run.damaged = run.damaged or not _is_over(run)
            return self._unasked(number)
        if self._lost and step.index < run.next_index:  # a redo
            self._fold.take(Rewound(step.index, self._begin_nameless(number)))
        return self._last

    @property
    def _last(self) -> Run:
        if (run := self._tree.last) is None:
            raise _MisplacedError("it continues a run whose beginning is missing")
        return run

    def _unasked(self, number: int) -> Run:
        """Begin a run whose question is lost."""
        run = self._tree.last
        pair = None if run is None else run.pair
        if pair is None and self._found.headers:
            pair = self._found.headers[-1].pair
        self._tree.add(Run(pair=pair, damaged=True, turn=self._begin_nameless(number)))
        return self._last

    def _begin_nameless(self, number: int) -> str:
        turn = self._name(number, None)
        self._nameless.append(turn)
        return turn

    def _add(self, run: Run, step: Step) -> None:
        index = run.next_index
        if self._lost and step.index > index:  # steps between them are lost
            run.damaged, index = True, step.index
        self._fold.take(StepEnded(_renumbered(step, index)))
        self._lost = 0

    def _go_back(self, number: int, event: Rewound | TakenBack | Selected) -> None:
        """Let an event count that ends the last run, or makes it another one, and says where the conversation is."""
        named = self._known(event.of if isinstance(event, Rewound) else event.turn)
        if named not in {None, self._tree.at}:
            self._settle()
        run = self._last if named is None else self._tree.versions[named]
        if isinstance(event, Rewound):
            if event.index < 0 or (event.index > run.next_index and not self._lost):
                raise _MisplacedError(f"there is no step {event.index} to return to")
            self._fold.take(Rewound(event.index, self._name(number, event.turn), named))
        elif isinstance(event, Selected):
            self._tree.go_to(named)
        elif named is not None or not self._is_of_another(run):
            self._fold.take(TakenBack(named))
        self._lost = 0

    def _go_on(self, number: int, event: AnyEvent) -> None:
        """Let another event of the last run count."""
        run = self._last
        is_of_another = self._is_of_another(run)
        if isinstance(event, Finished):
            run = self._unasked(number) if is_of_another else run
            run.damaged = run.damaged or self._lost > 0
            self._lost = 0  # it says where the run stands
        elif is_of_another:
            return
        self._fold.take(event)

    def _is_of_another(self, run: Run) -> bool:
        """Is what comes of another run? If lines are lost behind a run that is over, those of one are among them."""
        return self._lost > 0 and run.finish is not None


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
