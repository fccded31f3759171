"""What a session asks of a model, wherever the model computes.

A `Backend` is one model, held by the pair; a `Lane` is its side of one conversation. Lanes speak text: token ids,
caches, drafts and half-written characters are an implementation's own business. A session passes ids from one lane to
another if both have one vocabulary, and never looks at them.

Every implementation promises: a cancel raises `CancelledError` before the next piece; a full context raises
`ContextFullError`; a model that cannot continue (a failed computation, a lost connection) raises `DecodeError`. After
each of them the lane can continue behind the last piece it yielded.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from glimp_local.errors import UsageError
from glimp_local.events import ModelStats
from glimp_local.messages import Constraint, Message, Tool, ToolStyle
from glimp_local.routing import Glimpse
from glimp_local.settings import RunSettings, ThinkingMarkers

if TYPE_CHECKING:
    from glimp_local.engines.shelf import Shelf


class Piece(NamedTuple):
    """Text as a model wrote it; it never ends inside a character."""

    raw: bytes
    """UTF-8; bytes that are no character stay as the model wrote them."""
    tokens: int
    """How many it took."""
    ids: tuple[int, ...] = ()
    """These tokens, if known."""


Stop = Literal["end", "most"]
"""Why a lane stops writing by itself: the model ended its text, or the most tokens asked for are there."""


class Fed(msgspec.Struct, frozen=True):
    """What a model was fed to catch up with the transcript."""

    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Fed) -> Fed:
        return Fed(self.tokens + other.tokens, self.seconds + other.seconds)

    def __sub__(self, other: Fed) -> Fed:
        return Fed(self.tokens - other.tokens, self.seconds - other.seconds)


@dataclass(frozen=True)
class Prompt:
    """A conversation, ready to be read by the lane that prepared it."""

    tokens: int
    content: Any
    """The lane's own."""


class Vocabulary(Protocol):
    """The tokens of a model."""

    @property
    def size(self) -> int:
        """Number of tokens; 0 if that is not known."""
        ...

    @property
    def is_near(self) -> bool:
        """Can it be asked without waiting for another machine?"""
        return True

    def tokenize(self, text: str | bytes, *, control: bool = False, continues: bool = False) -> list[int]:
        """Turn text into token ids; control tokens are made of their spellings only if `control`."""
        ...

    def piece(self, token: int) -> bytes:
        """Return a token's text."""
        ...

    def difference(self, other: Vocabulary) -> str | None:
        """Return why ids must not be handed from one vocabulary to the other; None if they may."""
        ...


