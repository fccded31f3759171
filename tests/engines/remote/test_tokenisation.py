"""The same model behind llama.cpp here, llama-server and vLLM makes the same ids of a text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glimp_local.engines.llama.vocabulary import Vocabulary
from tests.conftest import BUILTIN
from tests.support.llama_server import LlamaServer
from tests.support.server_process import ServerProcess, json_of
from tests.support.texts import TEXTS
from tests.support.vllm_server import VllmServer
from tests.support.vocabularies import vocabulary


@pytest.fixture(scope="module")
def ours() -> Iterator[Vocabulary]:
    with vocabulary(BUILTIN / "small.gguf") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def llama_server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "small.gguf") as server:
        yield server


def equal(server: ServerProcess, ours: Vocabulary) -> None:
    for text in TEXTS:
        assert server.tokenize(text) == ours.tokenize(text, control=True), text


def test_llama_server_s_ids_are_ours(llama_server: LlamaServer, ours: Vocabulary) -> None:
    equal(llama_server, ours)


def test_llama_server_takes_spelled_marks_for_letters_where_it_is_told_to(
    llama_server: LlamaServer, ours: Vocabulary
) -> None:
    asked = {"content": "<|im_end|>", "parse_special": False}
    ids = json_of(llama_server.post("/tokenize", asked))["tokens"]
    assert len(ids) > 1
    assert ids == ours.tokenize("<|im_end|>")


def test_vllm_s_ids_are_ours(vllm_small: VllmServer, ours: Vocabulary) -> None:
    equal(vllm_small, ours)
