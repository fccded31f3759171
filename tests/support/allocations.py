"""What llama.cpp says it would allocate for a model: its own count, without allocating (`no_alloc`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import gguf
import llama_cpp as lib
import numpy as np

from glimp_local.engines.llama import loading
from glimp_local.models.gguf.header import Header
from glimp_local.settings import EngineOptions

MEBIBYTE = 2**20
ALIGNMENT = 32


def write_header(path: Path, header: Header) -> Path:
    """Write a GGUF that has everything but its weights: a hole of their size takes no room on the disk."""
    writer = gguf.GGUFWriter(path, header.architecture)
    for key, value in header.metadata.items():
        if isinstance(value, int):
            writer.add_uint32(key, value)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tables = [tensor for tensor in header.tensors if tensor.name == "token_embd.weight"]
    writer.add_token_list([f"token {i}" for i in range(tables[0].shape[1])])
    writer.add_token_merges(["t o"])
    writer.add_eos_token_id(0)
    hole = ALIGNMENT
    for tensor in header.tensors:
        # A quantised tensor is given to the writer as rows of bytes.
        rows = tensor.shape[:0:-1]
        plain = tensor.type == "F32"
        shape = (*rows, tensor.shape[0] if plain else tensor.size_bytes // prod(rows))
        dtype: np.dtype[Any] = np.dtype(np.float32 if plain else np.uint8)
        kind = None if plain else gguf.GGMLQuantizationType[tensor.type]
        writer.add_tensor_info(tensor.name, shape, dtype, tensor.size_bytes, raw_dtype=kind)
        hole += -(-tensor.size_bytes // ALIGNMENT) * ALIGNMENT
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + hole)
    return path


class Allocations:
    """A model of which only the header is loaded."""

    def __init__(self, path: Path, log: _Lines) -> None:
        params = lib.llama_model_default_params()
        params.no_alloc = True
        params.load_mode = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        self._log = log
        assert self._model, log.lines[-5:]

    def of(self, context: int, batch: int, **options: Any) -> tuple[float, float]:
        """Give the bytes of the caches and of the computation."""
        self._log.lines.clear()
        chosen = EngineOptions(**options)
        made = loading.make_context(self._model, "model", chosen, context=context, batch_size=batch, threads=(1, 1))
        lib.llama_free(made)
        text = "\n".join(self._log.lines)
        caches = re.findall(r"(?:kv_cache\w*|memory_recurrent): size = +([\d.]+) MiB", text)
        computing = re.findall(r"compute buffer size = +([\d.]+) MiB", text)
        return sum(map(float, caches)) * MEBIBYTE, sum(map(float, computing)) * MEBIBYTE

    def close(self) -> None:
        lib.llama_model_free(self._model)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def counted(path: Path) -> Iterator[Allocations]:
    """Load a header, and free it."""
    log, lines = logging.getLogger("glimp_local.llama"), _Lines()
    level = log.level
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(lines)
    try:
        model = Allocations(path, lines)
        yield model
        model.close()
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
        log.propagate = True
