"""One question and what has become of it so far: the state a session works on, and the figures of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from typing import Literal, NamedTuple

import msgspec

from glimp_local.engines.protocol import Fed, Lane, Piece
from glimp_local.events import FinishReason, Part, Stats, Step, StepEnd, StepStarted, ThoughtEnd
from glimp_local.messages import Message
from glimp_local.routing import MODELS, Decision, Glimpse, Model
from glimp_local.session.steps import LoopDetector, StepMachine
from glimp_local.session.transcript import Marks
from glimp_local.session.versions import Version, new_id


@dataclass
class Position:
    """Where a turn stands between two steps: all that going back has to restore."""

    part: Part
    machine: StepMachine
    loops: LoopDetector = field(default_factory=LoopDetector)
    marks: Marks = field(default_factory=dict)
    """Where each lane stands."""
    written: int = 0
    """Tokens of this part."""
    strikes: int = 0
    """Steps in a row that closed a circle."""
    answer: str = ""
    carry: bytes = b""
    """Text behind the end of the thought that came in the same token."""
    tail: bytes = b"\n"
    """The last byte of the transcript."""
    thought_end: ThoughtEnd | None = None

    def copy(self) -> Position:
        """Return a copy that stays as it is."""
        return replace(self, machine=self.machine.copy(), loops=self.loops.copy(), marks=dict(self.marks))


@dataclass
class Draft:
    """A step while it is being written."""

    started: StepStarted
    began: float
    fed: Fed
    tokens: int = 0
    ids: list[int] = field(default_factory=list)
    """The tokens, if all are known: what a model of its vocabulary is handed."""
    raw: bytearray = field(default_factory=bytearray)
    """The text of the tokens: what another model is handed."""
    text: str = ""
    """The text of the step: without the marker that closes the thought."""
    end: StepEnd = "cancelled"
    _first: tuple[int, float] | None = None
    """Tokens of the first piece, and when it came: what was read before it took its own time."""

    def add(self, piece: Piece) -> None:
        """Add what was written."""
        if len(self.ids) == self.tokens and len(piece.ids) == piece.tokens:
            self.ids += piece.ids
        else:
            self.ids.clear()
        self.tokens += piece.tokens
        self._first = self._first or (self.tokens, perf_counter())
        self.raw += piece.raw

    def tokens_per_second(self) -> float | None:
        """Return how fast the tokens behind the first ones come; None before there are any. For any thread."""
        first, tokens = self._first, self.tokens
        return None if first is None or tokens == first[0] else (tokens - first[0]) / (perf_counter() - first[1])

    def finish(self) -> Step:
        """Make it a record."""
        return Step(
            **msgspec.structs.asdict(self.started),
            tokens=self.tokens,
            seconds=perf_counter() - self.began,
            catch_up_tokens=self.fed.tokens,
            catch_up_seconds=self.fed.seconds,
            end=self.end,
            text=self.text,
        )


class Activity(NamedTuple):
    """What a model is doing at a moment."""

    model: Model
    does: Literal["reads", "writes"]
    tokens: int
    """Read or, of the present step, written so far."""
    of: int = 0
    """Tokens there are to read."""
    tokens_per_second: float | None = None
    """At which it writes the step; None before that is known."""


@dataclass
class Turn:
    """One question."""

    messages: Sequence[Message]
    """What was asked: the question, last, and the messages before it."""
    position: Position
    opening: str = ""
    """What the answer begins with."""
    id: str = field(default_factory=new_id)
    """Of this version of the turn."""
    is_foreign: bool = False
    """Is it by a pair of another kind (one that thinks, one that does not)? Then only its answer is here."""
    prompt_tokens: int = 0
    """Of the first model's prompt."""
    began: float = 0.0
    """When the run began that is under way (a turn is run again by resume and redo)."""
    seconds: float = 0.0
    """Of the runs that are over."""
    steps: list[Step] = field(default_factory=list)
    marks: list[Position] = field(default_factory=list)
    """Where each step began."""
    forced: Decision | None = None
    """The decision for the next step, taken already (a redo)."""
    finish: FinishReason | None = None
    failure: str = ""
    """Why the model could not continue."""
    lost: Model | None = None
    """The model that failed in this run, and does not write any more in it."""
    draft: Draft | None = None
    """The step that is being written."""
    seconds_to_first_token: float | None = None
    written: dict[Model, int] = field(default_factory=lambda: dict.fromkeys(MODELS, 0))
    """Steps each model wrote, those included that a redo has voided."""

    @property
    def question(self) -> str:
        """The text of the question."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")

    def version(self, history: Sequence[Message]) -> Version:
        """Return what it takes to go back to this turn, which stands behind `history`."""
        return Version(
            list(history), self.messages, list(self.steps), self.position.thought_end, self.finish, self.opening
        )

    def begin_step(self, decision: Decision, seen: Glimpse | None, began: float, fed: Fed) -> Draft:
        """Begin the next step."""
        started = StepStarted(
            index=len(self.steps),
            part=self.position.part,
            model=decision.model,
            reason=decision.reason,
            threshold_nats=decision.threshold_nats,
            entropy_nats=None if seen is None else seen.entropy_nats,
            top1_probability=None if seen is None else seen.top1_probability,
            margin=None if seen is None else seen.margin,
        )
        self.draft = Draft(started, began, fed)
        return self.draft

    def stats(self, lanes: Mapping[Model, Lane]) -> Stats:
        """Compute the figures of the run; what each is stands with the fields of `Stats`."""
        routed = [step for step in self.steps if step.part != "answer" and step.tokens]
        on_large = sum(step.model == "large" for step in routed)
        tokens = sum(step.tokens for step in self.steps)
        tokens_large = sum(step.tokens for step in self.steps if step.model == "large")
        by_model = {
            model: msgspec.structs.replace(lane.stats(), steps=self.written[model]) for model, lane in lanes.items()
        }
        return Stats(
            steps=len(routed),
            steps_large=on_large,
            share_steps=on_large / len(routed) if routed else 0.0,
            tokens=tokens,
            tokens_large=tokens_large,
            share_tokens=tokens_large / tokens if tokens else 0.0,
            switches=sum(a.model != b.model for a, b in pairwise(step for step in self.steps if step.tokens)),
            seconds=self.seconds,
            time_to_first_token_seconds=self.seconds_to_first_token,
            glimpse_seconds=sum(lane.glimpse_seconds for lane in lanes.values()),
            entropies_nats=tuple(step.entropy_nats for step in self.steps if step.entropy_nats is not None),
            small=by_model.get("small"),
            large=by_model.get("large"),
        )
