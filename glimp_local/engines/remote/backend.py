"""A model on a server: what it is, whose vocabulary it has, and how its prompts are written."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from glimp_local.engines import protocol
from glimp_local.engines.prompt import PromptBuilder, Template, opened
from glimp_local.engines.remote.address import address, key_of
from glimp_local.engines.remote.apis import LOADING_SECONDS, find_api
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.lane import RemoteLane
from glimp_local.engines.remote.llama_server import LlamaServer
from glimp_local.engines.remote.pieces import KnownTokens, Vocabulary
from glimp_local.engines.remote.templates import ServerTemplate
from glimp_local.engines.remote.transcript import Transcript
from glimp_local.engines.remote.vocabulary import ServerVocabulary
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import ConfigError, ServerError
from glimp_local.messages import Message, Tool, ToolStyle
from glimp_local.models.markers import KNOWN_MARKERS, find_markers, find_tool_style
from glimp_local.settings import ModelSource, RunSettings, ThinkingMarkers

PARALLEL = 64
"""Lanes that write at the same time on a server that batches whatever comes."""
_PINGS = 3
_ASCII = "a"


class RemoteBackend:
    """The model that a server serves. Connects at once; `settle` has to be called before the first lane.

    `context` is the most tokens of a conversation that are wanted; None takes what the server has. Waits
    `loading_seconds` for a server that is loading its model. Raises ConfigError for a setting that cannot be used,
    ServerError if the server cannot be used, and CancelledError.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        context: int | None,
        cancel: threading.Event,
        loading_seconds: float = LOADING_SECONDS,
    ) -> None:
        assert source.url is not None
        self.address = address(source.url)
        self.client = Client(self.address, key_of(source), timeout=source.timeout)
        try:
            self.api = find_api(
                self.client, source.api, source.model, cancel, context=context, loading_seconds=loading_seconds
            )
            self.facts = self.api.facts(cancel)
            self.round_trip_seconds = self._round_trip(cancel)
        except BaseException:
            self.client.close()
            raise
        self._wanted_context = context
        self.context = min(context or self.facts.context, self.facts.context)
        self.takes_ids = self.api.takes_ids
        self.can_glimpse = self.api.takes_ids
        self.era = 0
        """Counts how often all was forgotten."""
        self.known: KnownTokens | None = None
        """The tokens of a vocabulary that is known here, and the model's own; None if there is none."""
        self.ascii_token: int | None = None
        """A token that is one letter."""
        self.vocabulary: protocol.Vocabulary | None = None
        self.markers: ThinkingMarkers | None = None
        self.is_open = True
        self.is_outdated = False
        self._server_tokens: ServerVocabulary | None = None
        self._template: Template | None = None
        self._tool_style: ToolStyle | None = None

    def _round_trip(self, cancel: threading.Event) -> float:
        """Measure how long the shortest of some small requests takes, on a connection that is open."""
        found = []
        for _ in range(_PINGS):
            start = perf_counter()
            self.api.identity(cancel)
            found.append(perf_counter() - start)
        return min(found)

    def settle(
        self,
        renderer: Renderer,
        other: object | None,
        cancel: threading.Event,
        *,
        template: str | None,
        spare: ChatTemplate | None,
    ) -> list[str]:
        """Find out whose vocabulary the model has, and how its prompts are written; return what a user should know.

        `other` is the vocabulary of the pair's other model, if it has one. `template` is a chat template in place of
        the model's own, `spare` one to use if the server tells of none. Raises ServerError, ConfigError,
        and CancelledError if `cancel` is set meanwhile.
        """
        notices: list[str] = []
        if self.takes_ids:
            self._settle_tokens(other, cancel)
        source = template or self.facts.template
        if source is not None:
            self._template = ChatTemplate(source, bos=self.facts.bos, eos=self.facts.eos, renderer=renderer)
            self.markers, self._tool_style = find_markers(source), find_tool_style(source)
        elif self._server_tokens is not None:
            self._template, is_one = ServerTemplate(self.api), self._server_tokens.is_one
            self.markers = next((markers for markers in KNOWN_MARKERS if is_one(markers.close.strip())), None)
        elif spare is not None:
            self._template, self.markers = spare, find_markers(spare.source)
            self._tool_style = find_tool_style(spare.source)
            notices.append(
                f"{self.place} does not tell its model's chat template: the small model's is used, which is right for "
                "models of one family; else set chat_template"
            )
        else:
            raise ConfigError(
                f"{self.place} does not tell its model's chat template",
                hint="give it with chat_template in models.toml, or --chat-template FILE",
            )
        if self._wanted_context is not None and self._wanted_context > self.facts.context:
            notices.append(f"{self.place} has room for {self.facts.context:,} tokens, not {self._wanted_context:,}")
        if not self.takes_ids:
            notices.append(
                f"{self.place} takes text alone: what a user types that spells a control token becomes one there, "
                "tokens are counted approximately, and whether its prompt cache helps is not known"
            )
        return notices

    def _settle_tokens(self, other: object | None, cancel: threading.Event) -> None:
        self._server_tokens = tokens = ServerVocabulary(self.api, self.facts.vocabulary_size, self.facts.bos, cancel)
        self.vocabulary = tokens
        is_same = other is not None and tokens.difference(other) is None
        if is_same and isinstance(other, Vocabulary):
            self.known = KnownTokens(other)
            self.vocabulary = other
        letter = tokens.tokenize(_ASCII)
        self.ascii_token = letter[0] if len(letter) == 1 else None

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.facts.model.rpartition("/")[2].removesuffix(".gguf")

    @property
    def place(self) -> str:
        """Host and port of the server."""
        return self.address.place

    @property
    def where(self) -> str:
        """Which server it is on, in words."""
        return f"{self.facts.engine} at {self.place}"

    @property
    def devices(self) -> frozenset[str]:
        """The server: it computes beside this machine."""
        return frozenset({self.place})

    @property
    def cpu_threads(self) -> int:
        """None of this machine's."""
        return 0

    @property
    def trained_context(self) -> int:
        """Most tokens of a conversation the model was trained for, or the server has room for, if it tells no more."""
        return self.facts.trained_context or self.facts.context

    @property
    def slots(self) -> int:
        """Conversations whose beginnings the server keeps apart; 1 if it does not matter which one a request gets."""
        return self.facts.slots or 1

    @property
    def parallel(self) -> int:
        """Lanes that can write at the same time."""
        return self.facts.slots or (PARALLEL if self.takes_ids else 1)

    @property
    def tool_style(self) -> ToolStyle | None:
        """How its chat template has it call tools."""
        return self._tool_style

    @property
    def identity(self) -> str:
        """Distinguishes the model from all others, as far as its server tells."""
        return self.facts.identity

    def about(self) -> Mapping[str, Any]:
        """Describe the model and its server."""
        return {"": f"{self.facts.model}, {self.where}, context {self.context:,}", "identity": self.identity}

    def check(self, cancel: threading.Event) -> None:
        """Raise ServerError if another model is served now."""
        try:
            identity = self.api.identity(cancel)
        except ServerError as error:
            if error.why != "changed":  # none of this name any more
                raise
            identity = ""
        if identity != self.facts.identity:
            self.is_outdated = True
            raise ServerError(
                f"{self.place} serves another model now, no longer {self.name}",
                hint="load the pair again",
                why="changed",
            )

    def tokens(self, cancel: threading.Event) -> KnownTokens | ServerVocabulary | None:
        """Return what tells the text of the tokens it writes; a cancel ends its waiting for the server."""
        return self.known or (self._server_tokens and self._server_tokens.until(cancel))

    def transcript(self, cancel: threading.Event) -> Transcript:
        """Return an empty one; a cancel ends its waiting for the server."""
        if self.known is not None:
            return Transcript(self.known.vocabulary, is_lazy=False)
        return Transcript(self._server_tokens and self._server_tokens.until(cancel), is_lazy=True)

    def prompt(
        self,
        messages: Sequence[Message],
        markers: ThinkingMarkers | None,
        tools: Sequence[Tool],
        cancel: threading.Event,
    ) -> Transcript:
        """Return the transcript of a conversation up to the first token of the thought (or of the reply).

        Raises ModelUnreadableError if the chat template fails on it, ServerError, CancelledError.
        """
        assert self._template is not None
        transcript = self.transcript(cancel)
        tokens = transcript.vocabulary
        if tokens is None:
            text = self._template.render(messages, tools=tools, cancel=cancel)
            transcript.append(opened(text, markers).encode(), own=True)
            return transcript
        if isinstance(self.api, LlamaServer) and markers is not None:
            self.api.shown_tokens = [markers.open.strip(), markers.close.strip()]
        builder = PromptBuilder(self._template, tokens, markers)
        transcript.append_ids(builder.prompt(messages, tools=tools, cancel=cancel))
        return transcript

    def lane(self, settings: RunSettings, *, seed: int, cancel: threading.Event) -> RemoteLane:
        """Return its side of a new conversation."""
        return RemoteLane(self, settings, seed=seed, cancel=cancel)

    def forget(self) -> None:
        """Have the server use nothing again of what it has read until now, as far as it can be told to."""
        self.era += 1

    def close(self) -> None:
        """End all connections."""
        self.is_open = False
        self.client.close()
