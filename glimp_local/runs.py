"""A run: one question and what was written to it, with the figures of each step, each model and the whole.

These are records alone. The events (`events.py`) show how a run comes about and are folded into it there; saved
conversations, traces and the object of `--json` are views of it. All seconds are wall time; all entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from glimp_local.routing import Model, PolicyName, Reason

Part = Literal["thought", "answer", "reply"]
"""Where a step stands: in the thought, in the answer behind it, or in the reply of a pair that has no thought."""

StepEnd = Literal[
    "blank_line",
    "thought_end",  # the model closed the thought
    "end_of_generation",  # the model ended its text
    "cap",  # the step reached its limit of tokens; the next one continues in mid-sentence
    "repetition",  # a word, a line or a paragraph was repeated without end; the next one continues there
    "budget",  # the tokens for the thought or the answer are spent
    "context_full",
    "user",  # the user asked for the answer now
    "failed",  # the model could not continue
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
    "loop",  # the answer, or a reply without thought, went in circles
    "failed",  # the model could not continue; a Notice says why
    "cancelled",
]


class Decided(msgspec.Struct, frozen=True):
    """Who writes a step, and why: what is known of it at its beginning."""

    index: int
    """Number of the step, counted from 0 through thought and answer."""
    part: Part
    model: Model
    reason: Reason
    threshold_nats: float | None
    entropy_nats: float | None
    """Entropy of the small model's first-token distribution; None if the small model did not look."""
    top1_probability: float | None
    margin: float | None
    """Probability of the likeliest first token less that of the second."""


class Step(Decided, frozen=True):
    """One finished step."""

    tokens: int
    seconds: float
    """From the decision to the last token, catch-up included."""
    catch_up_tokens: int
    """Tokens the writer (and, for the glimpse, the small model) was fed before the step could be written."""
    catch_up_seconds: float
    end: StepEnd
    text: str


_DRAFTED = 0.1
"""A model that drafts help has at least this share of its tokens drafted."""


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
    """tokens / (decode_seconds + sample_seconds + draft_seconds); 0 if it wrote nothing."""
    drafted: int = 0
    """Tokens drafted for it and computed, by the small model or out of the text."""
    draft_accepted: int = 0
    """Those of them that came true."""
    draft_seconds: float = 0.0
    """Spent on drafting for it."""
    draft_speedup: float | None = None
    """Seconds of a token of this run that was computed by itself, over the mean of all, drafting included; None if
    nothing was drafted."""
    along_tokens: int = 0
    """Tokens it read while the other model was writing (eager catch-up)."""
    along_seconds: float = 0.0
    """Spent on that, beside the writing. What the other model had to wait for it counts as catch-up."""
    network_seconds: float = 0.0
    """Spent on the way to a server and back, and waiting for it; its own seconds are in the others. If the server keeps
    no account, this is its round trip for each request, and what else it waited counts as its own."""

    @property
    def is_drafted(self) -> bool:
        """Were drafts more than a few tries that did not pay?"""
        return self.draft_speedup is not None and self.drafted >= _DRAFTED * self.tokens


class Stats(msgspec.Struct, frozen=True):
    """The figures of one run."""

    steps: int
    """Steps of the thought (of the reply, if there is no thought); the answer is not counted."""
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


class Solution(msgspec.Struct, frozen=True):
    """One run as one object: what `glimp solve --json` prints."""

    answer: str
    """The text behind the thought, without surrounding blanks."""
    boxed: str | None
    thought: str
    """The text of the thought; empty if the pair does not think."""
    pair: str
    policy: PolicyName
    seed: int
    finish_reason: FinishReason
    thought_end: ThoughtEnd | None
    steps: tuple[Step, ...]
    notices: tuple[str, ...]
    stats: Stats
    system: str | None = None
    """The system message the conversation begins with; None if it has none."""


LOST_QUESTION = "(the question is lost: its line in the saved conversation is damaged)"


