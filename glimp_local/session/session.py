"""A conversation with a pair: questions in, typed events out.

A session speaks text and knows nothing about tokens, terminals or files. One thread at a time reads its events;
`cancel`, `force` and `answer_now` may be called from any thread, and take effect before the next token.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

from glimp_local.engines.protocol import Lane, Peeks, Piece
from glimp_local.errors import CancelledError, UsageError
from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    Notice,
    Rewound,
    Selected,
    TakenBack,
    last_boxed,
)
from glimp_local.messages import Constraint, Message, Tool
from glimp_local.pair import Pair
from glimp_local.routing import Decision, Model, Policy
from glimp_local.session.asking import (
    Prompts,
    as_messages,
    make_loop,
    not_loaded,
    prepared,
    started,
    without_last_question,
)
from glimp_local.session.loop import Loop, Steering
from glimp_local.session.turn import Activity, Turn
from glimp_local.session.versions import Version, new_id, versions_of
from glimp_local.settings import RunSettings
from glimp_local.tree import Tree

Events = Generator[AnyEvent, None, None]
"""The events of a run, as they happen. Closing it keeps what was written; `resume` continues."""

_DOES_NOT_DRAFT = "the small model does not draft for the large one: "

_SEEDS = 2**32
"""Number of seeds llama.cpp's sampler knows."""


class _Entrance(NamedTuple):
    """A version of a turn that the conversation can go to, and all that is needed for it."""

    version: Version
    turn: Turn
    loop: Loop
    prompts: Prompts


