"""One model's side of a session: the transcript in its own tokens, and the account of its work."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import msgspec

from glimp_local.engines.llama.drafting import Drafts
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.events import ModelStats
from glimp_local.routing import Model

_CHUNK = 16
"""A model reads along where so many tokens are new to it: fewer are not worth a batch."""


class Fed(msgspec.Struct, frozen=True):
    """What a model was fed to catch up."""

    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Fed) -> Fed:
        return Fed(self.tokens + other.tokens, self.seconds + other.seconds)


class Lane:
    """A model, and the transcript in its tokens.

    `ids` is what the model should have read, `engine.ids` what it has; `catch_up` closes the gap. The last token a
    model writes is not computed until it is needed: behind a large step it then goes into one batch with what the
    small model writes next.
    """

    def __init__(self, model: Model, engine: Engine, prompts: PromptBuilder) -> None:
        self.model = model
        self.engine = engine
        self.prompts = prompts
        self.ids: list[int] = []
        self.drafts: Drafts | None = None
        """Guesses at what this model writes; None where it computes each token by itself."""
        self.begin([], stable=0)

    def begin(self, prompt: list[int], *, stable: int) -> None:
        """Begin a turn with a prompt.

        Its first `stable` tokens will begin the next turn's prompt, too: a snapshot is taken there (0 takes none).
        """
        self.ids = prompt
        self._stable = stable
        self._prompt_tokens = len(prompt)
        self._owed: int | None = None  # place of the last token this model wrote, until it is computed
        self.tokens = self.steps = self._prefill_tokens = self._catch_up_tokens = 0
        self._along_before = Fed(self.engine.fed_ahead, self.engine.ahead_seconds)
        self._prefill_seconds = self._catch_up_seconds = self.decode_seconds = self.sample_seconds = 0.0
        if self.drafts is not None:
            self.drafts.begin_turn()

    @property
    def room(self) -> int:
        """Tokens that still fit into the context."""
        return self.engine.context - len(self.ids)

    def catch_up(self) -> Fed:
        """Bring the model up to the transcript's end, in one prefill; its logits are there afterwards.

        Returns what it was fed that was neither the prompt nor its own last token. Raises what `Engine.feed` raises.
        """
        start, engine, owed = perf_counter(), self.engine, self._owed
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
            engine.sync(self.ids)
        finally:
            fed = self._account(engine.fed - before, perf_counter() - start, own=int(owes))
        return fed

    def read_along(self, written: Sequence[int]) -> None:
        """Have the model read its transcript, and what the other one has written of its step, while that goes on.

        Does nothing where it is still at it, where little is new, or something that only a larger vocabulary knows.
        """
        engine = self.engine
        if engine.reads_ahead or self._stable or len(self.ids) + len(written) - len(engine.ids) < _CHUNK:
            return
        if max(written, default=0) < engine.vocabulary.size:
            engine.read_ahead([*self.ids, *written])

    def _account(self, fed: int, seconds: float, *, own: int) -> Fed:
        """Tell the prompt, the model's own last token and what it missed apart."""
        prompt = min(fed, max(0, self._prompt_tokens - (len(self.engine.ids) - fed)))
        missed = max(0, fed - prompt - own)
        if own and missed == prompt == 0:
            self.decode_seconds += seconds
            return Fed()
        if missed == prompt == 0:  # at most it had to wait for what was read ahead
            self._catch_up_seconds += seconds
            return Fed(0, seconds)
        per_token = seconds / (prompt + missed)
        self._prefill_tokens += prompt
        self._prefill_seconds += per_token * prompt
        self._catch_up_tokens += missed
        self._catch_up_seconds += per_token * missed
        return Fed(missed, per_token * missed)

    def begin_step(self) -> Fed:
        """Catch up, and be ready to write a step behind what is there."""
        fed = self.catch_up()
        if self.drafts is not None:
            self.drafts.begin_step(len(self.ids))
        return fed

    def advance(self) -> None:
        """Compute the last token this model wrote, so that the logits behind it are there."""
        if self._owed is None:  # somebody had a look, for which it was computed
            self.catch_up()
            return
        start = perf_counter()
        if self.drafts is None:
            self.engine.decode(self.ids[-1])
            self.decode_seconds += perf_counter() - start
        else:
            self.decode_seconds += self.drafts.decode(self.engine, self.ids)
        self._owed = None

    def write(self, token: int) -> None:
        """Add a token this model wrote."""
        self._owed = len(self.ids)
        self.ids.append(token)
        self.tokens += 1

    def take_up(self, text: bytes) -> None:
        """Add text that was written before: in the tokens the model holds, as far as it holds it, else cut anew."""
        if self.engine.ids[: len(self.ids)] == self.ids:
            for token in self.engine.ids[len(self.ids) :]:
                piece = self.engine.vocabulary.piece(token)
                if not piece or not text.startswith(piece):
                    break
                self.ids.append(token)
                text = text[len(piece) :]
        self.ids.extend(self.prompts.handed_over(text))

    def take_back(self) -> None:
        """Take back the last token this model wrote."""
        self.cut(len(self.ids) - 1)
        self.tokens -= 1

    def cut(self, length: int) -> None:
        """Go back to the first `length` tokens of the transcript."""
        del self.ids[length:]
        self._owed = None
        if self.drafts is not None:
            self.drafts.cut(length)

    def stats(self) -> ModelStats:
        """Give the account of this turn."""
        drafts, engine = self.drafts, self.engine
        draft_seconds = 0.0 if drafts is None else drafts.seconds
        busy = self.decode_seconds + self.sample_seconds + draft_seconds
        return ModelStats(
            name=self.engine.name,
            steps=self.steps,
            tokens=self.tokens,
            prefill_tokens=self._prefill_tokens,
            prefill_seconds=self._prefill_seconds,
            catch_up_tokens=self._catch_up_tokens,
            catch_up_seconds=self._catch_up_seconds,
            along_tokens=engine.fed_ahead - self._along_before.tokens,
            along_seconds=engine.ahead_seconds - self._along_before.seconds,
            decode_seconds=self.decode_seconds,
            sample_seconds=self.sample_seconds,
            drafted=0 if drafts is None else drafts.drafted,
            draft_accepted=0 if drafts is None else drafts.accepted,
            draft_seconds=draft_seconds,
            draft_speedup=None if drafts is None else drafts.speedup,
            tokens_per_second=self.tokens / busy if busy else 0.0,
        )
