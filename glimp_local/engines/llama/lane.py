"""A llama.cpp model's side of a conversation: the transcript in its tokens, the token loop, the account of its work.

`ids` is what the model should have read, `engine.ids` what it has; `catch_up` closes the gap. The last token a model
writes is not computed until it is needed: behind a large step it then goes into one batch with what the small model
writes next. Several lanes may share an engine and use it in turns: each claims it before it computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from glimp_local.engines import glimpse
from glimp_local.engines.characters import ASCII, HalfCharacters
from glimp_local.engines.llama.account import Account
from glimp_local.engines.llama.drafting import Drafts, ModelDrafter
from glimp_local.engines.llama.grammar import Grammar
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.engines.protocol import Fed, Lane, Piece, Prompt, Stop
from glimp_local.errors import CancelledError, DecodeError
from glimp_local.events import ModelStats
from glimp_local.messages import Constraint, Message, Tool
from glimp_local.routing import Glimpse
from glimp_local.settings import RunSettings, ThinkingMarkers

if TYPE_CHECKING:
    from glimp_local.engines.llama.backend import LlamaBackend

_CHUNK = 16
"""A model reads along once this many tokens are new to it: fewer are not worth a batch."""


class PromptTokens(NamedTuple):
    """A prompt as a model reads it."""

    ids: list[int]
    stable: int = 0
    """Tokens at the beginning that the next prompt has, too: a snapshot is taken behind them. 0 takes none."""
    lasting: int | None = None
    """Tokens of the text at the end of the turn that begin the next prompt, approximately; None is all."""
    goes_on: bool = False
    """Is there an answer in it?"""


class LlamaLane(Lane):
    """One conversation on a `LlamaBackend`'s engine."""

    def __init__(self, backend: LlamaBackend, settings: RunSettings, *, seed: int, cancel: threading.Event) -> None:
        self.backend = backend
        self.engine = backend.engine
        self.ids: list[int] = []
        self.drafts: Drafts | None = None
        """Guesses at what this model writes; None if it computes each token by itself."""
        self._cancel = cancel
        self._sampler = Sampler(settings.sampling, seed=seed, vocabulary_size=self.engine.vocabulary.size)
        self._settings = settings
        self._drafts_for: LlamaLane | None = None
        self._is_new = False  # has a turn begun, and the engine was not used for it yet?
        if settings.draft != "off" and self.engine.most_drafted:
            self.drafts = Drafts(backend.economy, fixed=None if settings.draft == "auto" else settings.draft)
        self._grammar: Grammar | None = None
        self._answer: int | None = None  # where it begins
        self._start(PromptTokens([]))

    # The transcript.

    def prepare(
        self, messages: Sequence[Message], markers: ThinkingMarkers | None, *, tools: Sequence[Tool] = ()
    ) -> Prompt:
        """Make a prompt; see `Lane.prepare`."""
        builder = PromptBuilder(self.backend.template, self.engine.vocabulary, markers)
        ids = builder.prompt(messages, tools=tools, cancel=self._cancel)
        # Only a model that cannot go back to any length has to know where the next turn will branch off.
        stable = 0
        if not self.engine.keeps_past:
            stable = builder.stable_length(messages, ids, tools=tools, cancel=self._cancel)
        # Behind a thought nothing lasts: the next prompt has the answer without it.
        lasting = None if markers is None else len(ids)
        goes_on = any(message.role == "assistant" for message in messages)
        return Prompt(len(ids), PromptTokens(ids, stable, lasting, goes_on))

    def prepare_text(self, text: str) -> Prompt:
        """Make a prompt of a text as it is; see `Lane.prepare_text`."""
        vocabulary = self.engine.vocabulary
        ids = vocabulary.tokenize(text, control=True)
        if vocabulary.adds_bos and ids[:1] != [vocabulary.bos]:
            ids.insert(0, vocabulary.bos)
        return Prompt(len(ids), PromptTokens(ids))

    def begin(self, prompt: Prompt) -> None:
        """Begin a turn."""
        self._start(prompt.content)
        self._is_new = True

    def constrain(self, constraint: Constraint) -> None:
        """Have all answers look like this; see `Lane.constrain`."""
        self._grammar = Grammar(self.engine.vocabulary, constraint)

    def begin_answer(self) -> None:
        """Note that the answer begins here."""
        self._answer = len(self.ids)

    def _start(self, prompt: PromptTokens) -> None:
        self.ids = list(prompt.ids)
        self._prompt = prompt
        self._stable = prompt.stable  # 0 once the snapshot is taken
        self._owed: int | None = None  # place of the last token this model wrote, until it is computed
        self._remembers = False
        self._answer = None
        self._account = Account(self.engine, len(prompt.ids))
        if self.drafts is not None:
            self.drafts.begin_turn()

    @property
    def context(self) -> int:
        """Most tokens of the conversation."""
        return self.engine.context

    @property
    def room(self) -> int:
        """Tokens that still fit into the context."""
        return self.engine.context - len(self.ids)

    @property
    def fed(self) -> Fed:
        """What it was fed in this turn that was neither the prompt nor its own."""
        return self._account.missed

    @property
    def glimpse_seconds(self) -> float:
        """Spent on measuring entropies in this turn."""
        return self._account.glimpse_seconds

    def append(self, raw: bytes, *, own: bool = False) -> None:
        """Put text of others behind the transcript; see `Lane.append`."""
        if raw and self.engine.is_open:  # a pair may be closed in mid-step: then nobody reads this any more
            self.ids.extend(self.engine.vocabulary.tokenize(raw, control=own, continues=True))

    def append_ids(self, ids: Sequence[int]) -> bool:
        """Put tokens behind the transcript; one of two vocabularies that count as one may have padding on top."""
        if max(ids, default=0) >= self.engine.vocabulary.size:
            return False
        self.ids.extend(ids)
        return True

    def recall(self, raw: bytes) -> None:
        """Put text behind the transcript in the tokens that the cache holds, as far as it holds it, else cut here."""
        engine = self.engine
        if len(engine.ids) > len(self.ids) and engine.ids[: len(self.ids)] == self.ids:
            for token in engine.ids[len(self.ids) :]:
                piece = engine.vocabulary.piece(token)
                if not piece or not raw.startswith(piece):
                    break
                self.ids.append(token)
                raw = raw[len(piece) :]
        self.append(raw)

    def remember(self) -> None:
        """Have the engine remember this place, if it cannot go back by itself, when it has read so far."""
        self._remembers = True

    def mark(self) -> int:
        """Return the length of the transcript."""
        return len(self.ids)

    def cut(self, mark: int) -> None:
        """Go back to the first `mark` tokens of the transcript."""
        del self.ids[mark:]
        self._owed, self._remembers = None, False
        if self._answer is not None and mark < self._answer:
            self._answer = None
        if self.drafts is not None:
            self.drafts.cut(mark)

    # Reading.

    @property
    def reading(self) -> tuple[int, int] | None:
        """How far it has read what it reads now; see `Lane.reading`."""
        return None if self.engine.reads_ahead else self.engine.reading

    def catch_up(self) -> None:
        """Bring the model up to the transcript's end, in one prefill; its logits are there afterwards.

        Raises what `Engine.feed` raises.
        """
        start, engine, owed = perf_counter(), self.engine, self._owed
        self._claim()
        engine.stop_reading()
        before = engine.fed
        if self.drafts and owed is not None and len(engine.ids) == owed and engine.expects(self.ids[owed]):
            self.drafts.decode(engine, self.ids[: owed + 1])
        owes = owed is not None and len(engine.ids) <= owed
        self._owed = None
        try:
            if self._stable and not engine.comes_back_to(self.ids[: self._stable]):
                engine.sync(self.ids[: self._stable])
                engine.snapshot()
            self._stable = 0
            if self._remembers and not engine.keeps_past and len(engine.ids) < len(self.ids):
                engine.sync(self.ids[:-1])  # coming back, the last token is computed again: its logits are wanted
                engine.snapshot_step()
            self._remembers = False
            engine.sync(self.ids)
        finally:
            self._account.add(engine.fed - before, perf_counter() - start, own=int(owes))

    def _claim(self) -> None:
        self.engine.claim(self, self._cancel, may_pad=self._settings.draft != "off")
        if self._is_new and self.backend.conversations is not None:
            self.backend.conversations.begin(self.ids, lasting=self._prompt.lasting, goes_on=self._prompt.goes_on)
        self._is_new = False

    def follow(self, ids: Sequence[int]) -> None:
        """Read the transcript, and what the other model has written of its step, while that continues.

        Does nothing while it is still at it, drafts itself, finds little new, or something that only a larger
        vocabulary knows.
        """
        engine, drafts = self.engine, self._drafts_for and self._drafts_for.drafts
        if not engine.keeps_past or (drafts and drafts.by_model) or engine.reads_ahead or self._stable:
            return
        if len(self.ids) + len(ids) - len(engine.ids) < _CHUNK:
            return
        if max(ids, default=0) < engine.vocabulary.size:
            self._claim()
            engine.read_ahead([*self.ids, *ids])

    def rest(self) -> None:
        """Stop reading along."""
        self.engine.stop_reading()

    # Looking.

    def glimpse(self, top_k: int | None = None) -> Glimpse:
        """Measure how sure the model is of the next token; raises DecodeError if there is no distribution."""
        self.catch_up()
        start = perf_counter()
        try:
            return glimpse.glimpse(self.engine.logits(), top_k=top_k)
        except ValueError as error:
            raise DecodeError(f"{self.engine.name}: {error}; its file or its quantisation is damaged") from error
        finally:
            self._account.glimpse_seconds += perf_counter() - start

    def logits(self, aside: bytes = b"") -> npt.NDArray[np.float32]:
        """Return the raw logits of the next token, shape (vocabulary,), float32, a copy; `aside` is read before them.

        The transcript stays as it is. Raises ContextFullError if `aside` has no room, and what else `Engine.feed`
        raises.
        """
        if aside:
            self.remember()
        self.catch_up()
        engine = self.engine
        if not aside:
            return engine.logits().copy()
        try:
            engine.feed(engine.vocabulary.tokenize(aside, continues=True))
            return engine.logits().copy()
        finally:
            engine.rewind(len(self.ids))

    def peek(self, continuations: Sequence[bytes], *, aside: bytes = b"") -> list[float]:
        """Return the log-probability (nats) of each continuation; see `Peeks.peek`."""
        z = self.logits(aside).astype(np.float64)
        peak = z.max()
        total = peak + np.log(np.exp(z - peak).sum())
        tokens = [self.engine.vocabulary.tokenize(text, continues=True) for text in continuations]
        return [float(z[ids[0]] - total) if len(ids) == 1 else -np.inf for ids in tokens]

    def likeliest(self) -> Piece:
        """Return the likeliest next token."""
        self.catch_up()
        token = int(self.engine.logits().argmax())
        return Piece(self.engine.vocabulary.piece(token), 1, (token,))

    # Writing.

    def write(self, most: int) -> Generator[Piece, None, Stop]:
        """Write behind the transcript: the token loop; see `Lane.write`."""
        engine, cancel, account = self.engine, self._cancel, self._account
        ends, piece_of = engine.vocabulary.ends, engine.vocabulary.piece
        half = HalfCharacters()
        self.catch_up()
        draw = self._drawer()
        if self.drafts is not None:
            self.drafts.begin_step(len(self.ids))
        count = 0
        try:
            while count < most or half.ids:
                if cancel.is_set():
                    raise _cancelled()
                if count:
                    self._advance()
                start = perf_counter()
                token = draw()
                account.sample_seconds += perf_counter() - start
                if token in ends:
                    return "end"
                self._owed = len(self.ids)
                self.ids.append(token)
                count += 1
                raw = piece_of(token)
                if not half.ids and (not raw or raw[-1] < ASCII):
                    account.tokens += 1
                    yield Piece(raw, 1, (token,))
                else:
                    half.add(token, raw)
                    while piece := half.take():
                        account.tokens += piece.tokens
                        yield piece
                        if half.ids and cancel.is_set():
                            raise _cancelled()
            return "most"
        finally:
            if half.ids:  # nobody can read half a character
                self.cut(len(self.ids) - len(half.ids))

    def _drawer(self) -> Callable[[], int]:
        """Return what draws the next token: from those that a constrained answer allows, if this is one."""
        engine, sampler, grammar = self.engine, self._sampler, self._grammar
        if grammar is None or self._answer is None:
            return partial(engine.sample, sampler)
        grammar.begin(self.ids[self._answer :])

        def draw() -> int:
            token = engine.sample_within(sampler, grammar)
            if token not in engine.vocabulary.ends:
                grammar.accept(token)
            return token

        return draw

    def _advance(self) -> None:
        """Compute the last token this model wrote, so that the logits behind it are there."""
        if self._owed is None:  # somebody had a look, for which it was computed
            self.catch_up()
            return
        start = perf_counter()
        if self.drafts is None:
            self.engine.decode(self.ids[-1])
            self._account.decode_seconds += perf_counter() - start
        else:
            self._account.decode_seconds += self.drafts.decode(self.engine, self.ids)
        self._owed = None

    # Working together.

    def meet(self, other: Lane) -> str | None:
        """Let `other` draft for this lane, if drafting is on and both can."""
        if self._settings.draft == "off":
            return "drafting is off"
        if not isinstance(other, LlamaLane) or other.engine.vocabulary.difference(self.engine.vocabulary):
            return "they are not of one vocabulary, so only the text so far drafts"
        if self.drafts is None or not other.engine.keeps_past:
            stuck = self if self.drafts is None else other
            return f"{stuck.engine.name} cannot go back to where a guess was wrong"
        self.drafts.by(ModelDrafter(other, self.engine, self.backend.economy))
        other._drafts_for = self  # noqa: SLF001 - a lane of this class
        return None

    def news(self) -> list[str]:
        """Return that the drafting model failed, and news of the pace."""
        found = (None if self.drafts is None else self.drafts.news(), self.engine.news)
        return [message for message in found if message is not None]

    def stats(self) -> ModelStats:
        """Return the account of this turn."""
        return self._account.stats(self.engine.name, self.drafts)


def _cancelled() -> CancelledError:
    return CancelledError("cancelled while a step was written")
