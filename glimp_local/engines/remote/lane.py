"""A conversation on a server: each step is one streamed completion, cut here by closing the connection.

What the server keeps of earlier requests makes the next one cheap: nothing is sent to bring it up to date but the next
prompt. While another model writes, the server may be asked to read along, one request at a time. What arrives beyond
the end of a step is dropped, unless this model writes the next step without being asked whether it should. A connection
that is lost is made once more: what is asked for then continues behind the last piece that was yielded, so nothing is
written twice.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from glimp_local.engines import glimpse
from glimp_local.engines.protocol import Fed, Lane, Piece, Prompt, Stop
from glimp_local.engines.remote.account import Account
from glimp_local.engines.remote.ahead import ReadAhead
from glimp_local.engines.remote.api import TOP, Top
from glimp_local.engines.remote.requests import Requests
from glimp_local.engines.remote.transcript import Transcript
from glimp_local.engines.remote.writing import Writing
from glimp_local.errors import ContextFullError, DecodeError, GlimpError, ServerError, UsageError
from glimp_local.events import ModelStats
from glimp_local.messages import Message, Tool
from glimp_local.routing import Glimpse
from glimp_local.settings import RunSettings, ThinkingMarkers

if TYPE_CHECKING:
    from glimp_local.engines.remote.backend import RemoteBackend

AHEAD_TOKENS = 32
"""A server reads along once this many tokens are new to it: fewer are not worth a request."""
_CHARACTER_TOKENS = 8
"""Tokens asked for at least: a character may take several, and none is shown before it is whole."""
_SLACK = 32
"""Tokens asked for beyond a step's most, where its end is not known yet."""


