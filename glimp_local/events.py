"""What a session tells its readers: typed, frozen records, in the order in which things happen.

Terminals, saved files, benchmarks and tests all read these and nothing else. Written as JSON lines (`--jsonl`,
`--save`) each event is one object whose `type` is the event's name in snake_case. `Solution` is the same run folded
into one object (`--json`). All seconds are wall time; all entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from glimp_local.routing import Model, PolicyName, Reason

Part = Literal["thought", "answer", "reply"]
"""Where a step stands: in the thought, in the answer behind it, or in the reply of a pair that has no thought."""

StepEnd = Literal[
    "blank_line",
    "thought_end",  # the model closed the thought
    "end_of_generation",  # the model ended its text
    "cap",  # the step reached its limit of tokens; the next one goes on in mid-sentence
    "budget",  # the tokens for the thought or the answer are spent
    "context_full",
    "user",  # the user asked for the answer now
    "failed",  # llama.cpp could not go on
    "cancelled",
]

ThoughtEnd = Literal[
    "closed",  # by the model
    "end_of_generation",  # the model ended its text inside the thought; the session closed it
    "budget",
    "context_full",  # just enough room was left for the answer
    "loop",
    "user",
]

FinishReason = Literal[
    "done",
    "answer_budget",  # the tokens for the answer are spent
    "context_full",
    "loop",  # a reply without thought went in circles
    "failed",  # llama.cpp could not go on; a Notice says why
    "cancelled",
]


class Step(msgspec.Struct, frozen=True):
    """One finished step."""

    index: int
    """Number of the step, counted from 0 through thought and answer."""
    part: Part
    model: Model
    reason: Reason
    threshold_nats: float | None
    entropy_nats: float | None
    """Entropy of the small model's first-token distribution; None where the small model did not look."""
    top1_probability: float | None
    margin: float | None
    """Probability of the likeliest first token less that of the second."""
    tokens: int
    seconds: float
    """From the decision to the last token, catch-up included."""
    catch_up_tokens: int
    """Tokens the writer (and, for the glimpse, the small model) was fed before the step could be written."""
    catch_up_seconds: float
    end: StepEnd
    text: str


_DRAFTED = 0.1
"""A model that drafts help has at least so many tokens drafted, of those it writes."""


class ModelStats(msgspec.Struct, frozen=True):
    """What one model did during a run."""

    name: str
    steps: int
    tokens: int
    """Tokens it wrote, in thought and answer."""
    prefill_tokens: int
    """Prompt tokens it was fed."""
    prefill_seconds: float
    catch_up_tokens: int
    """Tokens written by the other model (or fed again after a redo) that it was fed."""
    catch_up_seconds: float
    decode_seconds: float
    """Forward passes over its own tokens, and over those drafted for it."""
    sample_seconds: float
    tokens_per_second: float
    """tokens / (decode_seconds + sample_seconds + draft_seconds); 0 where it wrote nothing."""
    drafted: int = 0
    """Tokens drafted for it and computed, by the small model or out of the text."""
    draft_accepted: int = 0
    """Those of them that came true."""
    draft_seconds: float = 0.0
    """Spent on drafting for it."""
    draft_speedup: float | None = None
    """Seconds of a token of this run that was computed by itself, over the mean of all, drafting included; None where
    nothing was drafted."""
    along_tokens: int = 0
    """Tokens it read while the other model was writing (eager catch-up)."""
    along_seconds: float = 0.0
    """Spent on that, beside the writing. What the other model had to wait for it counts as catch-up."""

    @property
    def is_drafted(self) -> bool:
        """Were drafts more than a few tries that did not pay?"""
        return self.draft_speedup is not None and self.drafted >= _DRAFTED * self.tokens


class Stats(msgspec.Struct, frozen=True):
    """The figures of one run."""

    steps: int
    """Steps of the thought (of the reply, where there is no thought); the answer is not counted."""
    steps_large: int
    share_steps: float
    """steps_large / steps."""
    tokens: int
    """All tokens written, thought and answer, by both models."""
    tokens_large: int
    share_tokens: float
    """tokens_large / tokens."""
    switches: int
    """How often the writer changed from one step to the next, the answer included."""
    seconds: float
    """From the question to the end, prefill included, loading not."""
    time_to_first_token_seconds: float | None
    glimpse_seconds: float
    """Spent on measuring entropies."""
    entropies_nats: tuple[float, ...]
    """Every entropy glimpsed, in order of the steps."""
    small: ModelStats | None
    large: ModelStats | None


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


class StepStarted(Event, frozen=True):
    """The writer of a step is chosen; its catch-up comes next."""

    index: int
    part: Part
    model: Model
    reason: Reason
    threshold_nats: float | None
    entropy_nats: float | None
    top1_probability: float | None
    margin: float | None


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


class Solution(msgspec.Struct, frozen=True):
    """One run as one object: what `glimp solve --json` prints."""

    answer: str
    """The text behind the thought, without surrounding blanks."""
    boxed: str | None
    thought: str
    """The text of the thought; empty where the pair does not think."""
    pair: str
    policy: PolicyName
    seed: int
    finish_reason: FinishReason
    thought_end: ThoughtEnd | None
    steps: tuple[Step, ...]
    notices: tuple[str, ...]
    stats: Stats


def fold(events: Iterable[AnyEvent]) -> Solution:
    """Fold a finished run's events into one object.

    Raises ValueError when the events are not those of a run that reached its end.
    """
    started: Started | None = None
    answer: Answer | None = None
    finished: Finished | None = None
    steps: list[Step] = []
    notices: list[str] = []
    for event in events:
        match event:
            case Started():
                started = event
            case StepEnded(step):
                steps.append(step)
            case Rewound(index):
                del steps[index:]
            case Notice(message):
                notices.append(message)
            case Answer():
                answer = event
            case Finished():
                finished = event
            case _:
                pass
    if started is None or answer is None or finished is None:
        raise ValueError("the events of a finished run begin with Started and end with Answer and Finished")
    return Solution(
        answer=answer.text,
        boxed=answer.boxed,
        thought="".join(step.text for step in steps if step.part == "thought"),
        pair=started.pair,
        policy=started.policy,
        seed=started.seed,
        finish_reason=finished.finish_reason,
        thought_end=finished.thought_end,
        steps=tuple(steps),
        notices=tuple(notices),
        stats=finished.stats,
    )


def answer_of(steps: Iterable[Step]) -> str:
    """Give the text of the answer, or of the reply of a pair that does not think."""
    return "".join(step.text for step in steps if step.part != "thought").rstrip()


def last_boxed(text: str) -> str | None:
    r"""Give the content of the last complete `\boxed{...}` in a text, braces inside it included."""
    end = len(text)
    while (start := text.rfind("\\boxed{", 0, end)) >= 0:
        depth, begin = 1, start + len("\\boxed{")
        for at in range(begin, len(text)):
            if text[at] in "{}" and text[at - 1] != "\\":
                depth += 1 if text[at] == "{" else -1
            if depth == 0:
                return text[begin:at]
        end = start
    return None


def encode(value: Any) -> bytes:
    """Write an event or a solution as one line of JSON."""
    return msgspec.json.encode(value)


def decode_events(lines: Sequence[bytes]) -> list[AnyEvent]:
    """Read events back from JSON lines; raises msgspec.ValidationError where a line is none."""
    decoder = msgspec.json.Decoder(AnyEvent)
    return [decoder.decode(line) for line in lines if line.strip()]
