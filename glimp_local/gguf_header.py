"""The header of a GGUF file: what a model is, read without loading it.

Knows the format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3) and nothing of llama.cpp:
reading takes milliseconds, and whatever bytes a file holds, it ends with a Header or a ModelUnreadableError, in bounded
time and memory. The `gguf` package reads the same; it takes ten seconds for a vocabulary of 150,000 tokens, and expects
files that are whole.

A model may be split into several files (`name-00001-of-00003.gguf`): then the first one is named, and all are read.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from math import prod
from pathlib import Path
from typing import Any, Self

import msgspec

from glimp_local.errors import ModelMissingError, ModelUnreadableError
from glimp_local.tensor_types import TENSOR_TYPES

MAGIC = b"GGUF"

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""struct's format of each scalar type of the metadata."""
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32
_MOST_DIMENSIONS = 4
_MOST_NUMBER = 2**32
"""llama.cpp keeps the numbers of an architecture in 32 bits."""
_MOST_VALUES = 2**63
_MOST_HEADER_BYTES = 2**27
"""The longest headers known, of vocabularies of 260,000 tokens, take a quarter of it."""
_MOST_ENTRIES = 2**17
"""Most keys, and most tensors: a large mixture of experts has some thousands."""
_PIECE_BYTES = 2**20
_SHORTEST_KEY, _SHORTEST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8  # bytes
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


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


