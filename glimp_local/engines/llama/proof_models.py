"""Tiny GGUF models whose only purpose is to be multiplied: each has its matrices in one number type.

They have no vocabulary and no meaning. The values are random, but scaled so that what comes out of a sound kernel is
finite.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glimp_local.models.gguf.file import MAGIC
from glimp_local.models.gguf.tensor_types import TENSOR_TYPES

TYPES = ("F16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "IQ2_XXS")
"""Number types of the usual quantisations; they go through different kernels."""
VOCABULARY = 64
"""Tokens, without names."""

_NUMBERS = {type_.name: number for number, type_ in TENSOR_TYPES.items()}
_SCALES = {"Q6_K": (208,), "Q4_1": (0, 2), "Q4_K": (0, 2), "Q8_0": (0,), "Q4_0": (0,), "IQ2_XXS": (0,), "IQ4_NL": (0,)}
"""Where the scales are in a block of each type: 16-bit floats."""
_SCALE = struct.pack("<e", 0.001)
_ALIGNMENT = 32
_U32, _F32, _STRING = 4, 6, 8


def write_model(path: Path, type_name: str, *, width: int = 256, layers: int = 1) -> None:
    """Write a Llama of `layers` layers, all of whose matrices are `width` x `width` values of one type.

    `width` is a multiple of 256, so that every type has whole blocks in a row.
    """
    # No cryptography: any values will do, and the same ones each time are easier to look into.
    source = random.Random(0)  # noqa: S311 - no cryptography here
    metadata: dict[str, int | float | str] = {
        "general.architecture": "llama",
        "general.name": f"proof of {type_name}",
        "llama.context_length": 512,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": width,
        "llama.attention.head_count": width // 64,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "no_vocab",
    }
    tensors = list(_tensors(type_name, width, layers, source))
    head = MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    offset = 0
    for name, shape, number, data in tensors:
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset)
        offset += len(_padded(data))
    path.write_bytes(_padded(head) + b"".join(_padded(data) for *_, data in tensors))


def _tensors(
    type_name: str, width: int, layers: int, source: random.Random
) -> Iterator[tuple[str, Sequence[int], int, bytes]]:
    """Yield name, shape, number of the type and data of each tensor; shapes as GGUF has them, a row's length first."""
    embedding = struct.pack(f"<{width * VOCABULARY}f", *(source.uniform(-1, 1) for _ in range(width * VOCABULARY)))
    norm = struct.pack(f"<{width}f", *[1.0] * width)
    yield "token_embd.weight", (width, VOCABULARY), _NUMBERS["F32"], embedding
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (width,), _NUMBERS["F32"], norm
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            data = _matrix(type_name, width * width, source)
            yield f"blk.{layer}.{name}.weight", (width, width), _NUMBERS[type_name], data
    yield "output_norm.weight", (width,), _NUMBERS["F32"], norm
    yield "output.weight", (width, VOCABULARY), _NUMBERS[type_name], _matrix(type_name, width * VOCABULARY, source)


def _matrix(type_name: str, values: int, source: random.Random) -> bytes:
    if type_name == "F16":
        return struct.pack("<e", 0.01) * values
    type_ = TENSOR_TYPES[_NUMBERS[type_name]]
    data = bytearray(source.randbytes(values // type_.values * type_.size_bytes))
    for start in range(0, len(data), type_.size_bytes):
        for scale in _SCALES[type_name]:
            data[start + scale : start + scale + len(_SCALE)] = _SCALE
    return bytes(data)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return struct.pack("<If", _F32, value) if isinstance(value, float) else struct.pack("<II", _U32, value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