class Backend(Protocol):
    """One model, wherever it computes. The pair that loaded it closes it."""

    @property
    def name(self) -> str:
        """The model's own name."""
        ...

    @property
    def where(self) -> str:
        """Where it computes, in words."""
        ...

    @property
    def devices(self) -> frozenset[str]:
        """What computes it: models without a common device can compute at the same time."""
        ...

    @property
    def cpu_threads(self) -> int:
        """Threads of this machine's CPU it computes with, at most; 0 if it computes elsewhere."""
        ...

    @property
    def context(self) -> int:
        """Most tokens of a conversation."""
        ...

    @property
    def trained_context(self) -> int:
        """Most tokens of a conversation the model was trained for."""
        ...

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Its tokens; None if only text can be handed over."""
        ...

    @property
    def markers(self) -> ThinkingMarkers | None:
        """How its chat template marks thought; None if it knows of none."""
        ...

    @property
    def tool_style(self) -> ToolStyle | None:
        """How its chat template has it call tools; None if it knows no tools, or has them called in another way."""
        return None

    @property
    def can_glimpse(self) -> bool:
        """Can its lanes measure the entropy of the next token?"""
        ...

    @property
    def identity(self) -> str:
        """Distinguishes this model from all others: the key of caches, entropies and benches."""
        ...

    @property
    def parallel(self) -> int:
        """Lanes that can write at the same time."""
        return 1

    @property
    def is_outdated(self) -> bool:
        """Is it of no use any more, because another model is in its place?"""
        return False

    def about(self) -> Mapping[str, Any]:
        """Describe all that decides what it writes and how fast, for the records of a bench."""
        ...

    def lane(self, settings: RunSettings, *, seed: int, cancel: threading.Event) -> Lane:
        """Return its side of a new conversation."""
        ...

    def forget(self) -> None:
        """Drop all that was read: what comes next owes nothing to what was before."""
        ...

    def close(self) -> None:
        """Free it. Safe to call twice."""
        ...


class Lane(Protocol):
    """One model's side of one conversation: the transcript as this model reads it. Used by one thread at a time.

    Lanes of one backend may take turns, but for the time in which one writes; each finds its transcript as it left it.
    Where the model computes elsewhere, `room` and the tokens of a prompt may be estimates. The methods with a body are
    hooks that an implementation may leave as they are.
    """

    @property
    def context(self) -> int:
        """Most tokens of the conversation."""
        ...

    @property
    def room(self) -> int:
        """Tokens that still fit into the context."""
        ...

    @property
    def fed(self) -> Fed:
        """What it was fed in this turn that was neither the prompt nor its own."""
        ...

    @property
    def glimpse_seconds(self) -> float:
        """Spent on measuring entropies in this turn."""
        ...

    @property
    def reading(self) -> tuple[int, int] | None:
        """Of the tokens it is being fed now, how many it has read, and how many there are. Callable from any thread.

        None while it reads nothing, reads along beside the writing, or does not know.
        """
        return None

    def prepare(
        self, messages: Sequence[Message], markers: ThinkingMarkers | None, *, tools: Sequence[Tool] = ()
    ) -> Prompt:
        """Make a prompt of a conversation, the thought opened if there are markers; changes nothing.

        `tools` are those the model may call.

        Raises ModelUnreadableError if the chat template fails on it, CancelledError.
        """
        ...

    def prepare_text(self, text: str) -> Prompt:
        """Make a prompt of a text as it is, in which spellings of control tokens are these tokens; changes nothing."""
        del text
        raise UsageError("this model continues no raw text")

    def begin(self, prompt: Prompt) -> None:
        """Begin a turn; computes nothing."""
        ...

    def constrain(self, constraint: Constraint) -> None:
        """Have all answers from now on look like this; raises UsageError if that cannot be done."""
        del constraint
        raise UsageError("this model's answers cannot be held to a form")

    def begin_answer(self) -> None:
        """Note that the answer begins here."""
        return

    def append(self, raw: bytes, *, own: bool = False) -> None:
        """Put text of others behind the transcript; computes nothing.

        Spellings of control tokens are letters, unless the text is the program's `own`.
        """
        ...

    def append_ids(self, ids: Sequence[int]) -> bool:
        """Put tokens of a model with the same vocabulary behind the transcript; return False if some are unknown here.

        Then nothing was put there.
        """
        del ids
        return False

    def recall(self, raw: bytes) -> None:
        """Put text behind the transcript that was written before, and may be in a cache that was kept."""
        self.append(raw)

    def mark(self) -> int:
        """Return a mark of the transcript's end."""
        ...

    def remember(self) -> None:
        """Make it cheap to come back to the transcript's end, where the next step begins."""
        return

    def cut(self, mark: int) -> None:
        """Go back to a mark of this turn. Always possible; it may cost a prefill later."""
        ...

    def glimpse(self, top_k: int | None = None) -> Glimpse:
        """Measure how sure the model is of the next token; it reads what it has missed first."""
        ...

    def write(self, most: int) -> Generator[Piece, None, Stop]:
        """Write behind the transcript, `most` tokens at most; only a character is finished beyond.

        What was missed is read first. The transcript holds what was yielded, no more, whenever the generator is closed.
        """
        ...

    def stats(self) -> ModelStats:
        """Return the account of this turn; its `steps` are the session's to count."""
        ...

    def news(self) -> list[str]:
        """Return messages for the user, each once."""
        return []

    def meet(self, other: Lane) -> str | None:
        """Let `other` draft for this lane; return what keeps it from that, None if nothing does."""
        del other
        return "drafts are for two models that this process computes"

    def follow(self, ids: Sequence[int]) -> None:
        """Read along, if that helps, while another lane writes; `ids` is its step so far, if both know them."""
        del ids

    def stand_by(self) -> None:
        """Note that another model may write the next step, or does."""
        return

    def rest(self) -> None:
        """Stop whatever is computed beside the run, which is over."""
        return


@runtime_checkable
class Peeks(Protocol):
    """A lane that can measure how likely continuations are."""

    def peek(self, continuations: Sequence[bytes], *, aside: bytes = b"") -> list[float]:
        """Return the log-probability (nats) of each continuation as the next token; -inf for what is no single token.

        The model reads what it has missed, and `aside` behind it, which is no part of the transcript.
        Raises ContextFullError if `aside` does not fit.
        """
        ...

    def likeliest(self) -> Piece:
        """Return the likeliest next token."""
        ...


@runtime_checkable
class KeepsState(Protocol):
    """A backend whose cache can be kept in a file."""

    @property
    def identity(self) -> str:
        """Distinguishes this model from all others."""
        ...

    @property
    def former_identity(self) -> str:
        """What an earlier glimp told it by: files that were kept then bear it."""
        ...

    @property
    def state_bytes(self) -> int:
        """Most bytes that the file will have."""
        ...

    def save_state(self, path: Path) -> int:
        """Write all that is held into a file; return its size. Raises CacheError or OSError."""
        ...

    def load_state(self, path: Path) -> int:
        """Hold what was saved, in place of what is held; return how many tokens. Raises CacheError or OSError."""
        ...


@runtime_checkable
class KeepsConversations(Protocol):
    """A backend that can keep what it has read of several conversations."""

    def keep_conversations(self, shelf: Shelf) -> None:
        """Put what it has read of a conversation on a shelf while it is in another one."""
        ...
