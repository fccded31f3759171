"""A GGUF on this machine as a model that writes: the engine, its chat template, and what drafting has cost it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.engines.llama import kept_costs
from glimp_local.engines.llama.conversations import Conversations
from glimp_local.engines.llama.drafting import PRIORS
from glimp_local.engines.llama.economy import Economy
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.lane import LlamaLane
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.engines.protocol import Backend
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.shelf import Shelf
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import GlimpError
from glimp_local.messages import Message, ToolStyle
from glimp_local.models.markers import find_markers, find_tool_style
from glimp_local.settings import RunSettings, ThinkingMarkers


class LlamaBackend:
    """One engine, which it owns, shared by the lanes of all conversations.

    `template` is a chat template in place of the model's own. Raises ModelUnreadableError if there is none, or if it
    cannot be rendered (which `check` finds).
    """

    can_glimpse = True
    parallel = 1
    is_outdated = False

    def __init__(self, engine: Engine, renderer: Renderer, *, template: str | None = None) -> None:
        self.engine = engine
        engine.costs = kept_costs.read(engine)
        self.template: ChatTemplate = engine.template(renderer, template)
        self.markers: ThinkingMarkers | None = find_markers(self.template.source)
        self.economy = Economy(PRIORS, engine.costs)
        """What drafting has cost the model, and brought: what one conversation learns, the next one knows."""
        self.conversations: Conversations | None = None
        """Those it may come back to; None if it keeps none but the one it is in."""

    def check(self) -> None:
        """Find out now, and not when a question is asked, whether the template can take one."""
        builder = PromptBuilder(self.template, self.vocabulary, markers=None)
        builder.prompt([Message("user", "?")], cancel=self.engine.cancel)

    @property
    def tool_style(self) -> ToolStyle | None:
        """How its chat template has it call tools."""
        return find_tool_style(self.template.source)

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.engine.name

    @property
    def where(self) -> str:
        """Where its layers are, in words."""
        return self.engine.placement.where

    @property
    def devices(self) -> frozenset[str]:
        """What computes its layers: the CPU, GPUs by their numbers, and RPC servers."""
        return self.engine.placement.devices

    @property
    def cpu_threads(self) -> int:
        """Threads it computes with, at most; 0 if a GPU helps."""
        placement = self.engine.placement
        return 0 if placement.has_help else placement.threads

    @property
    def context(self) -> int:
        """Most tokens of a conversation."""
        return self.engine.context

    @property
    def trained_context(self) -> int:
        """Most tokens of a conversation the model was trained for."""
        return self.engine.trained_context

    @property
    def vocabulary(self) -> Vocabulary:
        """Its tokens."""
        return self.engine.vocabulary

    @property
    def path(self) -> Path:
        """Its file; the first one of a model that is split."""
        return self.engine.path

    @property
    def identity(self) -> str:
        """Distinguishes its file from all others."""
        return self.engine.identity

    @property
    def former_identity(self) -> str:
        """What an earlier glimp told its file by."""
        return self.engine.former_identity

    def about(self) -> Mapping[str, Any]:
        """Describe the file, where it computes and how it was loaded."""
        size = f"{self.path.stat().st_size:,} bytes"
        return {
            "": f"{self.path.name}, {size}, {self.where}, context {self.context:,}",
            **msgspec.to_builtins(self.engine.options),
        }

    def lane(self, settings: RunSettings, *, seed: int, cancel: threading.Event) -> LlamaLane:
        """Return its side of a new conversation; raises GlimpError if the model was freed."""
        if not self.engine.is_open:
            raise GlimpError("the pair has been closed")
        return LlamaLane(self, settings, seed=seed, cancel=cancel)

    def forget(self) -> None:
        """Empty the cache, and the shelf."""
        self.engine.rewind(0)
        if self.conversations is not None:
            self.conversations.forget()

    def keep_conversations(self, shelf: Shelf) -> None:
        """Put what it has read of a conversation on a shelf while it is in another one."""
        self.conversations = Conversations(self.engine, shelf)

    @property
    def state_bytes(self) -> int:
        """Most bytes that `save_state`'s file will have."""
        return self.engine.state_bytes

    def save_state(self, path: Path) -> int:
        """Write the cache into a file; see `Engine.save_state`."""
        return self.engine.save_state(path)

    def load_state(self, path: Path) -> int:
        """Read the cache from a file; see `Engine.load_state`."""
        return self.engine.load_state(path)

    def close(self) -> None:
        """Free the model; what its batches cost is kept for the next time."""
        if self.engine.is_open:
            kept_costs.keep(self.engine)
        if self.conversations is not None:
            self.conversations.forget()
        self.engine.close()


def engine_of(backend: Backend) -> Engine:
    """Return the engine behind a backend, for tools that measure llama.cpp; raises TypeError if there is none."""
    if not isinstance(backend, LlamaBackend):
        raise TypeError(f"{backend.name} is not computed by llama.cpp in this process")
    return backend.engine
