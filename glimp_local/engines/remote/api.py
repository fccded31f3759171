"""What is asked of an inference server, whatever it speaks. `apis.py` finds out which one a server is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec

from glimp_local.engines.remote.client import Client
from glimp_local.messages import Message, Tool
from glimp_local.settings import SERVER_TOP_K, SamplingSettings

TOP = SERVER_TOP_K
"""Likeliest tokens a server shows with their log-probabilities: vLLM's limit, and what the paper goes by."""


Prompt = Sequence[int] | str
"""What is sent: token ids, or text where a server takes no ids."""


Stop = Literal["end", "most", "full"]
Top = tuple[tuple[int, float], ...]
"""Tokens with their log-probabilities in nats, the likeliest first."""


class Timings(NamedTuple):
    """A server's own account of one request."""

    read: int
    """Tokens of the prompt it computed; those in its prefix cache are not among them."""
    cached: int
    read_seconds: float
    write_seconds: float


class Chunk(NamedTuple):
    """What one object of a streamed reply says."""

    text: str = ""
    ids: tuple[int, ...] = ()
    """The ids it shows: not always all that were written."""
    tokens: int = 0
    """Number of tokens that were written since the last chunk."""
    top: Top = ()
    """The likeliest tokens at the place of its first token, if they were asked for."""
    stop: Stop | None = None
    """Why it is the last: the model ended its text, the most tokens are there, the context is full."""
    timings: Timings | None = None


class Facts(msgspec.Struct, frozen=True):
    """What a server says of itself and of its model."""

    engine: str
    """Name and, if told, version of the program."""
    model: str
    """The name that requests bear."""
    context: int
    """Most tokens of a conversation."""
    identity: str
    """Distinguishes the model from all others, as far as the server tells: it changes if the model is swapped."""
    trained_context: int | None = None
    slots: int | None = None
    """Requests it serves at the same time; None if it batches whatever comes."""
    vocabulary_size: int | None = None
    template: str | None = None
    """The chat template's source; None if the server keeps it to itself."""
    bos: str = ""
    eos: str = ""


class Past(NamedTuple):
    """What a server may have read before."""

    era: int
    """How often all of it was to be forgotten."""
    is_known: bool
    """Has it read something of this conversation in this era?"""


def within(penalty: float) -> float:
    """Return a presence or frequency penalty as OpenAI's interface takes it."""
    return max(-2.0, min(2.0, penalty))


class Request(NamedTuple):
    """Where a request goes, and its body."""

    path: str
    body: dict[str, Any]


class Api(Protocol):
    """How one kind of server is spoken to."""

    name: ClassVar[str]
    takes_ids: ClassVar[bool]
    """Can prompts be token ids, and does it show those of what it writes?"""
    parses_always: ClassVar[bool]
    """Does it make control tokens of their spellings even if it is asked for letters?"""

    penalises_alike: ClassVar[bool]
    """Do penalties work as here: over the latest tokens, whoever wrote them?"""

    @property
    def client(self) -> Client:
        """The connections to the server."""
        ...

    def facts(self, cancel: threading.Event) -> Facts:
        """Ask what is served there; raises ServerError, CancelledError."""
        ...

    def identity(self, cancel: threading.Event) -> str:
        """Ask for `Facts.identity` alone; raises ServerError, CancelledError."""
        ...

    def tokenize(self, text: str, *, control: bool, cancel: threading.Event) -> list[int]:
        """Turn text into token ids, nothing added; spellings of control tokens become these only if `control`."""
        ...

    def shown(self, ids: Sequence[int], cancel: threading.Event) -> str:
        """Return the text of tokens, that of control tokens included."""
        ...

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], cancel: threading.Event) -> str:
        """Return a prompt made by the server's own chat template, up to where the assistant begins."""
        ...

    def write(
        self, prompt: Prompt, most: int, sampling: SamplingSettings, *, seed: int, top: int, past: Past
    ) -> Request:
        """Ask for the text behind a prompt, streamed; `top` likeliest tokens are shown at each place (0: none).

        What was read in another era of the past is not used again.
        """
        ...

    def read(self, prompt: Prompt, *, past: Past) -> Request:
        """Ask that a prompt be read, so that it is in the server's cache; what it writes is of no use."""
        ...

    def look(self, prompt: Sequence[int], ascii_token: int) -> Request | None:
        """Ask for the likeliest tokens behind a prompt alone; None if `write` always shows them."""
        ...

    def chunk(self, found: Any, written: int) -> Chunk | None:
        """Read an object of a streamed reply, before which `written` tokens had come; None if it says nothing.

        Raises ServerError if it is not what it should be.
        """
        ...
