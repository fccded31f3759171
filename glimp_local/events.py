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
from glimp_local.tree import Tree

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
    "Selected",
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
    "Tree",
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
    turn: str | None = None
    """The id of this version of the turn; None if an earlier glimp has written it, like all ids below."""


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
    """A turn went back: steps from `index` on are void and are written again, in another version of it.

    The version they stand in is kept, with all that stands behind it.
    """

    index: int
    turn: str | None = None
    """The id of the version that begins."""
    of: str | None = None
    """The id of the version it begins as; None: the last turn's."""


class TakenBack(Event, frozen=True):
    """A question was withdrawn, with all that was written to it and stands behind it; another one comes in its place.

    What was withdrawn is kept as a version of the turn that comes next.
    """

    turn: str | None = None
    """The id of the version; None: the last turn's."""


class Selected(Event, frozen=True):
    """The conversation went to another of its versions, and continues behind that."""

    turn: str
    """The id of the version of a turn it ends with now."""


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


AnyEvent = (
    Started
    | StepStarted
    | Text
    | StepEnded
    | ThoughtEnded
    | Rewound
    | TakenBack
    | Selected
    | Notice
    | Answer
    | Finished
)


class Fold:
    """Folds events into runs, one after another, and what they replace into versions of these.

    The last run is the one that the next event belongs to.
    """

    def __init__(self, tree: Tree | None = None) -> None:
        self.tree = Tree() if tree is None else tree
        """All runs, those included that the conversation does not lead to."""

    @property
    def runs(self) -> list[Run]:
        """Those the conversation consists of."""
        return self.tree.runs

    def take(self, event: AnyEvent) -> None:
        """Let an event count; raises ValueError if the run it continues, or the version it names, is missing."""
        match event:
            case Started():
                of_it = event.question, event.pair, event.policy, event.seed, event.system
                self.tree.add(Run(*of_it, turn=event.turn or ""))
            case Selected(turn):
                self.tree.go_to(turn)
            case TakenBack(turn):
                self.tree.go_to(self._run(turn).behind)
            case Rewound(index, turn, of):
                again = self._run(of).copy()
                again.cut(index)
                again.turn = turn or ""
                self.tree.go_to(again.behind)
                self.tree.add(again)
            case _:
                self._go_on(self._run(), event)

    def _run(self, turn: str | None = None) -> Run:
        """Return the run that an event belongs to, and let the conversation end with it: a version, or the last one."""
        if turn is not None:
            self.tree.go_to(turn)
        if (run := self.tree.last) is None:
            raise ValueError("it continues a run whose beginning is missing")
        return run

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
    folding = Fold(Tree.of(Run()))
    for event in events:
        if not isinstance(event, TakenBack):  # the question that this one replaces is none of its events
            folding.take(event)
    return (folding.tree.last or Run()).solution()


def encode(value: Any) -> bytes:
    """Write an event or a solution as one line of JSON."""
    return msgspec.json.encode(value)


def decode_events(lines: Sequence[bytes]) -> list[AnyEvent]:
    """Read events back from JSON lines; raises msgspec.ValidationError where a line is none."""
    decoder = msgspec.json.Decoder(AnyEvent)
    return [decoder.decode(line) for line in lines if line.strip()]
