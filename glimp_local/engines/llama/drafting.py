"""Drafting: guesses at the next tokens, so that the model that writes computes several of them in one batch.

What is written stays the writer's own: each token is sampled from its logits, and a guess only decides whether the
logits behind it are there already (Leviathan et al., arXiv 2211.17192; with one guess a place and the writer's own
sampler there is nothing to correct). There are two drafters: the small model for the large one's steps, where both have
one vocabulary (GlimpRouter's §3.6), and the text so far, whose repetitions either model may be about to write (prompt
lookup). The economy says how many guesses pay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama.economy import Economy
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import ContextFullError, DecodeError
from glimp_local.settings import MAX_DRAFT

_CONFIDENCES = (0.2, 0.4, 0.6, 0.75, 0.85, 0.93, 0.98)
"""The small model's probabilities at which the grade of its guesses changes."""
_MODEL_PRIORS = (0.1, 0.25, 0.45, 0.6, 0.7, 0.8, 0.88, 0.95)
_SHORTEST, _LONGEST = 3, 8
"""So many tokens must have stood there before for what came behind them to be a guess; more of them make it better."""
_TEXT_PRIORS = (0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
PRIORS = (*_MODEL_PRIORS, *_TEXT_PRIORS)
"""The chance that a guess comes true, by its grade: the small model's, then the text's."""
_FIRST_WAIT, _LONGEST_WAIT = 4, 64
"""Where the small model's guesses do not pay, or not even certain ones would, none are made for so many tokens: each
time for twice as many."""
_CERTAIN = (1.0,) * MAX_DRAFT


class Guess(NamedTuple):
    """A drafted token."""

    token: int
    grade: int
    """How reliable such guesses are: an index of PRIORS."""


class Reader(Protocol):
    """The drafting model: its engine, and its transcript up to this step."""

    engine: Engine
    ids: list[int]

    def catch_up(self) -> object:
        """Bring the engine up to `ids`."""
        ...


class TextDrafter:
    """Guesses that what followed the last few tokens when they stood in the text before follows them again."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def forget(self, length: int) -> None:
        """Take note that the text is another one behind its first `length` tokens."""
        self._indexed = min(self._indexed, length)
        if not length:
            self._places.clear()

    def find(self, ids: Sequence[int]) -> tuple[int, int]:
        """Give where in `ids` what may come behind them stands, and the grade of such guesses; 0 where nowhere."""
        length, places = len(ids), self._places
        for end in range(max(self._indexed, _SHORTEST), length):
            places[tuple(ids[end - _SHORTEST : end])] = end
        self._indexed = length
        last = tuple(ids[length - _SHORTEST : length])
        end = places.get(last, 0)
        # A place may be one of a text that was cut since.
        if not 0 < end < length or tuple(ids[end - _SHORTEST : end]) != last:
            return 0, 0
        alike = _SHORTEST
        while alike < min(_LONGEST, end) and ids[end - alike - 1] == ids[length - alike - 1]:
            alike += 1
        return end, len(_MODEL_PRIORS) + alike - _SHORTEST


class ModelDrafter:
    """Guesses what the small model finds likeliest, token by token, from what it has read of the step so far."""

    def __init__(self, reader: Reader, writer: Engine, economy: Economy) -> None:
        self._reader = reader
        self._writer = writer
        self._economy = economy
        self._weights = np.empty(reader.engine.vocabulary.size, dtype=np.float32)
        self._agreed = -1
        self.failure: str | None = None
        """Why the small model could not compute; then it is not asked again."""

    def begin_step(self) -> None:
        """Take note that a step begins: the small model has read nothing of it."""
        self._agreed = -1

    def catch_up(self) -> None:
        """Let the small model read what it missed before the step; raises what `Engine.feed` raises."""
        if self._agreed < 0:
            self._reader.catch_up()
            self._agreed = 0

    def guess(self, written: Sequence[int], most: int, *, least_seconds: float = 0.0) -> list[Guess]:
        """Guess what comes behind the tokens written in this step; raises what `Engine.feed` raises.

        It stops where the next guess can be expected to save less than `least_seconds`, at the end of the text, and
        behind a blank line, where the next step is another matter.
        """
        if max(written[self._agreed :]) >= self._reader.engine.vocabulary.size:
            return []  # of two vocabularies that count as one, the larger may have padding on top
        start = perf_counter()
        if self._read(written) > MAX_DRAFT + 1:
            start = perf_counter()  # what it missed of the step is read once, and says nothing of a guess
        engine, vocabulary = self._reader.engine, self._writer.vocabulary
        economy, usual = self._economy, self._economy.guesses
        worth = economy.token_seconds
        guesses: list[Guess] = []
        reach = 1.0
        while True:
            token, grade = self._likeliest(engine.logits())
            if token >= vocabulary.size or token in vocabulary.ends:
                break
            chance = economy.chance(grade)
            usual.add(chance)
            guesses.append(Guess(token, grade))
            reach *= chance
            ends = len(guesses) == most or b"\n\n" in vocabulary.piece(token)
            if ends or reach * usual.chance * worth < least_seconds or len(engine.ids) == engine.context:
                break
            engine.decode(token)
        usual.spend((perf_counter() - start) / max(len(guesses), 1))
        return guesses

    def _read(self, written: Sequence[int]) -> int:
        """Let the small model read the step so far; its own guesses stay as far as they came true.

        Returns how many tokens it read.
        """
        engine, start = self._reader.engine, len(self._reader.ids)
        engine.stop_reading()
        if len(engine.ids) < start:  # somebody had a look at other things
            self._reader.catch_up()
        held, last = len(engine.ids) - start, len(written) - 1  # the last token is read again: its logits are wanted
        self._agreed = min(self._agreed, held)
        while self._agreed < min(held, last) and engine.ids[start + self._agreed] == written[self._agreed]:
            self._agreed += 1
        if self._agreed < held:
            engine.rewind(start + self._agreed)
        missed = written[self._agreed :]
        engine.feed(missed)
        self._agreed = last
        return len(missed)

    def _likeliest(self, logits: npt.NDArray[np.float32]) -> tuple[int, int]:
        token, weights = int(logits.argmax()), self._weights
        np.subtract(logits, logits[token], out=weights)
        np.exp(weights, out=weights)
        return token, bisect_right(_CONFIDENCES, 1.0 / float(weights.sum()))


class Drafts:
    """The drafting for one model's steps. `fixed` drafts that many tokens each time, whether it pays or not."""

    def __init__(self, economy: Economy, *, fixed: int | None = None) -> None:
        self._economy = economy
        self._text = TextDrafter()
        self._model: ModelDrafter | None = None
        self._fixed = fixed
        self._waiting: list[Guess] = []  # in reverse: those the engine holds, and nobody knows whether they come true
        self._patience = self._waited = 0
        self._told = False
        self._start = 0
        self.begin_turn()

    def by(self, model: ModelDrafter) -> None:
        """Let a model draft, too."""
        self._model = model

    @property
    def by_model(self) -> bool:
        """Does the other model draft, as things stand?"""
        return self._model is not None and self._model.failure is None and not self._patience

    def news(self) -> str | None:
        """Say, once, that the drafting model failed, and why."""
        if self._told or self._model is None or self._model.failure is None:
            return None
        self._told = True
        return f"the small model drafts no longer: {self._model.failure}"

    def begin_turn(self) -> None:
        """Begin a new account."""
        self.drafted = self.accepted = 0
        self.seconds = 0.0
        self._tokens, self._spent_seconds = 0, 0.0
        self._plain, self._plain_seconds = 0, 0.0
        self.cut(0)

    def begin_step(self, length: int) -> None:
        """Take note that a step begins behind a transcript of a length."""
        self._start = length
        if self._model is not None:
            self._model.begin_step()

    def cut(self, length: int) -> None:
        """Take note that the transcript is another one behind its first `length` tokens."""
        self._text.forget(length)

    @property
    def speedup(self) -> float | None:
        """How much faster a token of this turn was than those of it that were computed by themselves."""
        plain = self._plain_seconds / self._plain if self._plain else self._economy.plain_seconds
        if not (self.drafted and plain and self._spent_seconds):
            return None
        return plain * self._tokens / self._spent_seconds

    def decode(self, engine: Engine, ids: Sequence[int]) -> float:
        """Have an engine compute the last of `ids`, and guesses behind it; give the seconds without the drafting.

        Raises what `Engine.decode` and `Engine.feed` raise.
        """
        if engine.drafted != len(self._waiting):
            self._waiting.clear()  # the engine has read other things since
        came_true = engine.expects(ids[-1])
        if self._waiting:
            self._economy.judge(self._waiting.pop().grade, came_true=came_true)
        if came_true:
            engine.decode(ids[-1])
            self.accepted += 1
            self._tokens += 1
            return 0.0
        drafting, guesses = self._draft(ids)
        start = perf_counter()
        engine.decode(ids[-1], [guess.token for guess in guesses])
        seconds = perf_counter() - start
        guesses = guesses[: engine.drafted]  # there may have been no room for all
        self._economy.spend(1 + len(guesses), seconds, drafting)
        self._waiting = guesses[::-1]
        self._tokens += 1
        self._spent_seconds += seconds + drafting
        if guesses:
            self._waited = 0
            self.drafted += len(guesses)
        elif self._economy.is_measured:
            self._plain += 1
            self._plain_seconds += seconds
        self.seconds += drafting
        return seconds

    def _draft(self, ids: Sequence[int]) -> tuple[float, list[Guess]]:
        """Draft what pays; give the seconds, too."""
        if self._patience:
            self._patience -= 1
            return 0.0, []
        if self._economy.is_due:
            return 0.0, []
        start, most = perf_counter(), self._fixed
        model = None if self._model is None or self._model.failure else self._model
        if most is None or model is None:
            guesses = self._from_text(ids, most)
            if guesses or model is None:
                return perf_counter() - start, guesses
            most = self._worth_asking()
        return self._ask(model, ids, most) if most else (perf_counter() - start, [])

    def _from_text(self, ids: Sequence[int], most: int | None) -> list[Guess]:
        """Guess from the text: as many tokens as pay, or `most`."""
        end, grade = self._text.find(ids)
        there = min(MAX_DRAFT, len(ids) - end) if end else 0
        if most is None and there:
            most = self._economy.best_length([self._economy.chance(grade)] * there)
            if not (most or self._economy.best_length(_CERTAIN)):
                self._wait()
        return [Guess(token, grade) for token in ids[end : end + min(there, most or 0)]]

    def _worth_asking(self) -> int:
        """Give how many guesses the small model should be asked for."""
        usual = self._economy.guesses
        most = self._economy.best_length([usual.chance] * MAX_DRAFT, usual.seconds or 0.0)
        if not most:
            usual.hope()
            self._wait()
        return most

    def _wait(self) -> None:
        if not self._patience:
            self._patience = self._waited = min(max(2 * self._waited, _FIRST_WAIT), _LONGEST_WAIT)

    def _ask(self, model: ModelDrafter, ids: Sequence[int], most: int) -> tuple[float, list[Guess]]:
        guesses: list[Guess] = []
        start = perf_counter()
        try:
            model.catch_up()  # which is on its own account
            start = perf_counter()
            least = 0.0 if self._fixed else self._economy.guesses.seconds or 0.0
            guesses = model.guess(ids[self._start :], most, least_seconds=least)
        except ContextFullError:  # the writer may have more room
            return 0.0, []
        except DecodeError as error:
            model.failure = str(error)
        seconds = perf_counter() - start
        if not self._fixed:
            guesses = guesses[: self._economy.best_length(self._chances(guesses))]
        return seconds, guesses

    def _chances(self, guesses: Sequence[Guess]) -> list[float]:
        return [self._economy.chance(guess.grade) for guess in guesses]
