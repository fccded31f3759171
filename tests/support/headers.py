"""Headers of GGUFs written byte by byte: also such as no writer would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def string(text: str | bytes, length: int | None = None) -> bytes:
    """Spell a text; `length` is what it claims to be."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def strings(texts: Sequence[str | bytes], count: int | None = None) -> bytes:
    """Spell an array of texts; `count` is how many it claims to hold."""
    return u32(STRING) + u64(len(texts) if count is None else count) + b"".join(map(string, texts))


class Key(msgspec.Struct, frozen=True):
    name: str | bytes
    kind: int
    value: bytes

    def spelled(self) -> bytes:
        return string(self.name) + u32(self.kind) + self.value


class Matrix(msgspec.Struct, frozen=True):
    name: str | bytes
    shape: tuple[int, ...]
    kind: int = 0
    offset: int = 0

    def spelled(self) -> bytes:
        return (
            string(self.name)
            + u32(len(self.shape))
            + b"".join(map(u64, self.shape))
            + u32(self.kind)
            + u64(self.offset)
        )


ARCHITECTURE = Key("general.architecture", STRING, string("llama"))


def text(name: str, value: str | bytes) -> Key:
    return Key(name, STRING, string(value))


def number(name: str, value: int) -> Key:
    return Key(name, U32, u32(value))


def gguf_bytes(
    keys: Sequence[Key] = (ARCHITECTURE,),
    tensors: Sequence[Matrix] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    data: int = 0,
) -> bytes:
    """Spell a file with `data` bytes of weights; the counts are what it claims to hold."""
    counts = [
        given if given is not None else len(parts) for given, parts in ((tensor_count, tensors), (key_count, keys))
    ]
    head = magic + u32(version) + b"".join(map(u64, counts))
    head += b"".join(key.spelled() for key in keys) + b"".join(tensor.spelled() for tensor in tensors)
    return head + bytes(-len(head) % 32 if data else 0) + bytes(data)
