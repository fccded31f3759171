"""The second implementation of the protocol: a model that computes nothing, for tests of what a session does with it.

Its text is a function of the model's name and of the transcript, to the last byte, so that whatever gets into a
transcript from elsewhere changes all that follows. Sampling draws from a stream of the lane's own. One cache is shared
by all lanes of a backend, as in an engine, unless they can write at the same time; what is read again is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from hashlib import blake2b
from itertools import takewhile
from random import Random
from typing import Any

from glimp_local.engines.protocol import Fed, Lane, Piece, Prompt, Stop
from glimp_local.errors import CancelledError, ContextFullError, DecodeError
from glimp_local.messages import Message, Tool, ToolStyle
from glimp_local.pair import Pair
from glimp_local.routing import MODELS, Glimpse, Model
from glimp_local.runs import ModelStats
from glimp_local.settings import PairConfig, RunSettings, ThinkingMarkers

MARKERS = ThinkingMarkers(open="<think>\n", close="</think>")
_WORDS = ("one ", "two ", "three ", "naïve ", "😀 ", "so ", "then ", "but ", ".\n\n", ".\n\n", ".\n\n")
_STEPS = 4
"""A thought has this many steps, and an answer as many words."""


class ScriptedBackend:
    """A model without weights."""

    vocabulary = None
    tool_style: ToolStyle | None = "json"
    can_glimpse = True
    parallel = 1
    is_outdated = False
    where = "nowhere"
    cpu_threads = 0

    def __init__(
        self, name: str, *, context: int = 400, markers: ThinkingMarkers | None = MARKERS, parallel: int = 1
    ) -> None:
        self.name = name
        self.identity = f"scripted-{name}"
        self.devices = frozenset({name})
        self.context = self.trained_context = context
        self.markers = markers
        self.parallel = parallel
        self.held: list[bytes] = []
        """The cache: what was read last, whoever asked for it. If lanes write at the same time, each has its own."""
        self.before_word: Callable[[], None] | None = None
        """Called before each word, in the thread of the run."""
        self.fails_at: int | None = None
        """The length of a transcript at which it cannot go on."""
        self.says: Callable[[str], str | None] | None = None
        """What it writes behind the last question and what follows it; None if it is drawn."""
        self.closed = False

    def about(self) -> Mapping[str, Any]:
        return {"": self.name}

    def lane(self, settings: RunSettings, *, seed: int, cancel: threading.Event) -> ScriptedLane:
        return ScriptedLane(self, settings, seed=seed, cancel=cancel)

    def forget(self) -> None:
        self.held = []

    def close(self) -> None:
        self.closed = True


class ScriptedLane(Lane):
    """One conversation with it. A piece of the transcript is a token."""

    def __init__(self, backend: ScriptedBackend, settings: RunSettings, *, seed: int, cancel: threading.Event) -> None:
        self.backend = backend
        self.pieces: list[bytes] = []
        self._cancel = cancel
        self._random = None if settings.sampling.temperature == 0 else Random(seed)
        self._fed = Fed()
        self._prompt = self._written = 0
        self._held: list[bytes] = []

    @property
    def context(self) -> int:
        return self.backend.context

    @property
    def room(self) -> int:
        return self.context - len(self.pieces)

    @property
    def fed(self) -> Fed:
        return self._fed

    @property
    def glimpse_seconds(self) -> float:
        return 0.0

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces)

    def prepare(
        self, messages: Sequence[Message], markers: ThinkingMarkers | None, *, tools: Sequence[Tool] = ()
    ) -> Prompt:
        text = "".join(f"[tool {tool['function']['name']}]" for tool in tools)
        text += "".join(f"[{message.role}]{message.content}\n" for message in messages)
        pieces = [word.encode() for word in f"{text}{markers.open if markers else ''}".split(" ")]
        return Prompt(len(pieces), pieces)

    def prepare_text(self, text: str) -> Prompt:
        pieces = [word.encode() for word in text.split(" ")]
        return Prompt(len(pieces), pieces)

    def begin(self, prompt: Prompt) -> None:
        self.pieces = list(prompt.content)
        self._prompt, self._written, self._fed = len(self.pieces), 0, Fed()

    def append(self, raw: bytes, *, own: bool = False) -> None:
        if raw:
            self.pieces.append(raw if own else raw.replace(b"<|", b"< |"))

    def mark(self) -> int:
        return len(self.pieces)

    def cut(self, mark: int) -> None:
        del self.pieces[mark:]

    @property
    def held(self) -> list[bytes]:
        return self.backend.held if self.backend.parallel == 1 else self._held

    def _hold(self) -> None:
        if self.backend.parallel == 1:
            self.backend.held = list(self.pieces)
        else:
            self._held = list(self.pieces)

    def _read(self) -> None:
        held, pieces = self.held, self.pieces
        same = len(list(takewhile(lambda both: both[0] == both[1], zip(held, pieces, strict=False))))
        if self._cancel.is_set():
            raise CancelledError("cancelled while reading")
        if len(pieces) > self.context:
            raise ContextFullError("the script's context is full")
        self._fed += Fed(max(0, len(pieces) - max(same, self._prompt)))
        self._hold()

    def _digest(self) -> bytes:
        drawn = b"" if self._random is None else self._random.randbytes(1)
        return blake2b(self.backend.name.encode() + b"\0" + self.text + drawn, digest_size=4).digest()

    def glimpse(self, top_k: int | None = None) -> Glimpse:
        self._read()
        digest = blake2b(b"glimpse" + self.text + bytes(str(top_k), "ascii"), digest_size=4).digest()
        return Glimpse(entropy_nats=digest[0] / 100, top1_probability=digest[1] / 255, margin=digest[2] / 255)

    def write(self, most: int) -> Generator[Piece, None, Stop]:
        self._read()
        count = 0
        while count < most:
            if self.backend.before_word is not None:
                self.backend.before_word()
            if self._cancel.is_set():
                raise CancelledError("cancelled while writing")
            if self.backend.fails_at is not None and len(self.pieces) >= self.backend.fails_at:
                raise DecodeError("the script ends here")
            if len(self.pieces) > self.context:
                raise ContextFullError("the script's context is full")
            word = self._next()
            if word is None:
                return "end"
            self.pieces.append(word.encode())
            self._hold()
            self._written += 1
            count += 1
            yield Piece(word.encode(), 1)
        return "most"

    def _next(self) -> str | None:
        """Choose the next word: thoughts are closed after some steps, answers end after some words."""
        behind = self.text.decode().rpartition("[user]")[2]
        if self.backend.says is not None:
            return self.backend.says(behind)
        thought, closed, answer = behind.partition(MARKERS.close)
        if closed or self.backend.markers is None:
            said = (answer if closed else thought.partition("\n")[2]).split()
            return None if len(said) >= _STEPS else _WORDS[self._digest()[0] % 8]
        if thought.count("\n\n") >= _STEPS and thought.endswith("\n\n"):
            return MARKERS.close
        return _WORDS[self._digest()[0] % len(_WORDS)]

    def stats(self) -> ModelStats:
        return ModelStats(
            name=self.backend.name,
            steps=0,
            tokens=self._written,
            prefill_tokens=self._prompt,
            prefill_seconds=0,
            catch_up_tokens=self._fed.tokens,
            catch_up_seconds=0,
            decode_seconds=0,
            sample_seconds=0,
            tokens_per_second=0,
        )


def scripted_pair(
    markers: ThinkingMarkers | None = MARKERS, context: int = 400, parallel: int = 1, **settings: Any
) -> Pair:
    """Return a pair of two scripted models."""
    models: dict[Model, ScriptedBackend] = {
        model: ScriptedBackend(model, context=context, markers=markers, parallel=parallel) for model in reversed(MODELS)
    }
    return Pair("scripted", PairConfig(**settings), models)
