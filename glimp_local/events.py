"""What a session tells its readers: typed, frozen records, in the order in which things happen.

Terminals, saved files, benchmarks and tests all read these and nothing else. Written as JSON lines (`--jsonl`,
`--save`) each event is one object whose `type` is the event's name in snake_case. `Fold` puts them together to a `Run`,
and `fold` to a `Solution` (`--json`); what a run is made of (`runs.py`) can be imported from here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from glimp_local.routing import PolicyName
from glimp_local.runs import (
    Begun,
    Decided,
    FinishReason,
    ModelStats,
    Part,
    Run,
    Solution,
    Stats,
    Step,
    StepEnd,
    ThoughtEnd,
    answer_of,
    last_boxed,
)

__all__ = [
    "Answer",
    "AnyEvent",
    "Event",
    "FinishReason",
    "Finished",
    "Fold",
    "ModelStats",
    "Notice",
    "Part",
    "Rewound",
    "Run",
    "Solution",
    "Started",
    "Stats",
    "Step",
    "StepEnd",
    "StepEnded",
    "StepStarted",
    "TakenBack",
    "Text",
    "ThoughtEnd",
    "ThoughtEnded",
    "answer_of",
    "decode_events",
    "encode",
    "fold",
    "last_boxed",
]


def _snake(name: str) -> str:
    """Turn an event's class name into its `type`: StepStarted becomes step_started."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class Event(msgspec.Struct, frozen=True, tag_field="type", tag=_snake):
    """Any event."""


class Started(Event, frozen=True):
    """A question was taken; nothing is computed yet."""

    question: str
    pair: str
    policy: PolicyName
    seed: int
    small: str | None
    """Name of the small model; None where it is not loaded."""
    large: str | None
    thinks: bool
    """Does the pair think before it answers? If not, its whole reply is routed, step by step."""
    prompt_tokens: int
    system: str | None = None
    """The system message the conversation begins with; None if it has none."""


class StepStarted(Decided, Event, frozen=True):
    """The writer of a step is chosen; its catch-up comes next."""


class Text(Event, frozen=True):
    """Text of the step being written, as it comes. Whole characters only."""

    index: int
    part: Part
    text: str


class StepEnded(Event, frozen=True):
    """A step is finished."""

    step: Step


class ThoughtEnded(Event, frozen=True):
    """The thought is over; the answer comes next."""

    reason: ThoughtEnd


class Rewound(Event, frozen=True):
    """The run went back: steps from `index` on are void and are written again."""

    index: int


class TakenBack(Event, frozen=True):
    """The last question was withdrawn, with all that was written to it."""


class Notice(Event, frozen=True):
    """Something the user should know."""

    message: str


class Answer(Event, frozen=True):
    """The whole answer, as far as it was written."""

    text: str
    boxed: str | None
    """Content of the last `\\boxed{}` in the answer; None where there is none."""


class Finished(Event, frozen=True):
    """The run is over."""

    finish_reason: FinishReason
    thought_end: ThoughtEnd | None
    """What ended the thought; None where there was none or it did not end."""
    stats: Stats


AnyEvent = Started | StepStarted | Text | StepEnded | ThoughtEnded | Rewound | TakenBack | Notice | Answer | Finished


class Fold:
    """Folds events into runs, one after another: the last one is the one that the next event belongs to."""

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)
        """Those whose questions were not taken back."""

    def take(self, event: AnyEvent) -> None:
        """Let an event count; raises ValueError if the run it continues is missing."""
        if isinstance(event, Started):
            found = event
            self.runs.append(Run(found.question, found.pair, found.policy, found.seed, found.system))
        elif not self.runs:
            raise ValueError("it continues a run whose beginning is missing")
        elif isinstance(event, TakenBack):
            self.runs.pop()
        else:
            self._go_on(self.runs[-1], event)

    @staticmethod
    def _go_on(run: Run, event: AnyEvent) -> None:
        match event:
            case StepStarted():
                run.reopen()
                run.begun = Begun(event.index, event.model)
            case Text(text=text):
                if run.begun is not None:
                    run.begun.text += text
            case StepEnded(step):
                run.reopen()
                run.steps.append(step)
            case ThoughtEnded(reason):
                run.thought_end = reason
            case Rewound(index):
                run.cut(index)
            case Notice(message):
                run.notices.append(message)
            case Finished():
                run.begun = None
                run.finish, run.thought_end, run.stats = event.finish_reason, event.thought_end, event.stats
            case _:  # Answer repeats what the steps say
                pass


def fold(events: Iterable[AnyEvent]) -> Solution:
    """Fold a finished run's events into one object.

    Raises ValueError when the events are not those of a run that reached its end.
    """
    folding = Fold(Run())
    for event in events:
        folding.take(event)
    return (folding.runs or [Run()])[-1].solution()


def encode(value: Any) -> bytes:
    """Write an event or a solution as one line of JSON."""
    return msgspec.json.encode(value)


def decode_events(lines: Sequence[bytes]) -> list[AnyEvent]:
    """Read events back from JSON lines; raises msgspec.ValidationError where a line is none."""
    decoder = msgspec.json.Decoder(AnyEvent)
    return [decoder.decode(line) for line in lines if line.strip()]
