"""Two engines, one transcript: glimpse, route, write the step, again.

A session takes questions and yields typed events (`events.py`). It knows nothing about terminals or files. One thread
at a time reads its events; `cancel`, `force` and `answer_now` may be called from any thread, and take effect before the
next token.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from glimp_local.engines.glimpse import glimpse
from glimp_local.engines.llama.drafting import Drafts, ModelDrafter
from glimp_local.engines.llama.lane import Fed, Lane
from glimp_local.engines.prompt import Message
from glimp_local.errors import CancelledError, ContextFullError, DecodeError, PromptTooLongError, UsageError
from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    FinishReason,
    Notice,
    Rewound,
    Started,
    Step,
    StepEnd,
    StepEnded,
    TakenBack,
    ThoughtEnd,
    ThoughtEnded,
    answer_of,
    last_boxed,
)
from glimp_local.pair import Pair
from glimp_local.routing import Decision, Glimpse, Model, Policy
from glimp_local.session.steps import LoopDetector, StepMachine
from glimp_local.session.turn import Position, Turn
from glimp_local.session.writing import StepWriter

Events = Generator[AnyEvent, None, None]
"""The events of a run, as they happen. Closing it keeps what was written; `resume` goes on."""

Exchange = tuple[str, str]
"""A question and its answer."""

_MINIMUM_ROOM = 16
"""A prompt must leave room for so many tokens."""

_DOES_NOT_DRAFT = "the small model does not draft for the large one: "

_SEEDS = 2**32
"""So many seeds llama.cpp's sampler knows."""

_STRIKES = 2
"""So many steps in a row that close a circle end the thought; before that the large model gets its chance."""

_FINISHES: dict[StepEnd, FinishReason] = {
    "end_of_generation": "done",
    "budget": "answer_budget",
    "context_full": "context_full",
}
"""What the end of a step means for the whole run, once the thought is over."""


