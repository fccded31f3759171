"""The model of one GGUF file in memory: its weights, its vocabulary, and what the file says of itself.

Promises that what comes out can continue a text; knows nothing of contexts, and of what is computed with it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glimp_local.engines.llama import loading, servers
from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import ModelUnreadableError
from glimp_local.models.gguf.fatal import refuse_fatal
from glimp_local.models.gguf.header import read_header
from glimp_local.models.names import readable_name
from glimp_local.settings import EngineOptions


class LoadedModel:
    """A model in memory, until it is closed.

    `on_progress` hears the loaded fraction (0 to 1). Raises what `loading.load_model` raises, and ModelMissingError or
    ModelUnreadableError for a file that is none, or of a model that does not write.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        cancel: threading.Event,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        # llama.cpp sees no file that is none, or damaged: its own messages do not say what to do, or it aborts.
        refuse_fatal(read_header(path))
        self.path = path
        self.size_bytes = path.stat().st_size
        self._vocabulary: Vocabulary | None = None
        self.handle: Any = loading.load_model(path, options, cancel, on_progress)
        """llama.cpp's; None once it is closed."""
        self._servers = options.servers
        servers.begin_use(self._servers)
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        self._vocabulary = self.vocabulary = Vocabulary(self.handle)
        self.name = readable_name(self.metadata("general.name"), self.path)
        self.trained_context: int = lib.llama_model_n_ctx_train(self.handle)
        self.layers: int = lib.llama_model_n_layer(self.handle)
        """Without its output."""
        if lib.llama_model_has_encoder(self.handle) or not lib.llama_model_has_decoder(self.handle):
            raise self.no_writer()

    def no_writer(self) -> ModelUnreadableError:
        """Return the error for a model that answers no question."""
        return ModelUnreadableError(
            f"{self.path} is no model that continues a text", hint="glimp needs a chat or reasoning model"
        )

    def metadata(self, key: str) -> str | None:
        """Read one string of the GGUF's metadata."""
        buffer = ctypes.create_string_buffer(512)
        count = lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None

    def template(self, renderer: Renderer, source: str | None = None) -> ChatTemplate:
        """Return the model's chat template, or `source` in its place.

        Raises ModelUnreadableError if there is none.
        """
        if source is None:
            raw = lib.llama_model_chat_template(self.handle, None)
            if not raw:
                raise ModelUnreadableError(
                    f"{self.path} carries no chat template, so there is no way to put a question to it",
                    hint="give one with --chat-template FILE, or chat_template in models.toml",
                )
            source = raw.decode("utf-8", "replace")
        spelled = self.vocabulary.spelled
        bos, eos = spelled(self.vocabulary.bos), spelled(self.vocabulary.eos)
        return ChatTemplate(source, bos=bos, eos=eos, renderer=renderer)

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        if self._vocabulary is not None:
            self._vocabulary.close()
        # Forgotten first, freed then: an interrupt between the two must not lead to freeing twice.
        handle, self.handle = self.handle, None
        if handle:
            lib.llama_model_free(handle)
            servers.end_use(self._servers)
