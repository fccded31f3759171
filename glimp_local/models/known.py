"""The headers of the catalogue's models, for planning before anything is downloaded.

The dimensions are those their makers publish. Which matrix is of which number type follows llama.cpp's own choice for
Q4_K_M and Q8_0 (llama-quant.cpp): with it the sizes come out as those of the published files, less the six megabytes of
their vocabularies; a test holds them against `size_bytes` of models.toml.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

from glimp_local.models.gguf.header import Array, Header, Tensor
from glimp_local.models.gguf.tensor_types import TENSOR_TYPES

_STRINGS = 8  # GGUF's number of the type
_UNMERGED = 549
"""Tokens of Qwen's vocabulary that no merge makes: bytes, control tokens and what fills the table up."""
_TYPES = {type_.name: type_ for type_ in TENSOR_TYPES.values()}


class Dimensions(NamedTuple):
    """A transformer of the kind all models here are."""

    architecture: str
    types: Literal["Q8_0", "Q4_K_M"]
    blocks: int
    embedding: int
    feed_forward: int
    """Of a block, or of one expert."""
    heads: int
    heads_kv: int
    tied: bool
    """Is the output matrix the table of embeddings?"""
    head: int = 128
    vocabulary: int = 151_936
    context: int = 40_960
    experts: int = 0
    experts_used: int = 0


_MODELS = {
    "Qwen3-0.6B-Q8_0.gguf": Dimensions("qwen3", "Q8_0", 28, 1024, 3072, 16, 8, tied=True),
    "Qwen3-1.7B-Q8_0.gguf": Dimensions("qwen3", "Q8_0", 28, 2048, 6144, 16, 8, tied=True),
    "Qwen3-4B-Q4_K_M.gguf": Dimensions("qwen3", "Q4_K_M", 36, 2560, 9728, 32, 8, tied=True),
    "Qwen3-8B-Q4_K_M.gguf": Dimensions("qwen3", "Q4_K_M", 36, 4096, 12288, 32, 8, tied=False),
    "Qwen3-32B-Q4_K_M.gguf": Dimensions("qwen3", "Q4_K_M", 64, 5120, 25600, 64, 8, tied=False),
    "Qwen3-30B-A3B-Q4_K_M.gguf": Dimensions(
        "qwen3moe", "Q4_K_M", 48, 2048, 768, 32, 4, tied=False, experts=128, experts_used=8
    ),
    "DeepSeek-R1-Distill-Qwen-32B-Q4_K_M.gguf": Dimensions(
        "qwen2", "Q4_K_M", 64, 5120, 27648, 40, 8, tied=False, vocabulary=152_064, context=131_072
    ),
}


def known_header(file: str) -> Header | None:
    """Give the header a file of the catalogue will have, as far as memory goes; None for any other file."""
    model = _MODELS.get(file)
    if model is None:
        return None
    metadata: dict[str, int] = {
        "block_count": model.blocks,
        "context_length": model.context,
        "embedding_length": model.embedding,
        "feed_forward_length": model.feed_forward,
        "attention.head_count": model.heads,
        "attention.head_count_kv": model.heads_kv,
        "attention.key_length": model.head,
        "attention.value_length": model.head,
    }
    if model.experts:
        metadata |= {
            "expert_count": model.experts,
            "expert_used_count": model.experts_used,
            "expert_feed_forward_length": model.feed_forward,
        }
    tensors = tuple(_tensors(model))
    return Header(
        path=Path(file),
        parts=(Path(file),),
        size_bytes=sum(tensor.size_bytes for tensor in tensors),
        metadata={
            "general.architecture": model.architecture,
            "tokenizer.ggml.merges": Array(Path(file), _STRINGS, model.vocabulary - _UNMERGED, 0),
            **{f"{model.architecture}.{key}": value for key, value in metadata.items()},
        },
        tensors=tensors,
    )


def _tensors(model: Dimensions) -> Iterator[Tensor]:
    plain = "Q8_0" if model.types == "Q8_0" else "Q4_K"
    precise = "Q8_0" if model.types == "Q8_0" else "Q6_K"
    width, table = model.embedding, (model.embedding, model.vocabulary)
    yield _tensor("token_embd.weight", table, precise if model.tied else plain)
    if not model.tied:
        yield _tensor("output.weight", table, precise)
    yield _tensor("output_norm.weight", (width,), "F32")
    for i in range(model.blocks):
        more = precise if _gets_more_bits(i, model.blocks) else plain
        for name, shape, type_ in _block(model, plain, more):
            yield _tensor(f"blk.{i}.{name}", shape, type_)


def _block(model: Dimensions, plain: str, more: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    width, inner = model.embedding, model.feed_forward
    query, key = model.heads * model.head, model.heads_kv * model.head
    yield "attn_q.weight", (width, query), plain
    yield "attn_k.weight", (width, key), plain
    yield "attn_v.weight", (width, key), more
    yield "attn_output.weight", (query, width), plain
    if model.architecture == "qwen2":
        for name, size in (("attn_q.bias", query), ("attn_k.bias", key), ("attn_v.bias", key)):
            yield name, (size,), "F32"
    else:
        yield "attn_q_norm.weight", (model.head,), "F32"
        yield "attn_k_norm.weight", (model.head,), "F32"
    yield "attn_norm.weight", (width,), "F32"
    yield "ffn_norm.weight", (width,), "F32"
    experts, end = ((model.experts,), "_exps") if model.experts else ((), "")
    if model.experts:
        yield "ffn_gate_inp.weight", (width, model.experts), "F32"
    yield f"ffn_gate{end}.weight", (width, inner, *experts), plain
    yield f"ffn_up{end}.weight", (width, inner, *experts), plain
    yield f"ffn_down{end}.weight", (inner, width, *experts), more


def _gets_more_bits(block: int, blocks: int) -> bool:
    """Is it one of the blocks in which Q4_K_M stores two matrices more precisely?"""
    eighth = blocks // 8
    return block < eighth or block >= 7 * blocks // 8 or (block - eighth) % 3 == 2  # noqa: PLR2004 - every third


def _tensor(name: str, shape: tuple[int, ...], type_: str) -> Tensor:
    kind = _TYPES[type_]
    return Tensor(name, shape, type_, prod(shape) // kind.values * kind.size_bytes)
