"""The requests of one conversation to its server: what is asked, after what wait, and what becomes of a failure."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

from glimp_local.engines.remote.account import Account
from glimp_local.engines.remote.api import Past, Top
from glimp_local.engines.remote.apis import ready
from glimp_local.engines.remote.transcript import Transcript
from glimp_local.engines.remote.writing import Writing
from glimp_local.errors import ContextFullError, DecodeError, ServerError
from glimp_local.settings import SamplingSettings

if TYPE_CHECKING:
    from glimp_local.engines.remote.backend import RemoteBackend

RETRY_SECONDS = 5.0
"""Longest time to wait for a server that has gone away."""
_SEEDS = 2**31


class Requests:
    """Sends what a conversation needs. `known` is how many tokens at its beginning the server has read."""

    def __init__(
        self, backend: RemoteBackend, sampling: SamplingSettings, *, seed: int, cancel: threading.Event
    ) -> None:
        self._backend = backend
        self._sampling = sampling
        self._seed = seed
        self._cancel = cancel
        self._tokens = backend.tokens(cancel)
        self._count = 0
        self._is_checked = False
        self._free_at = 0.0
        self._era = 0  # the last one in which the server has read something of this conversation
        self.known = 0
        self.account = Account(0, backend.round_trip_seconds)

    def begin(self, prompt_tokens: int) -> None:
        """Begin a turn."""
        self.known = 0
        self._is_checked = False
        self.account = Account(prompt_tokens, self._backend.round_trip_seconds)

    def write(self, transcript: Transcript, most: int, *, top: int = 0, is_aside: bool = False) -> Writing:
        """Ask for text behind a transcript; what stands aside in it is none of the conversation.

        Raises ServerError, ContextFullError, CancelledError.
        """
        backend = self._backend
        if not self._is_checked:
            backend.check(self._cancel)
            self._is_checked = True
        prompt, sent = transcript.prompt(), transcript.tokens
        if sent >= backend.context:
            raise ContextFullError(f"no room in the context of {backend.name}")
        self._wait_for_slot(self._cancel)
        # Each request has a seed of its own: one that is repeated would draw the same numbers in each step.
        seed = (self._seed + self._count) % _SEEDS
        self._count += 1
        request = backend.api.write(prompt, most, self._sampling, seed=seed, top=top, past=self._past())
        stream = backend.client.stream(*request, cancel=self._cancel)
        read = max(1, sent - self.known)
        self.known = min(self.known, sent) if is_aside else sent
        return Writing(backend.api, stream, self.account, self._tokens, sent=sent, read=read)

    def read(self, transcript: Transcript, cancel: threading.Event) -> Writing:
        """Ask that a transcript be read, with an account of its own. Raises ServerError, CancelledError."""
        backend, prompt, sent = self._backend, transcript.prompt(), transcript.tokens
        self._wait_for_slot(cancel)
        stream = backend.client.stream(*backend.api.read(prompt, past=self._past()), cancel=cancel)
        account = Account(sent, backend.round_trip_seconds)
        return Writing(backend.api, stream, account, None, sent=sent, read=max(1, sent - self.known))

    def look_inside(self, transcript: Transcript) -> Top:
        """Return the likeliest tokens where a transcript continues in the middle of a character.

        Raises ServerError, CancelledError.
        """
        backend, prompt = self._backend, transcript.prompt()
        request = None
        if not isinstance(prompt, str) and backend.ascii_token is not None:
            request = backend.api.look(prompt, backend.ascii_token)
        if request is None:
            return ()
        stream = backend.client.stream(*request, cancel=self._cancel)
        writing = Writing(backend.api, stream, self.account, None, sent=transcript.tokens, read=1)
        try:
            return writing.look()
        finally:
            writing.close()

    def has_read(self, tokens: int) -> None:
        """Note that the server has read the first `tokens` of the conversation."""
        self._era = self._backend.era
        self.known = tokens

    def _past(self) -> Past:
        return Past(self._backend.era, is_known=self._backend.era == self._era)

    def close(self, writing: Writing) -> None:
        """End a request."""
        writing.close()
        self._free_at = perf_counter() + 1.5 * writing.token_seconds + self._backend.round_trip_seconds

    def _wait_for_slot(self, cancel: threading.Event) -> None:
        """Wait until the server has ended the last request: another slot of it has not read the conversation."""
        if self._backend.slots > 1 and (left := self._free_at - perf_counter()) > 0:
            cancel.wait(left)

    def recover(self, error: ServerError, *, is_second: bool) -> None:
        """Wait for a server that may come back.

        Raises ContextFullError or DecodeError if it is of no use any more, CancelledError.
        """
        if error.why == "full":
            raise ContextFullError(f"no room in the context of {self._backend.name}: {error}") from error
        if is_second or not error.may_pass:
            raise _failed(error) from error
        try:
            ready(self._backend.client, self._cancel, refused=RETRY_SECONDS)
        except ServerError as again:
            raise _failed(again) from again
        self._is_checked = False
        self.known = 0


def _failed(error: ServerError) -> DecodeError:
    return DecodeError(f"{error}; {error.hint}" if error.hint else str(error))