class RemoteLane(Lane):
    """One conversation on a `RemoteBackend`'s server."""

    def __init__(self, backend: RemoteBackend, settings: RunSettings, *, seed: int, cancel: threading.Event) -> None:
        self.backend = backend
        self._settings = settings
        self._cancel = cancel
        self._requests = Requests(backend, settings.sampling, seed=seed, cancel=cancel)
        self._open: Writing | None = None
        """A request whose text is the next step, if this model writes it."""
        self._ahead = ReadAhead()
        self._start(backend.transcript(cancel), 0)

    def _start(self, transcript: Transcript, prompt_tokens: int) -> None:
        self._transcript = transcript
        self._requests.begin(prompt_tokens)

    @property
    def _account(self) -> Account:
        return self._requests.account

    # The transcript.

    def prepare(
        self, messages: Sequence[Message], markers: ThinkingMarkers | None, *, tools: Sequence[Tool] = ()
    ) -> Prompt:
        """Make a prompt; see `Lane.prepare`. A server that renders or tokenises is asked for that."""
        transcript = self.backend.prompt(messages, markers, tools, self._cancel)
        return Prompt(transcript.tokens, transcript)

    def prepare_text(self, text: str) -> Prompt:
        """Make a prompt of a text as it is; see `Lane.prepare_text`."""
        transcript = self.backend.transcript(self._cancel)
        transcript.append(text.encode(), own=True)
        transcript.prompt()
        return Prompt(transcript.tokens, transcript)

    def begin(self, prompt: Prompt) -> None:
        """Begin a turn."""
        self.rest()
        self._start(prompt.content.copy(), prompt.tokens)

    @property
    def transcript(self) -> Transcript:
        """The conversation as it is sent."""
        return self._transcript

    @property
    def context(self) -> int:
        """Most tokens of the conversation."""
        return self.backend.context

    @property
    def room(self) -> int:
        """Tokens that still fit into the context."""
        return self.backend.context - self._transcript.tokens

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
        if raw and self.backend.is_open:
            self._drop()
            self._transcript.append(raw, own=own)

    def append_ids(self, ids: Sequence[int]) -> bool:
        """Put tokens behind the transcript, if the server takes tokens."""
        if not self.backend.takes_ids:
            return False
        self._drop()
        self._transcript.append_ids(ids)
        return True

    def mark(self) -> int:
        """Return a mark of the transcript's end."""
        return len(self._transcript)

    def cut(self, mark: int) -> None:
        """Go back to a mark."""
        self._drop()
        self._transcript.cut(mark)
        self._requests.known = min(self._requests.known, self._transcript.tokens)

    # Reading along.

    def follow(self, ids: Sequence[int]) -> None:
        """Have the server read the transcript, and what another model has written of its step; see `Lane.follow`."""
        ids = ids if self.backend.takes_ids else ()
        tokens = self._transcript.tokens + len(ids)
        if self._ahead.is_reading or not self._requests.known + AHEAD_TOKENS <= tokens < self.context:
            return
        transcript = self._transcript.copy(self.backend.transcript(self._ahead.cancel).vocabulary)
        transcript.append_ids(ids)
        self._ahead.start(lambda: self._read_ahead(transcript))

    def _read_ahead(self, transcript: Transcript) -> None:
        """Have a transcript read; if that fails, the next step finds out why."""
        start, requests = perf_counter(), self._requests
        with suppress(GlimpError):
            writing = requests.read(transcript, self._ahead.cancel)
            self._ahead.sent(writing)
            try:
                writing.look()
            finally:
                writing.close()
            requests.has_read(max(requests.known, transcript.tokens))
            requests.account.along += Fed(writing.account.read_tokens, perf_counter() - start)

    def _settle(self) -> None:
        """Let the next request find what the server is reading ahead.

        A server with one slot answers in turn. Of several slots another one might be taken: so the reading is waited
        for. Where requests are computed together it is broken off, and what is read so far stays read.
        """
        slots = self.backend.facts.slots
        if slots is None or not self._ahead.is_sent:
            self._ahead.abandon()
        elif slots > 1:
            self._account.missed += Fed(0, self._ahead.wait(self._cancel))

    def stand_by(self) -> None:
        """Close a request that is open: who writes next is not known, or it is another model."""
        self._drop()

    def rest(self) -> None:
        """Stop reading along, and whatever was begun."""
        self._ahead.stop()
        self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            writing, self._open = self._open, None
            self._requests.close(writing)

    # Looking.

    def glimpse(self, top_k: int | None = None) -> Glimpse:
        """Measure how sure the model is of the next token, over the likeliest ones; see `Lane.glimpse`.

        The request stays open: if this model writes the step, its first token is the one that was looked at.
        """
        start, before = perf_counter(), self._account.missed.seconds
        self._settle()
        self._drop()
        try:
            tops = self._look(min(self._settings.max_step + _SLACK, max(1, self.room)))
            nats = [nats for _, nats in tops[: min(top_k or TOP, TOP)]]
            return glimpse.glimpse(np.asarray(nats, dtype=np.float32))
        except ValueError as error:
            raise DecodeError(f"{self.backend.name}: the server shows no likeliest tokens ({error})") from error
        finally:
            reading = self._account.missed.seconds - before
            self._account.glimpse_seconds += max(0.0, perf_counter() - start - reading)

    def _look(self, most: int, aside: bytes = b"") -> Top:
        """Return the likeliest next tokens behind the transcript, and `aside` behind it.

        The request stays open if there is nothing aside. Raises DecodeError, ContextFullError, CancelledError.
        """
        is_second = False
        while True:
            try:
                found = self._look_once(most, aside)
            except ServerError as error:
                self._drop()
                self._requests.recover(error, is_second=is_second)
                is_second = True
                continue
            if aside:
                self._drop()
            return found

    def _look_once(self, most: int, aside: bytes) -> Top:
        transcript, is_aside = self._behind(aside), bool(aside)
        self._open = self._requests.write(transcript, most, top=TOP, is_aside=is_aside)
        if found := self._open.look():
            return found
        self._drop()  # a server with one slot would write all of it first
        found = self._requests.look_inside(transcript)
        self._open = self._requests.write(transcript, most, top=TOP, is_aside=is_aside)
        return found

    def _behind(self, aside: bytes) -> Transcript:
        if not aside:
            return self._transcript
        other = self._transcript.copy()
        other.append(aside, own=False)
        return other

    def peek(self, continuations: Sequence[bytes], *, aside: bytes = b"") -> list[float]:
        """Return the log-probability (nats) of each continuation; -inf, too, for what is not among the likeliest.

        See `Peeks.peek`.
        """
        vocabulary = self._transcript.vocabulary
        if vocabulary is None:
            raise UsageError(f"{self.backend.name} does not tell how likely a continuation is")
        found = dict(self._likeliest(aside))
        tokens = [vocabulary.tokenize(text, continues=True) for text in continuations]
        return [found.get(ids[0], -np.inf) if len(ids) == 1 else -np.inf for ids in tokens]

    def likeliest(self) -> Piece:
        """Return the likeliest next token."""
        found, vocabulary = self._likeliest(), self.backend.vocabulary
        if not found or vocabulary is None:
            raise DecodeError(f"{self.backend.name}: the server shows no likeliest tokens")
        token = found[0][0]
        return Piece(vocabulary.piece(token), 1, (token,))

    def _likeliest(self, aside: bytes = b"") -> Top:
        if self._open is not None and not aside and not self._open.is_begun:
            return self._open.look()
        self._drop()  # what is being written continues with a request of its own
        self._settle()
        found = self._look(1, aside)
        self._drop()
        return found

    # Writing.

    def write(self, most: int) -> Generator[Piece, None, Stop]:
        """Write behind the transcript: one request, and another one if the first is lost; see `Lane.write`."""
        self._settle()
        count, is_second = 0, False
        while True:
            try:
                if self._open is None:
                    self._open = self._requests.write(self._transcript, max(most - count, _CHARACTER_TOKENS))
                writing = self._open
                piece = writing.next()
            except ServerError as error:
                self._drop()
                self._requests.recover(error, is_second=is_second)
                is_second = True
                continue
            if piece is not None:
                self._take(piece)
                count += piece.tokens
                yield piece
                if count >= most:
                    return "most"
                continue
            self._drop()
            if writing.stop == "full":
                raise ContextFullError(f"no room in the context of {self.backend.name}")
            if writing.stop == "end" or not writing.is_begun:
                return "end"  # asked once more, a model that showed nothing would show nothing again

    def _take(self, piece: Piece) -> None:
        self._account.tokens += piece.tokens
        if piece.ids:
            self._transcript.append_ids(piece.ids)
        else:
            self._transcript.append(piece.raw, own=False, tokens=piece.tokens)
        self._requests.has_read(self._transcript.tokens)

    def stats(self) -> ModelStats:
        """Return the account of this turn."""
        return self._account.stats(self.backend.name)
