"""GGUF models whose only purpose is to be multiplied: each has its matrices in one number type.

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
_SCALES = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0"), (0,)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q6_K": (208,),
    **dict.fromkeys(("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"), (0,)),
}
"""Where the scales are in a block of each type: 16-bit floats."""
_SCALE = struct.pack("<e", 0.001)
_PLAIN = {"F32": struct.pack("<f", 0.01), "F16": struct.pack("<e", 0.01), "BF16": struct.pack("<f", 0.01)[2:]}
WRITABLE = frozenset({*_SCALES, *_PLAIN})
"""Number types that a model can be written in."""
_TILE_VALUES = 1 << 16
"""Values that are drawn; then they repeat."""
_ALIGNMENT = 32
_U32, _F32, _STRING = 4, 6, 8


def write_model(path: Path, type_name: str, *, width: int = 256, layers: int = 1, wider: int = 1) -> None:
    """Write a Llama of `layers` layers, all of whose matrices are of one type.

    Those of its attention are `width` x `width` values, those of its feed-forward part `wider` times as many. `width`
    is a multiple of 256, so that every type has whole blocks in a row.
    """
    # No cryptography: any values will do, and the same ones each time are easier to look into.
    source = random.Random(0)  # noqa: S311 - no cryptography here
    metadata: dict[str, int | float | str] = {
        "general.architecture": "llama",
        "general.name": f"proof of {type_name}",
        "llama.context_length": 2048,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": wider * width,
        "llama.attention.head_count": width // 64,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "no_vocab",
    }
    tensors = list(_tensors(type_name, width, layers, wider, source))
    head = MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    offset = 0
    for name, shape, number, data in tensors:
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset)
        offset += len(_padded(data))
    with path.open("wb") as file:
        file.write(_padded(head))
        file.writelines(_padded(data) for *_, data in tensors)


def _tensors(
    type_name: str, width: int, layers: int, wider: int, source: random.Random
) -> Iterator[tuple[str, Sequence[int], int, bytes]]:
    """Yield name, shape, number of the type and data of each tensor; shapes as GGUF has them, a row's length first."""
    embedding = struct.pack(f"<{width * VOCABULARY}f", *(source.uniform(-1, 1) for _ in range(width * VOCABULARY)))
    norm = struct.pack(f"<{width}f", *[1.0] * width)
    square, wide = (_matrix(type_name, width * columns, source) for columns in (width, wider * width))
    within, across = (width, width), (width, wider * width)
    matrices = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (within, square)),
        "ffn_gate": (across, wide),
        "ffn_up": (across, wide),
        "ffn_down": (across[::-1], wide),
    }
    yield "token_embd.weight", (width, VOCABULARY), _NUMBERS["F32"], embedding
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (width,), _NUMBERS["F32"], norm
        for name, (shape, data) in matrices.items():
            yield f"blk.{layer}.{name}.weight", shape, _NUMBERS[type_name], data
    yield "output_norm.weight", (width,), _NUMBERS["F32"], norm
    yield "output.weight", (width, VOCABULARY), _NUMBERS[type_name], _matrix(type_name, width * VOCABULARY, source)


def _matrix(type_name: str, values: int, source: random.Random) -> bytes:
    if type_name in _PLAIN:
        return _PLAIN[type_name] * values
    type_ = TENSOR_TYPES[_NUMBERS[type_name]]
    size = values // type_.values * type_.size_bytes
    data = bytearray(source.randbytes(min(values, _TILE_VALUES) // type_.values * type_.size_bytes))
    for start in range(0, len(data), type_.size_bytes):
        for scale in _SCALES[type_name]:
            data[start + scale : start + scale + len(_SCALE)] = _SCALE
    return (bytes(data) * -(-size // len(data)))[:size]


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return struct.pack("<If", _F32, value) if isinstance(value, float) else struct.pack("<II", _U32, value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
