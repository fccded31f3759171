"""One question and what has become of it so far: the state a session works on, and the figures of the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import perf_counter

from glimp_local.engines.llama.lane import Fed, Lane
from glimp_local.events import FinishReason, Part, Stats, Step, StepEnd, StepStarted, ThoughtEnd
from glimp_local.routing import Decision, Glimpse, Model
from glimp_local.session.steps import LoopDetector, StepMachine


@dataclass
class Position:
    """Where a turn stands between two steps: all that going back has to restore."""

    part: Part
    machine: StepMachine
    loops: LoopDetector = field(default_factory=LoopDetector)
    lengths: dict[Model, int] = field(default_factory=dict)
    """Length of each lane's transcript."""
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
        """Give a copy that stays as it is."""
        return replace(self, machine=self.machine.copy(), loops=self.loops.copy(), lengths=dict(self.lengths))


@dataclass
class Draft:
    """A step while it is being written."""

    started: StepStarted
    began: float
    fed: Fed
    tokens: list[int] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    """The text of the tokens: what the other model is handed."""
    half: int = 0
    """Bytes at the end of `raw` that are only the beginning of a character."""
    text: str = ""
    """The text of the step: without the marker that closes the thought."""
    end: StepEnd = "cancelled"

    def drop_half_a_character(self, writer: Lane) -> None:
        """Take back the last tokens where they hold nothing but the beginning of a character: nobody can read it."""
        piece = writer.engine.vocabulary.piece
        while self.tokens and 0 < len(piece(self.tokens[-1])) <= self.half:
            size = len(piece(self.tokens.pop()))
            self.half -= size
            del self.raw[len(self.raw) - size :]
            writer.take_back()

    def finish(self) -> Step:
        """Make it a record."""
        start = self.started
        return Step(
            index=start.index,
            part=start.part,
            model=start.model,
            reason=start.reason,
            threshold_nats=start.threshold_nats,
            entropy_nats=start.entropy_nats,
            top1_probability=start.top1_probability,
            margin=start.margin,
            tokens=len(self.tokens),
            seconds=perf_counter() - self.began,
            catch_up_tokens=self.fed.tokens,
            catch_up_seconds=self.fed.seconds,
            end=self.end,
            text=self.text,
        )


@dataclass
class Turn:
    """One question."""

    question: str
    position: Position
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
    """What llama.cpp said when it could not go on."""
    seconds_to_first_token: float | None = None
    glimpse_seconds: float = 0.0

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
        return Draft(started, began, fed)

    def stats(self, lanes: Iterable[Lane]) -> Stats:
        """Compute the figures of the run; what each is stands with the fields of `Stats`."""
        routed = [step for step in self.steps if step.part != "answer" and step.tokens]
        on_large = sum(step.model == "large" for step in routed)
        tokens = sum(step.tokens for step in self.steps)
        tokens_large = sum(step.tokens for step in self.steps if step.model == "large")
        by_model = {lane.model: lane.stats() for lane in lanes}
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
            glimpse_seconds=self.glimpse_seconds,
            entropies_nats=tuple(step.entropy_nats for step in self.steps if step.entropy_nats is not None),
            small=by_model.get("small"),
            large=by_model.get("large"),
        )
