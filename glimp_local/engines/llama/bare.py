"""A model without a vocabulary, computed as it is: what is multiplied to prove llama.cpp and to measure a machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from glimp_local.engines.llama import loading
from glimp_local.engines.llama.binding import lib
from glimp_local.errors import DecodeError
from glimp_local.hardware import cpus
from glimp_local.settings import EngineOptions


class BareModel:
    """A file of `proof_models`, loaded as real models are, on a GPU if llama.cpp sees one."""

    def __init__(self, path: Path, options: EngineOptions, *, context: int, threads: int | None = None) -> None:
        threads = threads or cpus().threads
        self._model: Any = loading.load_model(path, options, threading.Event(), None)
        self._context: Any = loading.make_context(
            self._model, path.stem, options, context=context, batch_size=context, threads=(threads, threads)
        )
        self._batch: Any = lib.llama_batch_init(context, 0, 1)
        self._vocabulary: int = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        self._held = 0

    def decode(self, ids: Sequence[int]) -> None:
        """Compute tokens in one batch; raises DecodeError if that fails or gives a value that is not a number."""
        batch = self._batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i] = token, self._held + i
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, i == len(ids) - 1
        if lib.llama_decode(self._context, batch):
            raise DecodeError("llama.cpp could not compute")
        self._held += len(ids)
        logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, -1), (self._vocabulary,))
        if not np.isfinite(logits).all():
            raise DecodeError("llama.cpp computed a value that is not a number")

    def forget(self) -> None:
        """Hold nothing."""
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        self._held = 0

    def cut(self, length: int) -> None:
        """Hold the first `length` tokens alone."""
        lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), 0, length, -1)
        self._held = length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)