class Session:
    """A conversation with a pair of models.

        with load_pair("qwen3-0.6b-4b") as pair:
            session = Session(pair)
            for event in session.ask("How many primes are there below 30?"):
                print(event)

    The pair stays its owner's: the session does not close it. Several sessions may share a pair and take turns: a run
    has the pair to itself from its first event to its last. A second run is refused meanwhile, or waits if `wait` is
    given; nothing of one session (sampling, seed, cancel, policy, transcript) reaches another.

    `settings` replace those of the pair's configuration. `seed` makes sampling and random routing reproducible (to the
    last token if drafting is off, catch-up lazy and the number of threads set: other batches and threads round
    otherwise); without it one is drawn and shown in the Started event. `policy` replaces the one the settings ask for;
    of the pair's models the session uses those the policy can choose. `history` is a conversation to continue, which
    may begin with a system message. `may_redo` makes `redo` quick with recurrent and hybrid models: they remember
    where the latest steps began. `cancel` is the event that `cancel()` sets, if there is one already. `tools` are shown
    to the models, whose chat templates have to know tools; `constraint` is what answers have to look like. With
    `is_raw` a question is a text to be continued as it is, without a chat template, a thought or what was said before.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        settings: RunSettings | None = None,
        seed: int | None = None,
        policy: Policy | None = None,
        history: Iterable[Message] = (),
        cancel: threading.Event | None = None,
        wait: bool = False,
        may_redo: bool = False,
        tools: Sequence[Tool] = (),
        constraint: Constraint | None = None,
        is_raw: bool = False,
    ) -> None:
        self.pair = pair
        self.seed = secrets.randbits(31) if seed is None else seed
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"a seed is a number from 0 to {_SEEDS - 1}, not {seed}")
        self.history = list(history)
        """The conversation before the last turn, without thoughts."""
        self._settings = settings or pair.config.run
        self._notices = list(pair.notices)
        self._steering = Steering(cancel or threading.Event())
        self._owns_cancel = cancel is None
        self._wait = wait
        self._may_redo = may_redo
        self._tools, self._constraint, self._is_raw = tools, constraint, is_raw
        self._turn: Turn | None = None
        self._versions: dict[str, Version] = {}
        """By their ids, those of all turns; of the last turn, as it was when the conversation came to it."""
        self._followed: set[str] = set()
        """The ids of those that another question was asked behind."""
        self._busy = False  # are the events of a run being read, or does one wait for the pair?
        self._is_preparing = False  # is a prompt being made?
        self._is_asked = False  # is there a run whose events have not come to an end?
        self._asked = self._cancelled = 0  # number of the run that was asked for last, and of the one cancelled last
        self._warned = False
        self._loop = self._turn_loop = self._make_loop(policy or pair.policy(self._settings, self.seed))
        """The loops of the next turn and of the last one: settings may have changed between them."""

    def _make_loop(self, policy: Policy) -> Loop:
        loop, self._obstacle = make_loop(
            self.pair,
            self._settings,
            policy,
            self._steering,
            self.seed,
            may_redo=self._may_redo,
            constraint=self._constraint,
            is_raw=self._is_raw,
        )
        self._warn(loop)
        return loop

    def _warn(self, loop: Loop) -> None:
        """Note, once, that drafting was asked for and cannot be done."""
        is_wanted = not isinstance(loop.settings.draft, str) or loop.policy.name == "speculative"
        if self._obstacle is not None and is_wanted and not self._warned:
            self._warned = True
            self._notices.append(_DOES_NOT_DRAFT + self._obstacle)

    @property
    def _lanes(self) -> dict[Model, Lane]:
        """Those of the conversation as it stands."""
        return self._turn_loop.lanes

    @property
    def settings(self) -> RunSettings:
        """The settings of the next question. Setting them begins the policy and the random numbers again."""
        return self._settings

    @settings.setter
    def settings(self, settings: RunSettings) -> None:
        self._check_idle()
        before, self._settings = self._settings, settings
        try:
            self._loop = self._make_loop(self.pair.policy(settings, self.seed))
        except UsageError:
            self._settings = before
            raise
        if self._turn is None:
            self._turn_loop = self._loop

    @property
    def policy(self) -> Policy:
        """Who decides. A new one counts from the next step, or the next question if the present turn lacks a model.

        Raises UsageError if it needs one that is not loaded.
        """
        return self._loop.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        if missing := set(policy.models) - set(self._loop.lanes):
            raise not_loaded(policy, missing.pop())
        self._loop.policy = policy
        if set(policy.models) <= set(self._turn_loop.lanes):
            self._turn_loop.policy = policy  # it may be another one since the settings were changed
        self._warn(self._loop)

    @property
    def drafting_obstacle(self) -> str | None:
        """What keeps the small model from drafting for the large one; None if nothing does."""
        return self._obstacle

    # What a user can ask for.

    def ask(self, question: str | Sequence[Message], *, instead: bool | str = False, opening: str = "") -> Events:
        """Answer a question; yields events from Started to Finished, with `instead` TakenBack before them.

        `question` is a text, or messages that end with the user's, or with what tools have returned. The answer begins
        with `opening`. What the models have read of the conversation is used again; earlier thoughts are left out. A
        narrow pair (`only` in its models.toml) reads each question alone. `instead` puts the question in the place of
        the last one, or of the turn whose version has this id (`Started.turn`). What stood there, and behind it, is
        kept: `select` goes back.

        A question that is not for a narrow pair is answered with a Notice; `pair.objection` says so before it is asked.

        Raises PromptTooLongError if the conversation leaves no room for an answer, UsageError if there is no question,
        or none to be replaced, or if another session is using the pair, ModelUnreadableError if a chat template fails
        on this conversation, and CancelledError if `cancel` stops that; then nothing has changed.
        """
        asked = as_messages(question)
        self._check_idle()
        replaced = instead if isinstance(instead, str) else None if self._turn is None else self._turn.id
        history = self._before(replaced) if instead else self.messages
        loop = self._loop
        turn, prompts = self._prepare(loop, history, asked, opening)

        def begin() -> list[AnyEvent]:
            if self._turn is not None and not instead:
                self._followed.add(self._turn.id)
            self._begin(loop, turn, prompts, history)
            notices, self._notices = self._notices, []
            if objection := self.pair.objection(turn.question):
                notices.append(objection.words)
            first = started(self.pair, loop, turn, [*history, *asked], self.seed)
            return [*([TakenBack(replaced)] if instead else []), first, *map(Notice, notices)]

        return self._run(turn, loop, begin)

    def _before(self, turn: str | None) -> list[Message]:
        """Return the conversation before the question of a version; before the last question, if there is none."""
        if turn is None:
            return without_last_question(self.history)
        version = self._version(turn)
        return [*version.history, *version.messages[:-1]]

    def _prepare(
        self, loop: Loop, history: Sequence[Message], asked: Sequence[Message], opening: str
    ) -> tuple[Turn, Prompts]:
        if self.pair.config.only is not None:  # a narrow pair answers each question by itself
            history = [message for message in history if message.role == "system"]
        self._is_preparing = True
        try:
            prompts = prepared(self.pair, loop, [*history, *asked], self._tools, is_raw=self._is_raw)
        except CancelledError:
            self._steering.cancel.clear()
            raise
        finally:
            self._is_preparing = False
        tokens = next(iter(prompts.values())).tokens
        return Turn(asked, loop.first_position(), opening=opening, prompt_tokens=tokens), prompts

    def _begin(self, loop: Loop, turn: Turn, prompts: Prompts, history: list[Message]) -> None:
        """Put a conversation and a question before the models; nothing is computed yet."""
        loop.begin(turn, prompts)
        self._keep()
        self.history, self._turn, self._turn_loop = history, turn, loop
        self._steering.answer_now.clear()

    def _keep(self) -> None:
        """Keep the last turn as it stands."""
        if self._turn is not None and not self._turn.is_foreign:
            self._versions[self._turn.id] = self._turn.version(self.history)

    def _version(self, turn: str) -> Version:
        self._keep()
        if turn not in self._versions:
            raise UsageError(f"this conversation has no version {turn!r} of a turn")
        return self._versions[turn]

    def restore(self, tree: Tree) -> None:
        """Restore a saved conversation behind what there is; its last turn can be continued and written again.

        All versions of its turns are known from then on: `ask`, `redo` and `select` take their ids. Nothing is
        computed: what the models do not hold they read when their next step is due. Raises PromptTooLongError like
        `ask`.
        """
        self._check_idle()
        self._versions |= versions_of(tree, self.messages)
        self._followed |= {run.behind for run in tree.versions.values() if run.behind is not None}
        if tree.at is not None:
            self._enter(self._entrance(tree.at))

    def select(self, turn: str) -> Selected:
        """Go to a version of a turn, by its id, and to the conversation that leads to it; continue behind it.

        Nothing is computed; return the event that reports it. What the conversation was until now is kept. Raises
        UsageError if there is no such version, and PromptTooLongError like `ask`.
        """
        self._check_idle()
        if not self._is_last(turn):
            self._enter(self._entrance(turn))
        return Selected(turn)

    def _is_last(self, turn: str) -> bool:
        """Is this the version of a turn that the conversation ends with?"""
        return self._turn is not None and self._turn.id == turn

    def _entrance(self, id_: str) -> _Entrance:
        """Prepare going to a version."""
        version, loop = self._version(id_), self._loop
        turn, prompts = self._prepare(loop, version.history, version.messages, version.opening)
        turn.id = id_
        turn.is_foreign = any(step.part not in {turn.position.part, "answer"} for step in version.steps)
        return _Entrance(version, turn, loop, prompts)

    def _enter(self, entrance: _Entrance) -> None:
        """Put a version of a turn before the models."""
        self._asked += 1  # what was asked for and not begun is of the conversation as it was
        version, turn, loop, prompts = entrance
        self._begin(loop, turn, prompts, list(version.history))
        if not turn.is_foreign:
            loop.restore(turn, version)
        else:
            turn.position.answer = version.answer
            turn.finish = "done" if version.answer else "cancelled"

    def redo(self, index: int, model: Model | None = None, *, turn: str | None = None) -> Events:
        """Write step `index` of a turn again, with the other model (or `model`), and continue from there.

        The turn is the last one, or the one whose version has the id `turn`. As it was, with what stands behind it, it
        is kept: `select` goes back. Yields Rewound, then events like `ask`. Raises UsageError if there is no such step,
        model or version, or if a pair of another kind has written it, and PromptTooLongError like `ask`.
        """
        self._check_idle()
        entrance = None if turn is None or self._is_last(turn) else self._entrance(turn)
        again = self._last_turn() if entrance is None else entrance.turn
        loop = self._turn_loop if entrance is None else entrance.loop
        steps = self._version(again.id).steps
        if again.is_foreign:
            what = "a pair of another kind has written this turn (one of the two thinks, the other does not)"
            raise UsageError(f"{what}: its steps cannot be written again", hint="ask its question again")
        if not 0 <= index < len(steps):
            raise UsageError(f"there is no step {index} to write again: the turn has {len(steps)}")
        model = model or ("small" if steps[index].model == "large" else "large")
        if model not in loop.lanes:
            raise UsageError(f"the {model} model is not loaded (policy {loop.policy.name})")

        def begin() -> list[AnyEvent]:
            if entrance is not None:
                self._enter(entrance)
            rewound = self._in_another_version(again, index)
            loop.rewind(again, index)
            self._reopen(again)
            again.forced = Decision(model, "redo")
            return [rewound]

        return self._run(again, loop, begin)

    def _in_another_version(self, turn: Turn, index: int) -> Rewound:
        """Keep a turn as it stands, and let it be another version that differs from step `index` on."""
        self._keep()
        of, turn.id, turn.is_foreign = turn.id, new_id(), False
        return Rewound(index, turn.id, of)

    def resume(self) -> Events:
        """Continue a turn that was cancelled; yields events like `ask`, without Started.

        One that a pair of another kind has left without an answer is written again, after a Rewound; so is one that
        another question was asked behind, from where it was left: what stands there was asked without its end. Raises
        UsageError if the turn has come to its end.
        """
        self._check_idle()
        turn = self._last_turn()
        if not self.can_resume:
            raise UsageError(f"there is nothing to resume: the last turn is over ({turn.finish})")

        def begin() -> list[AnyEvent]:
            self._reopen(turn)
            if turn.is_foreign:
                return [self._in_another_version(turn, 0)]
            if turn.id in self._followed:
                return [self._in_another_version(turn, len(self._version(turn.id).steps))]
            return []

        return self._run(turn, self._turn_loop, begin)

    @property
    def can_resume(self) -> bool:
        """Was the last turn left before its end?"""
        return self._turn is not None and self._turn.finish in {None, "cancelled", "failed"}

    def cancel(self) -> None:
        """Stop the run before its next token, keeping everything. Callable from any thread."""
        if self._is_preparing:
            self._steering.cancel.set()
        elif self._is_asked:
            self._cancelled = self._asked
            self._steering.cancel.set()

    @property
    def is_running(self) -> bool:
        """Is a run under way, or about to begin?"""
        return self._is_asked

    @property
    def is_cancelled(self) -> bool:
        """Was the run cancelled, and has not stopped yet?"""
        return self._steering.cancel.is_set()

    def answer_now(self) -> None:
        """End the thought before its next token and write the answer. Callable from any thread."""
        self._steering.answer_now.set()

    def force(self, model: Model | None) -> None:
        """Let `model` write the next step, whatever the policy says (None takes it back). Callable from any thread."""
        if model is not None and model not in self._lanes:
            raise UsageError(f"there is no model {model!r} to force a step on")
        self._steering.forced = model

    def peek(self, model: Model, continuations: Sequence[bytes], *, aside: bytes = b"") -> list[float]:
        """Return the log-probability (nats) of each continuation as a model's next token (see `Peeks.peek`).

        May be called between two events. Raises UsageError if the model is not loaded or cannot estimate this,
        ContextFullError if `aside` has no room, and what else reading raises.
        """
        with self._peeking(model) as lane:
            return lane.peek(continuations, aside=aside)

    def likeliest(self, model: Model) -> Piece:
        """Return the token that a model finds likeliest to come next; raises what `peek` raises."""
        with self._peeking(model) as lane:
            return lane.likeliest()

    @contextmanager
    def _peeking(self, model: Model) -> Iterator[Peeks]:
        lane = self._lanes.get(model)
        if lane is None:
            raise UsageError(f"the {model} model is not loaded (policy {self._turn_loop.policy.name})")
        self._last_turn()  # without one there is no text that could be continued
        if not isinstance(lane, Peeks):
            raise UsageError(f"{self.pair.backends[model].name} does not tell how likely a continuation is")
        if self._busy:
            yield lane
            return
        with self.pair.run(self._steering.cancel, wait=self._wait) as is_mine:
            if not is_mine:
                raise CancelledError("cancelled while waiting for the models")
            yield lane

    # How a run goes.

    def _reopen(self, turn: Turn) -> None:
        turn.finish = turn.lost = None
        self._steering.answer_now.clear()

    def _check_idle(self) -> None:
        if self._busy:
            raise UsageError("a question is still being answered: read its events to the end, or close them")

    def _run(self, turn: Turn, loop: Loop, begin: Callable[[], list[AnyEvent]]) -> Events:
        """Return the events of a run; nothing changes before the first of them is asked for."""
        self._asked += 1
        self._is_asked = True
        return self._events(self._asked, turn, loop, begin)

    def _events(self, number: int, turn: Turn, loop: Loop, begin: Callable[[], list[AnyEvent]]) -> Events:
        self._check_idle()
        if number != self._asked:
            raise UsageError("another question was asked before these events were read")
        steering = self._steering
        if self._owns_cancel and self._cancelled != number:
            steering.cancel.clear()  # it was for a run that never began
        self._busy = True
        try:
            with self.pair.run(steering.cancel, wait=self._wait) as is_mine:
                turn.began = perf_counter()
                try:
                    yield from begin()
                    if is_mine:
                        yield from loop.run(turn)
                    else:
                        turn.finish = "cancelled"
                finally:
                    turn.seconds += perf_counter() - turn.began
                    for lane in loop.lanes.values() if is_mine else ():
                        lane.rest()
                stats = turn.stats(loop.lanes)
        finally:
            self._busy = self._is_asked = False
            if self._owns_cancel or turn.finish == "cancelled":
                steering.cancel.clear()  # one that came after the last token is for whoever set it
            steering.forced = None
        answer = turn.position.answer[len(turn.opening) :].rstrip()
        yield Answer(answer, last_boxed(answer))
        assert turn.finish is not None
        yield Finished(turn.finish, turn.position.thought_end, stats)

    def _last_turn(self) -> Turn:
        if self._turn is None:
            raise UsageError("nothing was asked yet")
        return self._turn

    @property
    def last_turn(self) -> Turn | None:
        """The last turn as it stands; None if nothing was asked."""
        return self._turn

    @property
    def messages(self) -> list[Message]:
        """The conversation: the last turn's question and answer included if it has one."""
        if self._turn is None:
            return list(self.history)
        if answer := self._turn.position.answer.rstrip():
            return [*self.history, *self._turn.messages, Message("assistant", answer)]
        # A question without an answer is not asked again with the next one; what was said with it stays said.
        return [*self.history, *self._turn.messages[:-1]]

    def activity(self) -> Activity | None:
        """Return what is being computed at this moment; None if it is nothing that takes long. For any thread."""
        turn = self._turn
        draft = turn.draft if turn is not None else None
        if draft is not None and draft.tokens:  # a model that drafts reads meanwhile
            speed = draft.tokens_per_second()
            return Activity(draft.started.model, "writes", draft.tokens, tokens_per_second=speed)
        for model, lane in self._lanes.items():
            if (reading := lane.reading) is not None:
                return Activity(model, "reads", *reading)
        return None

    def speeds(self) -> dict[Model, float]:
        """Return the tokens per second at which each model has written in this turn; 0 for one that has not."""
        return {model: lane.stats().tokens_per_second for model, lane in self._lanes.items()}

    def contexts(self) -> dict[Model, tuple[int, int]]:
        """Return the tokens each model's transcript takes, and the most it may take."""
        return {model: (lane.context - lane.room, lane.context) for model, lane in self._lanes.items()}
