"""The bytes of one GGUF file, taken apart up to the weights.

Knows the format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3). Whatever bytes a file
holds, reading it ends, in bounded time and memory, with what stands there or with a ModelUnreadableError.
"""

from __future__ import annotations

import os
import stat
import struct
from math import prod
from pathlib import Path
from typing import Any, Self

import msgspec

from glimp_local.errors import ModelMissingError, ModelUnreadableError
from glimp_local.models.gguf.tensor_types import TENSOR_TYPES

MAGIC = b"GGUF"

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""struct's format of each scalar type of the metadata."""
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32
_MOST_DIMENSIONS = 4
_MOST_VALUES = 2**63
_MOST_HEADER_BYTES = 2**27
"""The longest headers known, of vocabularies of 260,000 tokens, take a quarter of it."""
_MOST_ENTRIES = 2**17
"""Most keys, and most tensors: a large mixture of experts has some thousands."""
_PIECE_BYTES = 2**20
_SHORTEST_KEY, _SHORTEST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8  # bytes


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: a matrix of weights, or a vector."""

    name: str
    shape: tuple[int, ...]
    """The innermost dimension first, as in ggml."""
    type: str
    size_bytes: int

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


class Array(msgspec.Struct, frozen=True):
    """An array of the metadata, not read yet: `Header.array` does."""

    part: Path
    kind: int
    count: int
    offset: int
    size_bytes: int = 0
    """Of its members; 0 in an array that stands in no file."""


class GgufFile:
    """A position in the bytes of one file from `start` on. Every length is held against what is left before it is read.

    Bytes are read as they are needed, and not mapped: a mapped file that somebody cuts short kills the process.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self.at = 0
        self._start = start
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for somebody to write
                what = "a folder" if path.is_dir() else "no regular file"
                raise ModelUnreadableError(f"{path} is {what}", hint="name a GGUF file")
            self._file = path.open("rb", buffering=0)
            self._file.seek(start)
        except FileNotFoundError as error:
            raise ModelMissingError(f"{path}: no such file", hint="check the path") from error
        except OSError as error:
            raise ModelUnreadableError(f"{path} cannot be read: {error.strerror}") from error
        self.size = max(os.fstat(self._file.fileno()).st_size - start, 0)
        self._bytes = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def header(self) -> tuple[dict[str, Any], list[Tensor]]:
        """Read the metadata and the tensors; raises ModelUnreadableError where the file is damaged or cut short."""
        self._check_magic()
        version = self._scalar("<I")
        if version not in {2, 3}:
            big_endian = version and version & 0xFFFF == 0
            what = "is written for a big-endian machine" if big_endian else f"is GGUF version {version}"
            raise ModelUnreadableError(
                f"{self.path} {what}; glimp reads versions 2 and 3 of little-endian ones",
                hint="look for the model in a file of another kind",
            )
        tensor_count, key_count = self._scalar("<Q"), self._scalar("<Q")
        if max(tensor_count, key_count) > _MOST_ENTRIES:
            raise self._damaged(f"speaks of {key_count:,} keys and {tensor_count:,} tensors")
        self._check_length(key_count * _SHORTEST_KEY + tensor_count * _SHORTEST_TENSOR)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._string()
            if key in metadata:
                raise self._damaged(f"has the key {shown(key)} twice")
            metadata[key] = self._value(self._scalar("<I"))
        tensors = self._tensors(tensor_count, metadata.get("general.alignment", _ALIGNMENT))
        return metadata, tensors

    def array(self, array: Array) -> list[Any]:
        """Read what is in an array of the metadata, where this began: numbers, or texts as bytes."""
        if array.kind == _STRING:
            return self._strings(array)
        values = struct.Struct(self._format(array.kind))
        self._need(array.count * values.size)
        with memoryview(self._bytes) as view, view[: array.count * values.size] as raw:
            return [value for (value,) in values.iter_unpack(raw)]

    def _check_magic(self) -> None:
        # Said first, whatever the length: a short page of a web server is no model that was cut short.
        self._fill(min(len(MAGIC), self.size))
        magic = bytes(self._bytes[: len(MAGIC)])
        if magic != MAGIC:
            begins = f"it begins with {magic!r}" if magic else "it is empty"
            raise ModelUnreadableError(
                f"{self.path} is no GGUF file ({begins})",
                hint="glimp runs models in GGUF format; look for a repository whose name ends in -GGUF",
            )
        self.at = len(MAGIC)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(self._format(kind))
        kind, count = self._scalar("<I"), self._scalar("<Q")
        start = self.at
        if kind == _STRING:
            self._skip_strings(count)
        else:
            self._skip(count * struct.calcsize(self._format(kind)))
        return Array(self.path, kind, count, start, self.at - start)

    def _skip_strings(self, count: int) -> None:
        self._check_length(count * 8)
        at, data, unpack = self.at, self._bytes, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > len(data):
                self.at = at
                self._need(8)
            at += 8 + unpack(data, at)[0]
        self.at = at
        self._need(0)

    def _strings(self, array: Array) -> list[bytes]:
        """Read many texts as bytes. Their extents were checked with the header; only the whole is checked again."""
        self._need(array.size_bytes)
        data, unpack, found = bytes(self._bytes), struct.Struct("<Q").unpack_from, []
        at = self.at
        try:
            for _ in range(array.count):
                start = at + 8
                at = start + unpack(data, at)[0]
                found.append(data[start:at])
        except (struct.error, OverflowError):  # behind the end; so far behind that no machine counts there
            at = -1
        if at != self.at + array.size_bytes:
            raise self._damaged("was changed while it was read")
        return found

    def _tensors(self, count: int, alignment: Any) -> list[Tensor]:
        if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 1 or alignment & alignment - 1:
            raise self._damaged(f"has an alignment of {shown(alignment)}")
        tensors, names, end = [], set(), 0
        for _ in range(count):
            name = self._string()
            if name in names:
                raise self._damaged(f"has the tensor {shown(name)} twice")
            names.add(name)
            dimensions = self._scalar("<I")
            if dimensions > _MOST_DIMENSIONS:
                raise self._damaged(f"has a tensor {shown(name)} of {dimensions} dimensions")
            shape = tuple(self._scalar("<Q") for _ in range(dimensions))
            number, offset = self._scalar("<I"), self._scalar("<Q")
            tensors.append(tensor := self._tensor(name, shape, number))
            if offset != end:
                raise self._damaged(f"has the tensor {shown(name)} at {offset:,}, expected at {end:,}")
            end += -(-tensor.size_bytes // alignment) * alignment
        if tensors:
            start = -(-self.at // alignment) * alignment
            self._check_length(start + offset + tensors[-1].size_bytes - self.at)
        return tensors

    def _tensor(self, name: str, shape: tuple[int, ...], number: int) -> Tensor:
        type_ = TENSOR_TYPES.get(number)
        if type_ is None:
            raise ModelUnreadableError(
                f"{self.path}: tensor {shown(name)} has the number type {number}, which glimp does not know",
                hint="a newer glimp may know it, or look for the model in another quantisation",
            )
        values = prod(shape)
        if max(values, *shape, 0) >= _MOST_VALUES:
            raise self._damaged(f"has a tensor {shown(name)} of {' x '.join(map(str, shape))} values")
        if (shape[0] if shape else 1) % type_.values:
            what = f"rows of {shape[0] if shape else 1} are not whole blocks of {type_.name}"
            raise self._damaged(f"has a tensor {shown(name)} whose {what}")
        return Tensor(name, shape, type_.name, values // type_.values * type_.size_bytes)

    def _string(self) -> str:
        start = self.at + 8
        self._skip(self._scalar("<Q"))
        return self._bytes[start : self.at].decode("utf-8", "replace")

    def _scalar(self, format_: str) -> Any:
        start = self.at
        self._skip(struct.calcsize(format_))
        return struct.unpack_from(format_, self._bytes, start)[0]

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self._damaged(f"has a value of the unknown kind {kind}")
        return _SCALARS[kind]

    def _skip(self, size: int) -> None:
        """Advance this many bytes, all of them read."""
        self._need(size)
        self.at += size

    def _need(self, size: int) -> None:
        """Read this many bytes from here on; raise if they are not left, or no header is so long."""
        end = self.at + size
        if end <= len(self._bytes):
            return
        self._check_length(size)
        if end > _MOST_HEADER_BYTES:
            raise self._damaged(f"has a header of more than {_MOST_HEADER_BYTES:,} bytes")
        self._fill(end)

    def _fill(self, end: int) -> None:
        while len(self._bytes) < end:
            try:
                piece = self._file.read(_PIECE_BYTES)
            except OSError as error:
                raise ModelUnreadableError(f"{self.path} cannot be read: {error.strerror}") from error
            if not piece:  # it was cut short meanwhile
                self.size = len(self._bytes)
                raise self._cut_short(end)
            self._bytes += piece

    def _check_length(self, size: int) -> None:
        """Raise if this many bytes are not left in the file."""
        if self.at + size > self.size:
            raise self._cut_short(self.at + size)

    def _cut_short(self, expected: int) -> ModelUnreadableError:
        has, speaks_of = self._start + self.size, self._start + expected
        return ModelUnreadableError(
            f"{self.path} is cut short or damaged: it has {has:,} bytes, not the {speaks_of:,} it speaks of",
            hint="download it again; glimp models pull goes on where a download stopped",
        )

    def _damaged(self, how: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"{self.path} is damaged: it {how}", hint="download it again")


def shown(value: object) -> str:
    """Spell what stands in a file so that it fits into a message and steers no terminal."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line