class Session:
    """A conversation with a pair of models.

        with load_pair("qwen3-0.6b-4b") as pair:
            session = Session(pair)
            for event in session.ask("How many primes are there below 30?"):
                print(event)

    The pair stays its owner's: the session does not close it. Sessions of one pair share its caches, so only one of
    them may work at a time. `seed` makes sampling and random routing reproducible (to the last token if drafting is
    off, catch-up lazy and the number of threads set: other batches and threads round otherwise); without it one is
    drawn and told in the Started event. `policy` replaces the one the pair's configuration asks for; of the pair's
    models the session uses those the policy can choose. `history` is a conversation to go on with: questions and
    their answers.
    """

    def __init__(
        self, pair: Pair, *, seed: int | None = None, policy: Policy | None = None, history: Iterable[Exchange] = ()
    ) -> None:
        self.pair = pair
        self.seed = secrets.randbits(31) if seed is None else seed
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"a seed is a number from 0 to {_SEEDS - 1}, not {seed}")
        policy = policy or pair.policy(self.seed)
        self._lanes = {
            model: Lane(model, engine, pair.prompts[model])
            for model, engine in pair.engines.items()
            if model in policy.models
        }
        self._notices = list(pair.notices)
        self.policy = policy
        for lane in self._lanes.values():
            lane.engine.set_sampling(pair.config.sampling, self.seed)
        self.history = list(history)
        """The turns before the last one, without their thoughts."""
        self._turn: Turn | None = None
        self._attach_drafts()
        self._cancel = pair.cancel
        self._answer_now = threading.Event()
        self._writer = StepWriter(pair, self._lanes, cancel=self._cancel, answer_now=self._answer_now)
        self._forced: Model | None = None
        self._busy = False  # are the events of a run being read?

    def _attach_drafts(self) -> None:
        """Let the models draft, as the configuration has it."""
        asked, small = self.pair.config.draft, self._lanes.get("small")
        fixed = None if isinstance(asked, str) else asked
        obstacle = self.drafting_obstacle
        for model, lane in self._lanes.items():
            if asked == "off" or not lane.engine.keeps_past:
                continue
            by_small = model == "large" and small is not None and obstacle is None
            drafter = ModelDrafter(small, lane.engine) if by_small and small is not None else None
            lane.drafts = Drafts(self.pair.economies[model], model=drafter, fixed=fixed)
        if obstacle is not None and fixed is not None and self._policy.name != "speculative":
            self._notices.append(_DOES_NOT_DRAFT + obstacle)

    @property
    def drafting_obstacle(self) -> str | None:
        """What keeps the small model from drafting for the large one; None where nothing does."""
        if self.pair.config.draft == "off":
            return "drafting is off"
        if not self.pair.shares_vocabulary:
            return "they are not of one vocabulary, so only the text so far drafts"
        stuck = next((lane.engine.name for lane in self._lanes.values() if not lane.engine.keeps_past), None)
        return f"{stuck} cannot go back to where a guess was wrong" if stuck else None

    @property
    def policy(self) -> Policy:
        """Who decides. A new one counts from the next step; raises UsageError where it wants a model not loaded."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        if missing := set(policy.models) - set(self._lanes):
            raise UsageError(f"the policy {policy.name!r} needs the {missing.pop()} model, which is not loaded")
        self._policy = policy
        if policy.name == "speculative" and (obstacle := self.drafting_obstacle):
            self._notices.append(_DOES_NOT_DRAFT + obstacle)

    # What a user can ask for.

    def ask(self, question: str, *, instead: bool = False) -> Events:
        """Answer a question; yields events from Started to Finished, with `instead` TakenBack before them.

        What both caches hold of the conversation is used again; earlier thoughts are left out. `instead` puts the
        question in the place of the last one, which is taken out of the conversation with all that was written to it.
        Raises PromptTooLongError where the conversation leaves no room for an answer, UsageError where there is no
        question, or none to be replaced, ModelUnreadableError if a chat template fails on this conversation, and
        CancelledError if the pair's `cancel` stops that; then nothing has changed.
        """
        if not question.strip():
            raise UsageError("there is no question to answer")
        self._check_idle()
        history = self.exchanges
        if instead and self._turn is not None:
            history = self.history
        elif instead:
            if not history:
                raise UsageError("nothing was asked yet")
            history.pop()
        turn = self._begin_turn(history, question)
        started = Started(
            question=question,
            pair=self.pair.name,
            policy=self.policy.name,
            seed=self.seed,
            small=self._lanes["small"].engine.name if "small" in self._lanes else None,
            large=self._lanes["large"].engine.name if "large" in self._lanes else None,
            thinks=self.pair.markers is not None,
            prompt_tokens=len(next(iter(self._lanes.values())).ids),
        )
        notices, self._notices = self._notices, []
        if objection := self.pair.objection(question):
            notices.append(objection)
        return self._run(turn, [*([TakenBack()] if instead else []), started, *map(Notice, notices)])

    def _begin_turn(self, history: list[Exchange], question: str) -> Turn:
        """Put a conversation and a question before the models; nothing is computed yet."""
        messages = [
            Message(role=role, content=text)
            for exchange in history
            for role, text in zip(("user", "assistant"), exchange, strict=True)
        ]
        messages.append(Message(role="user", content=question))
        prompts = {model: lane.prompts.prompt(messages) for model, lane in self._lanes.items()}
        for model, lane in self._lanes.items():
            if len(prompts[model]) + _MINIMUM_ROOM > lane.engine.context:
                more = lane.engine.context < lane.engine.trained_context
                raise PromptTooLongError(
                    f"the conversation takes {len(prompts[model]):,} tokens: with {_MINIMUM_ROOM} for an answer, more "
                    f"than the context of {lane.engine.name} holds ({lane.engine.context:,})",
                    hint=f"give it more with --ctx, up to {lane.engine.trained_context:,}"
                    if more
                    else "shorten the question, or begin a new session",
                )
        # Only a model that cannot go back to any length has to know where the next turn will branch off. All are asked
        # before the first begins: a template may fail.
        stable = {
            model: 0 if lane.engine.keeps_past else lane.prompts.stable_length(messages, prompts[model])
            for model, lane in self._lanes.items()
        }
        for model, lane in self._lanes.items():
            lane.begin(prompts[model], stable=stable[model])
        markers = self.pair.markers
        machine = StepMachine(None if markers is None else markers.close.encode())
        turn = Turn(question, Position("reply" if markers is None else "thought", machine))
        self.history, self._turn = history, turn
        self._answer_now.clear()
        return turn

    def restore(
        self, question: str, steps: Sequence[Step], *, thought_end: ThoughtEnd | None, finish: FinishReason | None
    ) -> None:
        """Take up a saved turn, so that it can be gone on with (`resume`) or written anew from a step (`redo`).

        Nothing is computed: what the models do not hold they read when its next step is due. `finish` is None
        where the turn was left in the middle. Of a turn that a pair of another kind has written (one that thinks, one
        that does not) only the answer is taken up, into `history`. Raises PromptTooLongError like `ask`.
        """
        self._check_idle()
        turn = self._begin_turn(self.exchanges, question)
        begun = turn.position.part
        if any(step.part not in {begun, "answer"} for step in steps):
            turn.finish = "cancelled"
            if answer := answer_of(steps):
                self.history, self._turn = [*self.history, (question, answer)], None
            return
        for step in steps:
            if step.part == "answer" and turn.position.part == "thought":
                self._close_thought(turn, thought_end or "budget")
            self._take_up(turn, step)
        if thought_end is not None and turn.position.part == "thought":
            self._close_thought(turn, thought_end)
        turn.finish = finish or turn.finish or "cancelled"

    def _take_up(self, turn: Turn, step: Step) -> None:
        """Put a step that was written before behind the transcript."""
        position = turn.position
        position.lengths = {model: len(lane.ids) for model, lane in self._lanes.items()}
        turn.marks.append(position.copy())
        raw = step.text.encode()
        if position.part != "thought":
            position.answer += step.text
        elif step.end == "thought_end" and self.pair.markers is not None:
            raw += self.pair.markers.close.encode() + b"\n\n"
        if position.part != "answer":
            position.machine.feed(raw)
        for lane in self._lanes.values():
            lane.take_up(raw)
        position.written += step.tokens
        position.tail = raw[-1:] or position.tail
        turn.steps.append(step)
        self._advance(turn, step)

    def redo(self, index: int, model: Model | None = None) -> Events:
        """Write step `index` of the last turn again, with the other model (or `model`), and go on from there.

        Yields Rewound, then events like `ask`. Raises UsageError where there is no such step or model.
        """
        self._check_idle()
        turn = self._last_turn()
        if not 0 <= index < len(turn.steps):
            raise UsageError(f"there is no step {index} to write again: the last turn has {len(turn.steps)}")
        model = model or ("small" if turn.steps[index].model == "large" else "large")
        if model not in self._lanes:
            raise UsageError(f"the {model} model is not loaded (policy {self.policy.name})")
        turn.position = turn.marks[index].copy()
        del turn.steps[index:], turn.marks[index:]
        for name, lane in self._lanes.items():
            lane.cut(turn.position.lengths[name])
        turn.forced = Decision(model, "redo")
        return self._run_again(turn, [Rewound(index)])

    def resume(self) -> Events:
        """Go on with a turn that was cancelled; yields events like `ask`, without Started.

        Raises UsageError where the turn has come to its end.
        """
        self._check_idle()
        turn = self._last_turn()
        if not self.can_resume:
            raise UsageError(f"there is nothing to go on with: the last turn is over ({turn.finish})")
        return self._run_again(turn, [])

    @property
    def can_resume(self) -> bool:
        """Was the last turn left before its end?"""
        return self._turn is not None and self._turn.finish in {None, "cancelled", "failed"}

    def cancel(self) -> None:
        """Stop the run before its next token, keeping everything. Callable from any thread."""
        if self._turn is not None and self._turn.finish is None:
            self._cancel.set()

    def answer_now(self) -> None:
        """End the thought before its next token and write the answer. Callable from any thread."""
        self._answer_now.set()

    def force(self, model: Model | None) -> None:
        """Let `model` write the next step, whatever the policy says (None takes it back). Callable from any thread."""
        if model is not None and model not in self._lanes:
            raise UsageError(f"there is no model {model!r} to force a step on")
        self._forced = model

    def look(self, model: Model, aside: str = "") -> npt.NDArray[np.float32]:
        """Show what a model would write next: its raw logits, shape (vocabulary,), float32, a copy.

        The model reads what it has missed, and `aside` behind it, which is no part of the transcript. May be called
        between two events. Raises UsageError where the model is not loaded, ContextFullError where `aside` has no room,
        and what else `Engine.feed` raises.
        """
        if model not in self._lanes:
            raise UsageError(f"the {model} model is not loaded (policy {self.policy.name})")
        lane = self._lanes[model]
        lane.catch_up()
        if not aside:
            return lane.engine.logits().copy()
        lane.engine.snapshot()  # where the architecture cannot go back by itself
        try:
            lane.engine.feed(lane.prompts.handed_over(aside.encode()))
            return lane.engine.logits().copy()
        finally:
            lane.engine.rewind(len(lane.ids))

    # How a turn goes.

    def _run_again(self, turn: Turn, first: list[AnyEvent]) -> Events:
        turn.finish = None
        self._answer_now.clear()
        return self._run(turn, first)

    def _check_idle(self) -> None:
        if self._busy:
            raise UsageError("a question is still being answered: read its events to the end, or close them")

    def _run(self, turn: Turn, first: list[AnyEvent]) -> Events:
        self._check_idle()
        if turn is not self._turn:
            raise UsageError("another question was asked before these events were read")
        self._busy = True
        turn.began = perf_counter()
        try:
            yield from first
            yield from self._write_all(turn)
        finally:
            self._busy = False
            turn.seconds += perf_counter() - turn.began
            for lane in self._lanes.values():
                lane.engine.stop_reading()
            self._cancel.clear()
            self._forced = None
        answer = turn.position.answer.rstrip()
        yield Answer(answer, last_boxed(answer))
        assert turn.finish is not None
        yield Finished(turn.finish, turn.position.thought_end, turn.stats(self._lanes.values()))

    def _write_all(self, turn: Turn) -> Iterator[AnyEvent]:
        while turn.finish is None:
            try:
                if turn.position.part == "thought" and (reason := self._thought_is_over(turn)):
                    yield self._close_thought(turn, reason)
                elif turn.position.part != "thought" and turn.position.written >= self.pair.config.max_answer:
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

    def _thought_is_over(self, turn: Turn) -> ThoughtEnd | None:
        if self._answer_now.is_set():
            return "user"
        if turn.position.written >= self.pair.config.max_thought:
            return "budget"
        return "context_full" if self._writer.thought_room() <= 0 else None

    def _close_thought(self, turn: Turn, reason: ThoughtEnd) -> AnyEvent:
        """Close a thought that the model did not close itself."""
        for lane in self._lanes.values():
            lane.ids.extend(lane.prompts.close(turn.position.tail))
        turn.position.machine, turn.position.carry = StepMachine(), b""
        return self._begin_answer(turn.position, reason)

    def _begin_answer(self, position: Position, reason: ThoughtEnd) -> AnyEvent:
        position.part, position.thought_end = "answer", reason
        position.loops = LoopDetector()
        position.written = position.strikes = 0
        self._answer_now.clear()
        return ThoughtEnded(reason)

    def _step(self, turn: Turn) -> Iterator[AnyEvent]:
        """Decide who writes the next step, and write it."""
        position = turn.position
        position.lengths = {model: len(lane.ids) for model, lane in self._lanes.items()}
        mark = position.copy()
        began = perf_counter()
        decision, seen, fed = self._decide(turn)
        lane = self._lanes[decision.model]
        draft = turn.begin_step(decision, seen, began, fed)
        turn.marks.append(mark)
        consequences: list[AnyEvent] = []
        try:
            yield draft.started
            yield from self._writer.write(turn, lane, draft)
        finally:
            # Also when the reader walks away in mid-step: what was written is kept, and both models get to know it.
            self._writer.hand_over(lane, draft)
            lane.steps += bool(draft.tokens)
            position.written += len(draft.tokens)
            position.tail = bytes(draft.raw[-1:]) or position.tail
            step = draft.finish()
            turn.steps.append(step)
            consequences.extend(self._advance(turn, step))
        yield StepEnded(step)
        if lane.drafts is not None and (news := lane.drafts.news()):
            yield Notice(news)
        if news := lane.engine.news:
            yield Notice(news)
        yield from consequences

    def _decide(self, turn: Turn) -> tuple[Decision, Glimpse | None, Fed]:
        """Glimpse and route. Where the small model is asked, it is in sync afterwards."""
        config, position = self.pair.config, turn.position
        forced = turn.forced
        if position.part == "answer" and config.answer_by != "route":
            writer: Model = config.answer_by if config.answer_by in self._lanes else next(iter(self._lanes))
            turn.forced = None
            return forced or Decision(writer, "answer"), None, Fed()
        small, seen, fed = self._lanes.get("small"), None, Fed()
        if small is not None and self._policy.glimpses:
            fed = small.catch_up()
            start = perf_counter()
            try:
                seen = glimpse(small.engine.logits(), top_k=config.top_k)
            except ValueError as error:
                raise DecodeError(f"{small.engine.name}: {error}; its file or its quantisation is damaged") from error
            turn.glimpse_seconds += perf_counter() - start
        decision = self._policy.decide(seen)
        asked, self._forced, turn.forced = self._forced, None, None
        if forced is not None:
            decision = forced
        elif asked in self._lanes:
            decision = Decision(asked, "user")
        elif position.strikes and "large" in self._lanes:
            decision = Decision("large", "loop")
        return decision, seen, fed

    def _advance(self, turn: Turn, step: Step) -> list[AnyEvent]:
        """Draw the consequences of a step's end; give the events that tell them."""
        position, end = turn.position, step.end
        thinking = position.part == "thought"
        if end == "blank_line" or end == "cap":  # noqa: PLR1714 - the type checker follows only this form
            if end == "cap":
                position.machine.cap()
            position.strikes = position.strikes + 1 if position.loops.add(step.text) else 0
            if position.strikes >= _STRIKES and thinking:
                return [self._close_thought(turn, "loop")]
            if position.strikes >= _STRIKES:
                turn.finish = "loop"
        elif end == "thought_end":
            return [self._begin_answer(position, "closed")]
        elif end == "cancelled":
            turn.finish = "cancelled"
        elif end == "failed":
            turn.finish = "failed"
            return [Notice(turn.failure)]
        elif thinking:
            return [self._close_thought(turn, end)]
        else:
            turn.finish = _FINISHES[end]
        return []

    def _last_turn(self) -> Turn:
        if self._turn is None:
            raise UsageError("nothing was asked yet")
        return self._turn

    @property
    def last_turn(self) -> Turn | None:
        """The last turn as it stands; None where nothing was asked."""
        return self._turn

    @property
    def exchanges(self) -> list[Exchange]:
        """The conversation: questions and their answers, the last turn's included where it has one."""
        answer = "" if self._turn is None else self._turn.position.answer.rstrip()
        return [*self.history, *([(self._turn.question, answer)] if self._turn and answer else [])]