class Header(msgspec.Struct, frozen=True):
    """What stands before the weights."""

    path: Path
    parts: tuple[Path, ...]
    """All files of the model, in order."""
    size_bytes: int
    """Of all files."""
    metadata: dict[str, Any]
    """Numbers, booleans, strings and `Array`s, by key."""
    tensors: tuple[Tensor, ...]
    """Of all files."""

    @property
    def architecture(self) -> str:
        """Name of the architecture, as "qwen3"."""
        found = self.metadata.get("general.architecture")
        if not isinstance(found, str):
            raise ModelUnreadableError(f"{self.path} names no architecture (general.architecture)")
        return found

    def number(self, key: str, default: int | None = None) -> int:
        """Give a whole number of the architecture's own: `block_count` is `qwen3.block_count`.

        Of an array, which has one a layer, the greatest. Raises ModelUnreadableError where it is missing and there is
        no default, or is no number from 0 on.
        """
        name = f"{self.architecture}.{key}"
        value = self.metadata.get(name, default)
        if isinstance(value, Array):
            value = max((item for item in self.array(name) if isinstance(item, int)), default=default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_NUMBER:
            raise ModelUnreadableError(f"{self.path}: {_shown(name)} is {_shown(value)}, expected a number")
        return value

    def text(self, key: str) -> str | None:
        """Give a text of the metadata; None where there is none, or it is no text."""
        found = self.metadata.get(key)
        return found if isinstance(found, str) else None

    def array(self, key: str) -> list[Any]:
        """Read an array of the metadata, its texts as bytes; an empty one where there is none."""
        found = self.metadata.get(key)
        if not isinstance(found, Array):
            return []
        with _Reader(found.part) as reader:
            return reader.array(found)


def read_header(path: Path) -> Header:
    """Read the header of a model, of all its files where it is split.

    Raises ModelMissingError where a file is not there, ModelUnreadableError where one is no GGUF, or is damaged or cut
    short.
    """
    first = _read_part(path)
    count = first.metadata.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return first
    paths = part_paths(path)
    if len(paths) != count:
        raise ModelUnreadableError(
            f"{path} is one of {count} files, but its name does not say which",
            hint=f"give the first file its own name: NAME-00001-of-{count:05}.gguf",
        )
    parts = [first, *map(_read_part, paths[1:])]
    for number, part in enumerate(parts):
        if part.metadata.get("split.no") != number:
            raise ModelUnreadableError(
                f"{part.path} is not the file number {number + 1} its name says", hint="download it again"
            )
    return Header(
        path=path,
        parts=tuple(paths),
        size_bytes=sum(part.size_bytes for part in parts),
        metadata=first.metadata,
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
    )


def part_paths(path: Path) -> list[Path]:
    """Give the paths of all files of a model by the name of the first one; raises ModelUnreadableError for a later one.

    They need not exist.
    """
    return [path.with_name(name) for name in part_names(path.name)]


def part_names(name: str) -> list[str]:
    """Give the names of all files of a model by that of the first one; raises ModelUnreadableError for a later one."""
    match = _PART.search(name)
    if match is None:
        return [name]
    number, count = int(match[1]), int(match[2])
    if number != 1:
        first = f"{name[: match.start()]}-00001-of-{match[2]}.gguf"
        raise ModelUnreadableError(f"{name} is number {number} of {count} files", hint=f"name the first one: {first}")
    return [f"{name[: match.start()]}-{i + 1:05}-of-{match[2]}.gguf" for i in range(count)]


def _read_part(path: Path) -> Header:
    with _Reader(path) as reader:
        metadata, tensors = reader.header()
        return Header(path=path, parts=(path,), size_bytes=reader.size, metadata=metadata, tensors=tuple(tensors))


def _shown(value: object) -> str:
    """Spell what stands in a file so that it fits into a message and steers no terminal."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line


class _Reader:
    """A position in the bytes of one file. Every length is held against what is left before anything is read.

    Bytes are read as they are needed, and not mapped: a mapped file that somebody cuts short kills the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for somebody to write
                what = "a folder" if path.is_dir() else "no regular file"
                raise ModelUnreadableError(f"{path} is {what}", hint="name a GGUF file")
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise ModelMissingError(f"{path}: no such file", hint="check the path") from error
        except OSError as error:
            raise ModelUnreadableError(f"{path} cannot be read: {error.strerror}") from error
        self.size = os.fstat(self._file.fileno()).st_size
        self._bytes = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def header(self) -> tuple[dict[str, Any], list[Tensor]]:
        self._check_magic()
        version = self.scalar("<I")
        if version not in {2, 3}:
            big_endian = version and version & 0xFFFF == 0
            what = "is written for a big-endian machine" if big_endian else f"is GGUF version {version}"
            raise ModelUnreadableError(
                f"{self.path} {what}; glimp reads versions 2 and 3 of little-endian ones",
                hint="look for the model in a file of another kind",
            )
        tensor_count, key_count = self.scalar("<Q"), self.scalar("<Q")
        if max(tensor_count, key_count) > _MOST_ENTRIES:
            raise self._damaged(f"speaks of {key_count:,} keys and {tensor_count:,} tensors")
        self._check_length(key_count * _SHORTEST_KEY + tensor_count * _SHORTEST_TENSOR)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.string()
            if key in metadata:
                raise self._damaged(f"has the key {_shown(key)} twice")
            metadata[key] = self._value(self.scalar("<I"))
        tensors = self._tensors(tensor_count, metadata.get("general.alignment", _ALIGNMENT))
        return metadata, tensors

    def array(self, array: Array) -> list[Any]:
        self.at = array.offset
        if array.kind == _STRING:
            return [self.raw() for _ in range(array.count)]
        values = struct.Struct(self._format(array.kind))
        self._need(array.count * values.size)
        with memoryview(self._bytes) as view, view[self.at : self.at + array.count * values.size] as raw:
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
            return self.string()
        if kind != _ARRAY:
            return self.scalar(self._format(kind))
        kind, count = self.scalar("<I"), self.scalar("<Q")
        array = Array(self.path, kind, count, self.at)
        if kind == _STRING:
            self._skip_strings(count)
        else:
            self._skip(count * struct.calcsize(self._format(kind)))
        return array

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

    def _tensors(self, count: int, alignment: Any) -> list[Tensor]:
        if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 1 or alignment & alignment - 1:
            raise self._damaged(f"has an alignment of {_shown(alignment)}")
        tensors, names, end = [], set(), 0
        for _ in range(count):
            name = self.string()
            if name in names:
                raise self._damaged(f"has the tensor {_shown(name)} twice")
            names.add(name)
            dimensions = self.scalar("<I")
            if dimensions > _MOST_DIMENSIONS:
                raise self._damaged(f"has a tensor {_shown(name)} of {dimensions} dimensions")
            shape = tuple(self.scalar("<Q") for _ in range(dimensions))
            number, offset = self.scalar("<I"), self.scalar("<Q")
            tensors.append(tensor := self._tensor(name, shape, number))
            if offset != end:
                raise self._damaged(f"has the tensor {_shown(name)} at {offset:,}, expected at {end:,}")
            end += -(-tensor.size_bytes // alignment) * alignment
        if tensors:
            start = -(-self.at // alignment) * alignment
            self._check_length(start + offset + tensors[-1].size_bytes - self.at)
        return tensors

    def _tensor(self, name: str, shape: tuple[int, ...], number: int) -> Tensor:
        type_ = TENSOR_TYPES.get(number)
        if type_ is None:
            raise ModelUnreadableError(
                f"{self.path}: tensor {_shown(name)} has the number type {number}, which glimp does not know",
                hint="a newer glimp may know it, or look for the model in another quantisation",
            )
        values = prod(shape)
        if max(values, *shape, 0) >= _MOST_VALUES:
            raise self._damaged(f"has a tensor {_shown(name)} of {' x '.join(map(str, shape))} values")
        if (shape[0] if shape else 1) % type_.values:
            what = f"rows of {shape[0] if shape else 1} are not whole blocks of {type_.name}"
            raise self._damaged(f"has a tensor {_shown(name)} whose {what}")
        return Tensor(name, shape, type_.name, values // type_.values * type_.size_bytes)

    def string(self) -> str:
        return self.raw().decode("utf-8", "replace")

    def raw(self) -> bytes:
        """Read a text as its bytes."""
        start = self.at + 8
        self._skip(self.scalar("<Q"))
        return bytes(self._bytes[start : self.at])

    def scalar(self, format_: str) -> Any:
        start = self.at
        self._skip(struct.calcsize(format_))
        return struct.unpack_from(format_, self._bytes, start)[0]

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self._damaged(f"has a value of the unknown kind {kind}")
        return _SCALARS[kind]

    def _skip(self, size: int) -> None:
        """Go on so many bytes, all of them read."""
        self._need(size)
        self.at += size

    def _need(self, size: int) -> None:
        """Have so many bytes from here on read; raise where they are not left, or no header is so long."""
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
        """Raise where so many bytes are not left in the file."""
        if self.at + size > self.size:
            raise self._cut_short(self.at + size)

    def _cut_short(self, expected: int) -> ModelUnreadableError:
        return ModelUnreadableError(
            f"{self.path} is cut short or damaged: it has {self.size:,} bytes, not the {expected:,} it speaks of",
            hint="download it again; glimp models pull goes on where a download stopped",
        )

    def _damaged(self, how: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"{self.path} is damaged: it {how}", hint="download it again")
