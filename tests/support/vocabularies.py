"""Vocabularies without weights, as llama.cpp's own tests use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp

from glimp_local.engines.llama.vocabulary import Vocabulary


@contextmanager
def vocabulary(path: Path) -> Iterator[Vocabulary]:
    """Load only the vocabulary of a GGUF."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, path
    try:
        yield Vocabulary(model)
    finally:
        llama_cpp.llama_model_free(model)
