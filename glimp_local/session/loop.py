"""How a turn goes: glimpse, route, write a step, draw the consequences of its end, until there is an answer.

Knows nothing of questions or conversations: a turn is given to it, and its events come out. It may be left at any event
and run again later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from glimp_local.engines.protocol import Fed, Lane, Prompt
from glimp_local.errors import CancelledError, ContextFullError, DecodeError
from glimp_local.events import AnyEvent, FinishReason, Notice, Step, StepEnd, StepEnded, ThoughtEnd, ThoughtEnded
from glimp_local.routing import Decision, Glimpse, Model, Policy
from glimp_local.session.steps import LoopDetector, StepMachine
from glimp_local.session.transcript import Transcript
from glimp_local.session.turn import Position, Turn
from glimp_local.session.versions import Version
from glimp_local.session.writing import StepWriter
from glimp_local.settings import RunSettings

_STRIKES = 2
"""This many steps in a row that close a circle or repeat themselves end the thought; before that the large model gets
its chance."""

_FINISHES: dict[StepEnd, FinishReason] = {
    "end_of_generation": "done",
    "budget": "answer_budget",
    "context_full": "context_full",
}
"""What the end of a step means for the whole run, once the thought is over."""


@dataclass
class Steering:
    """What may change while a run is under way; each counts from the next token or step on. Set from any thread."""

    cancel: threading.Event
    answer_now: threading.Event = field(default_factory=threading.Event)
    """End the thought."""
    forced: Model | None = None
    """Who writes the next step, whatever the policy says."""


class Loop:
    """Runs turns on one transcript with one set of settings."""

    def __init__(
        self,
        transcript: Transcript,
        settings: RunSettings,
        policy: Policy,
        steering: Steering,
        *,
        can_glimpse: bool,
        reads_along: bool,
        may_redo: bool,
        keeps_blanks: bool,
    ) -> None:
        self.transcript = transcript
        self.settings = settings
        self.policy = policy
        self._can_glimpse = can_glimpse
        self._steering = steering
        self._may_redo = may_redo
        self._writer = StepWriter(
            transcript, settings, steering.answer_now, reads_along=reads_along, keeps_blanks=keeps_blanks
        )

    @property
    def lanes(self) -> dict[Model, Lane]:
        """Each model's side."""
        return dict(self.transcript.lanes)

    def first_position(self) -> Position:
        """Return where a turn begins: in the thought, if the pair thinks."""
        close = self.transcript.close
        return Position("reply" if close is None else "thought", StepMachine(close))

    def begin(self, turn: Turn, prompts: Mapping[Model, Prompt]) -> None:
        """Put a conversation before the models; nothing is computed yet."""
        self.transcript.begin(prompts)
        if turn.position.part != "thought":
            self._open_answer(turn)

    def _open_answer(self, turn: Turn) -> None:
        for lane in self.transcript.lanes.values():
            lane.begin_answer()
        if turn.opening:
            self.transcript.hand_over(turn.opening.encode())
            turn.position.answer = turn.opening

    def run(self, turn: Turn) -> Iterator[AnyEvent]:
        """Write steps until the turn has a finish; yields what happens."""
        while turn.finish is None:
            try:
                if turn.position.part == "thought" and (reason := self._thought_is_over(turn)):
                    yield self._close_thought(turn, reason)
                elif turn.position.part != "thought" and turn.position.written >= self.settings.max_answer:
                    turn.finish = "answer_budget"
                else:
                    yield from self._step(turn)
            except CancelledError:
                turn.finish = "cancelled"
            except ContextFullError:
                if turn.position.part == "thought":
                    yield self._close_thought(turn, "context_full")
                else:
                    turn.finish = "context_full"
            except DecodeError as error:
                turn.finish = "failed"
                yield Notice(str(error))

    def restore(self, turn: Turn, version: Version) -> None:
        """Put what was written before behind the transcript; nothing is computed."""
        for step in version.steps:
            if step.part == "answer":
                self._replay_end_of_thought(turn, version.thought_end or "budget")
            self._replay(turn, step)
        if version.thought_end is not None:
            self._replay_end_of_thought(turn, version.thought_end)
        turn.finish = version.finish or turn.finish or "cancelled"

    def _replay(self, turn: Turn, step: Step) -> None:
        position, close = turn.position, self.transcript.close
        position.marks = self.transcript.marks()
        turn.marks.append(position.copy())
        raw = step.text.encode()
        if position.part != "thought":
            position.answer += step.text
        elif step.end == "thought_end" and close is not None:
            raw += close + b"\n\n"
        position.machine.feed(raw)
        self.transcript.recall(raw)
        position.written += step.tokens
        position.tail = raw[-1:] or position.tail
        turn.steps.append(step)
        self._advance(turn, step)

    def _replay_end_of_thought(self, turn: Turn, reason: ThoughtEnd) -> None:
        if turn.position.part == "thought":
            self._close_thought(turn, reason)

    def rewind(self, turn: Turn, index: int) -> None:
        """Go back to the beginning of a step."""
        turn.position = turn.marks[index].copy()
        del turn.steps[index:], turn.marks[index:]
        self.transcript.cut(turn.position.marks)

    def _thought_is_over(self, turn: Turn) -> ThoughtEnd | None:
        if self._steering.answer_now.is_set():
            return "user"
        if turn.position.written >= self.settings.max_thought:
            return "budget"
        return "context_full" if self._writer.thought_room() <= 0 else None

    def _close_thought(self, turn: Turn, reason: ThoughtEnd) -> AnyEvent:
        """Close a thought that the model did not close itself."""
        self.transcript.close_thought(turn.position.tail)
        turn.position.machine, turn.position.carry = StepMachine(), b""
        return self._begin_answer(turn, reason)

    def _begin_answer(self, turn: Turn, reason: ThoughtEnd) -> AnyEvent:
        position = turn.position
        position.part, position.thought_end = "answer", reason
        position.loops = LoopDetector()
        position.written = position.strikes = 0
        self._steering.answer_now.clear()
        if turn.opening and reason == "closed":
            self.transcript.hand_over(b"\n\n")
        self._open_answer(turn)
        return ThoughtEnded(reason)

    def _step(self, turn: Turn) -> Iterator[AnyEvent]:
        """Decide who writes the next step, and write it."""
        position = turn.position
        position.marks = self.transcript.marks()
        mark = position.copy()
        began = perf_counter()
        for each in self.transcript.lanes.values() if self._may_redo else ():
            each.remember()
        decision, seen, fed = self._decide(turn)
        lane = self.transcript.lanes[decision.model]
        for other in self.transcript.others(decision.model):
            other.stand_by()
        draft = turn.begin_step(decision, seen, began, fed)
        turn.marks.append(mark)
        consequences: list[AnyEvent] = []
        try:
            yield draft.started
            yield from self._writer.write(turn, decision.model, draft)
        finally:
            # Also when the reader walks away in mid-step: what was written is kept, and both models get to know it.
            self.transcript.hand_over(bytes(draft.raw), draft.ids, writer=decision.model)
            if len(self.transcript.lanes) > 1:
                lane.stand_by()
            turn.written[decision.model] += bool(draft.tokens)
            position.written += draft.tokens
            position.tail = bytes(draft.raw[-1:]) or position.tail
            step = draft.finish()
            turn.draft = None
            turn.steps.append(step)
            consequences.extend(self._advance(turn, step))
        yield StepEnded(step)
        for news in lane.news():
            yield Notice(news)
        yield from consequences

    def _decide(self, turn: Turn) -> tuple[Decision, Glimpse | None, Fed]:
        """Glimpse and route. If the small model is asked, it has read everything afterwards."""
        settings, position, steering, lanes = self.settings, turn.position, self._steering, self.transcript.lanes
        forced = turn.forced
        if turn.lost is not None:
            turn.forced = None
            return Decision("small", "failure"), None, Fed()
        if answerer := self._answerer(position):
            turn.forced = None
            return forced or Decision(answerer, "answer"), None, Fed()
        small, seen, fed = lanes.get("small"), None, Fed()
        if small is not None and self._can_glimpse and self.policy.glimpses:
            before = small.fed
            seen = small.glimpse(settings.top_k)
            fed = small.fed - before
        decision = self.policy.decide(seen)
        asked, steering.forced, turn.forced = steering.forced, None, None
        if forced is not None:
            decision = forced
        elif asked is not None and asked in lanes:
            decision = Decision(asked, "user")
        elif position.strikes and "large" in lanes:
            decision = Decision("large", "loop")
        return decision, seen, fed

    def _fail(self, turn: Turn, model: Model) -> AnyEvent:
        """End a turn whose model cannot continue, unless the small one is to continue for the large one."""
        replaced = model == "large" and self.settings.on_failure == "small" and "small" in self.transcript.lanes
        if not replaced:
            turn.finish = "failed"
            return Notice(turn.failure)
        turn.lost = "large"
        turn.position.machine.cap()
        return Notice(f"the large model is lost: {turn.failure}. The small model continues")

    def _answerer(self, position: Position) -> Model | None:
        """Return who writes the answer; None in another part, or if the answer is routed."""
        wanted, lanes = self.settings.answer_by, self.transcript.lanes
        if position.part != "answer" or wanted == "route":
            return None
        return wanted if wanted in lanes else next(iter(lanes))

    def _advance(self, turn: Turn, step: Step) -> list[AnyEvent]:
        """Draw the consequences of a step's end; return the events that report them."""
        position, end = turn.position, step.end
        thinking = position.part == "thought"
        if end == "blank_line" or end == "cap" or end == "repetition":  # noqa: PLR1714 - the type checker follows it
            if end != "blank_line":
                position.machine.cap()
            circles = position.loops.add(step.text) or end == "repetition"
            position.strikes = position.strikes + 1 if circles else 0
            # An answer that is not routed gets no second chance: the same model would continue it.
            if position.strikes >= _STRIKES or (end == "repetition" and self._answerer(position)):
                if thinking:
                    return [self._close_thought(turn, "loop")]
                turn.finish = "loop"
        elif end == "thought_end":
            return [self._begin_answer(turn, "closed")]
        elif end == "cancelled":
            turn.finish = "cancelled"
        elif end == "failed":
            return [self._fail(turn, step.model)]
        elif thinking:
            return [self._close_thought(turn, end)]
        else:
            turn.finish = _FINISHES[end]
        return []
