"""Runs read back from whatever file holds them.

The events of `glimp solve --save` or `--jsonl` (a last line cut short by a killed process is left out), the object of
`--json`, a saved conversation of `glimp chat` (each turn is a run), and the runs of a bench. Each line says by itself
what it is, so that several such files may stand in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from glimp_local.errors import UsageError
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
from glimp_local.routing import PolicyName
from glimp_local.saved import Header

HINT = "a run is in what glimp solve --save, --jsonl or --json writes, a saved conversation, or a bench's runs.jsonl"


@dataclass
class Run:
    """One question and what was written to it, as far as the file goes."""

    question: str | None
    """None where the file does not say: `--json` leaves it out."""
    pair: str
    policy: PolicyName
    seed: int
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

    @property
    def title(self) -> str:
        """The question's first line, or what stands for it."""
        lines = (self.question or "").strip().splitlines()
        return lines[0] if lines else "(the file does not hold the question)"

    @property
    def answer(self) -> str:
        """The text of the answer, as far as it was written."""
        return answer_of(self.steps)


class _Kind(msgspec.Struct):
    type: str | None = None


class _BenchRun(msgspec.Struct):
    """What is needed of a line of a bench's runs.jsonl."""

    problem: str
    arm: str
    repeat: int
    correct: bool
    solution: Solution
    question: str | None = None


def read_runs(content: bytes, name: str) -> list[Run]:
    """Read all runs of a file called `name`; raises UsageError, which says what it is not, where there is none."""
    text = content.removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise UsageError(f"{name} is empty", hint=HINT)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        # The last line may be cut within a character.
        if error.end < len(text):
            raise UsageError(f"{name} holds no run: it is not UTF-8 text", hint=HINT) from error
    reader = _Reader()
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            reader.read(line)
        except (ValueError, RecursionError) as error:
            if number == 1 and (whole := _solution(text)):
                return [whole]
            if number == len(lines) and number > 1 and not line.endswith(b"\n"):
                break
            raise UsageError(f"{name} holds no run: line {number}: {error}", hint=HINT) from error
    if not reader.runs:
        raise UsageError(f"{name} holds no run, though its lines are those of glimp", hint=HINT)
    return reader.runs


def _solution(content: bytes) -> Run | None:
    """Read one object that is written over several lines."""
    try:
        return _of_solution(msgspec.json.decode(content, type=Solution))
    except (ValueError, RecursionError):
        return None


class _Reader:
    """Reads a file line by line, whatever kind each line is of."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._kind = msgspec.json.Decoder(_Kind)
        self._event = msgspec.json.Decoder(AnyEvent)
        self._solution = msgspec.json.Decoder(Solution)
        self._bench_run = msgspec.json.Decoder(_BenchRun)
        self._header = msgspec.json.Decoder(Header)
        self._is_bench = False

    def read(self, line: bytes) -> None:
        """Take the next line; raises ValueError or RecursionError where it is of no kind."""
        if not line.strip():
            return
        kind = self._kind.decode(line).type
        if kind == "bench":
            self._is_bench = True
        elif kind == "run":
            self.runs.append(_of_bench(self._bench_run.decode(line)))
        elif self._is_bench:
            pass  # what else a bench notes down is no run
        elif kind == "session":
            self._header.decode(line)
        elif kind is None:
            self.runs.append(_of_solution(self._solution.decode(line)))
        else:
            self._take(self._event.decode(line))

    def _take(self, event: AnyEvent) -> None:
        """Go on with the last run, or begin one."""
        if isinstance(event, Started):
            self.runs.append(Run(event.question, event.pair, event.policy, event.seed))
        elif self.runs and isinstance(event, TakenBack):
            self.runs.pop()
        elif self.runs:
            _go_on(self.runs[-1], event)
        else:
            raise ValueError("it goes on with a run whose beginning is not there")


def _go_on(run: Run, event: AnyEvent) -> None:
    """Let a run's next event count."""
    match event:
        case StepStarted():
            run.begun, run.begun_text, run.finish, run.stats = event, "", None, None
        case Text(text=text):
            run.begun_text += text
        case StepEnded(step):
            run.steps.append(step)
            run.begun, run.begun_text, run.finish, run.stats = None, "", None, None
        case ThoughtEnded(reason):
            run.thought_end = reason
        case Rewound(index):
            del run.steps[max(index, 0) :]
            run.begun, run.begun_text, run.finish, run.stats = None, "", None, None
            if not any(step.part == "answer" for step in run.steps):
                run.thought_end = None
        case Notice(message):
            run.notices.append(message)
        case Finished(finish_reason, thought_end, stats):
            run.begun, run.begun_text = None, ""
            run.finish, run.thought_end, run.stats = finish_reason, thought_end, stats
        case _:
            pass


def _of_solution(solution: Solution, question: str | None = None) -> Run:
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


def _of_bench(found: _BenchRun) -> Run:
    run = _of_solution(found.solution, found.question)
    run.problem, run.arm, run.repeat, run.correct = found.problem, found.arm, found.repeat, found.correct
    return run