@dataclass
class Begun:
    """A step while it is being written."""

    index: int
    model: Model
    text: str = ""


@dataclass
class Run:
    """One question and what was written to it so far."""

    question: str | None = None
    """None if it is not known: `--json` leaves it out, and a line of a file may be damaged."""
    pair: str | None = None
    policy: PolicyName | None = None
    seed: int | None = None
    """None, like pair and policy, if the line that says it is damaged."""
    system: str | None = None
    """The system message the conversation begins with; None if it has none, or it is not known."""
    steps: list[Step] = field(default_factory=list)
    thought_end: ThoughtEnd | None = None
    finish: FinishReason | None = None
    """None while the run is under way, and if the process ended in the middle."""
    stats: Stats | None = None
    """None as long as the run has no end."""
    notices: list[str] = field(default_factory=list)
    begun: Begun | None = None
    """The step that is being written."""
    turn: str = ""
    """Its id among the versions of a conversation's turns (`tree.py`)."""
    behind: str | None = None
    """The id of the version it stands behind; None for a first turn."""
    problem: str | None = None
    """The problem's id, of a bench's run."""
    arm: str | None = None
    repeat: int | None = None
    correct: bool | None = None
    damaged: bool = False
    """Is something of it lost?"""

    @classmethod
    def of(cls, solution: Solution, question: str | None = None) -> Run:
        """Return the run that an object of `--json` holds."""
        return cls(
            question=question,
            pair=solution.pair,
            policy=solution.policy,
            seed=solution.seed,
            system=solution.system,
            steps=list(solution.steps),
            thought_end=solution.thought_end,
            finish=solution.finish_reason,
            stats=solution.stats,
            notices=list(solution.notices),
        )

    @property
    def next_index(self) -> int:
        """The number of the step that comes next."""
        return self.steps[-1].index + 1 if self.steps else 0

    @property
    def asked(self) -> str:
        """The question, or LOST_QUESTION."""
        return LOST_QUESTION if self.question is None else self.question

    @property
    def title(self) -> str:
        """The question's first line, or what stands for it."""
        lines = (self.question or "").strip().splitlines()
        return lines[0] if lines else "(the file does not hold the question)"

    @property
    def answer(self) -> str:
        """The text of the answer, as far as it was written."""
        return answer_of(self.steps)

    @property
    def thought(self) -> str:
        """The text of the thought."""
        return "".join(step.text for step in self.steps if step.part == "thought")

    def reopen(self) -> None:
        """Continue behind the last finished step: the run has no end any more, nor a step that is being written."""
        self.begun = self.finish = self.stats = None

    def copy(self) -> Run:
        """Return a copy that stays as it is."""
        begun = None if self.begun is None else replace(self.begun)
        return replace(self, steps=list(self.steps), notices=list(self.notices), begun=begun)

    def cut(self, index: int) -> None:
        """Void the steps from `index` on."""
        while self.steps and self.steps[-1].index >= index:  # they are in order
            self.steps.pop()
        self.reopen()
        if not self.steps or self.steps[-1].part != "answer":
            self.thought_end = None

    def solution(self) -> Solution:
        """Return the run as one object; raises ValueError if it has no beginning or no end."""
        if self.pair is None or self.policy is None or self.seed is None or self.finish is None or self.stats is None:
            raise ValueError("the events of a finished run begin with Started and end with Finished")
        answer = self.answer
        return Solution(
            answer=answer,
            boxed=last_boxed(answer),
            thought=self.thought,
            pair=self.pair,
            policy=self.policy,
            seed=self.seed,
            finish_reason=self.finish,
            thought_end=self.thought_end,
            steps=tuple(self.steps),
            notices=tuple(self.notices),
            stats=self.stats,
            system=self.system,
        )


def answer_of(steps: Iterable[Step]) -> str:
    """Return the text of the answer, or of the reply of a pair that does not think."""
    return "".join(step.text for step in steps if step.part != "thought").rstrip()


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last complete `\boxed{...}` in a text, braces inside it included."""
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
