"""The header of a GGUF file: what a model is, read without loading it.

Knows the format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3) and nothing of llama.cpp:
reading takes milliseconds, and whatever bytes a file holds, it ends with a Header or a ModelUnreadableError. The `gguf`
package reads the same; it takes ten seconds for a vocabulary of 150,000 tokens, and expects files that are whole.

A model may be split into several files (`name-00001-of-00003.gguf`): then the first one is named, and all are read.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from glimp_local.errors import ModelMissingError, ModelUnreadableError

MAGIC = b"GGUF"


class TensorType(NamedTuple):
    """A number type of tensors: so many `values` are stored together, in so many bytes."""

    name: str
    values: int
    size_bytes: int


TENSOR_TYPES = {
    number: TensorType(*type_)
    for number, type_ in {
        0: ("F32", 1, 4),
        1: ("F16", 1, 2),
        2: ("Q4_0", 32, 18),
        3: ("Q4_1", 32, 20),
        6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24),
        8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 36),
        10: ("Q2_K", 256, 84),
        11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176),
        14: ("Q6_K", 256, 210),
        15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74),
        18: ("IQ3_XXS", 256, 98),
        19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110),
        22: ("IQ2_S", 256, 82),
        23: ("IQ4_XS", 256, 136),
        24: ("I8", 1, 1),
        25: ("I16", 1, 2),
        26: ("I32", 1, 4),
        27: ("I64", 1, 8),
        28: ("F64", 1, 8),
        29: ("IQ1_M", 256, 56),
        30: ("BF16", 1, 2),
        34: ("TQ1_0", 256, 54),
        35: ("TQ2_0", 256, 66),
        39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
        41: ("Q1_0", 128, 18),
        42: ("Q2_0", 64, 18),
    }.items()
}
"""By ggml's number (`enum ggml_type`); a test compares them with the installed llama.cpp."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""struct's format of each scalar type of the metadata."""
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4
_MOST_BYTES = 2**63
_SHORTEST_KEY, _SHORTEST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8  # bytes
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: a matrix of weights, or a vector."""

    name: str
    shape: tuple[int, ...]
    """The innermost dimension first, as in ggml."""
    type: str
    size_bytes: int


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
            numbers = [item for item in self.array(name) if isinstance(item, int)]
            value = max(numbers, default=default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ModelUnreadableError(f"{self.path}: {name} is {value!r}, expected a number")
        return value

    def array(self, key: str) -> list[Any]:
        """Read an array of the metadata; an empty one where there is none."""
        found = self.metadata.get(key)
        if not isinstance(found, Array):
            return []
        with _Reader(found.part) as reader:
            reader.at = found.offset
            return list(reader.items(found.kind, found.count))


def read_header(path: Path) -> Header:
    """Read the header of a model, of all its files where it is split.

    Raises ModelMissingError where a file is not there, ModelUnreadableError where one is no GGUF, or is damaged or cut
    short.
    """
    first = _read_part(path)
    count = first.metadata.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return first
    parts = [first, *(_read_part(part) for part in part_paths(path)[1:])]
    if len(parts) != count:
        raise ModelUnreadableError(
            f"{path} is one of {count} files, but its name does not say which",
            hint=f"give the first file its own name: NAME-00001-of-{count:05}.gguf",
        )
    return Header(
        path=path,
        parts=tuple(part.path for part in parts),
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


class _Reader:
    """A position in the bytes of one file. Every length is held against what is left before anything is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        try:
            with path.open("rb") as file:
                magic = file.read(len(MAGIC))
                if magic != MAGIC:
                    raise ModelUnreadableError(
                        f"{path} is no GGUF file (it begins with {magic!r})",
                        hint="glimp runs models in GGUF format; look for a repository whose name ends in -GGUF",
                    )
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise ModelMissingError(f"{path}: no such file", hint="check the path") from error
        except OSError as error:
            raise ModelUnreadableError(f"{path} cannot be read: {error.strerror}") from error
        self.size = len(self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bytes.close()

    def header(self) -> tuple[dict[str, Any], list[Tensor]]:
        self.at = len(MAGIC)
        version = self.scalar("<I")
        if version not in {2, 3}:
            big_endian = version and version & 0xFFFF == 0
            what = "is written for a big-endian machine" if big_endian else f"is GGUF version {version}"
            raise ModelUnreadableError(f"{self.path} {what}; glimp reads versions 2 and 3 of little-endian ones")
        tensor_count, key_count = self.scalar("<Q"), self.scalar("<Q")
        self._expect(key_count * _SHORTEST_KEY + tensor_count * _SHORTEST_TENSOR)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.string()
            if key in metadata:
                raise self._damaged(f"has the key {key!r} twice")
            metadata[key] = self._value(self.scalar("<I"))
        tensors = self._tensors(tensor_count, metadata.get("general.alignment", 32))
        return metadata, tensors

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
            size = count * struct.calcsize(self._format(kind))
            self._expect(size)
            self.at += size
        return array

    def items(self, kind: int, count: int) -> Iterator[Any]:
        if kind == _STRING:
            return (self.string() for _ in range(count))
        values = struct.Struct(self._format(kind))
        raw = self._bytes[self.at : self.at + count * values.size]
        return (value for (value,) in values.iter_unpack(raw))

    def _skip_strings(self, count: int) -> None:
        self._expect(count * 8)
        at, data, unpack = self.at, self._bytes, struct.Struct("<Q").unpack_from
        last = self.size - 8
        for _ in range(count):
            if at > last:
                raise self._cut_short()
            at += 8 + unpack(data, at)[0]
        self.at = at
        self._expect(0)

    def _tensors(self, count: int, alignment: Any) -> list[Tensor]:
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self._damaged(f"has an alignment of {alignment!r}")
        tensors, names, end = [], set(), 0
        for _ in range(count):
            name = self.string()
            dimensions = self.scalar("<I")
            if dimensions > _MOST_DIMENSIONS:
                raise self._damaged(f"has a tensor {name!r} of {dimensions} dimensions")
            shape = tuple(self.scalar("<Q") for _ in range(dimensions))
            number, offset = self.scalar("<I"), self.scalar("<Q")
            if name in names:
                raise self._damaged(f"has the tensor {name!r} twice")
            names.add(name)
            tensors.append(tensor := self._tensor(name, shape, number))
            end = max(end, offset + tensor.size_bytes)
        data = -(-self.at // alignment) * alignment
        if tensors and data + end > self.size:
            raise self._cut_short(data + end)
        return tensors

    def _tensor(self, name: str, shape: tuple[int, ...], number: int) -> Tensor:
        type_ = TENSOR_TYPES.get(number)
        if type_ is None:
            raise ModelUnreadableError(
                f"{self.path}: tensor {name!r} has the number type {number}, which glimp does not know",
                hint="a newer glimp may know it, or look for the model in another quantisation",
            )
        values = prod(shape)
        if shape and shape[0] % type_.values:
            raise self._damaged(f"has a tensor {name!r} whose rows of {shape[0]} are not whole blocks of {type_.name}")
        size = values // type_.values * type_.size_bytes
        if size >= _MOST_BYTES:
            raise self._damaged(f"has a tensor {name!r} of {size} bytes")
        return Tensor(name, shape, type_.name, size)

    def string(self) -> str:
        length = self.scalar("<Q")
        self._expect(length)
        raw = self._bytes[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", "replace")

    def scalar(self, format_: str) -> Any:
        size = struct.calcsize(format_)
        self._expect(size)
        (value,) = struct.unpack_from(format_, self._bytes, self.at)
        self.at += size
        return value

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self._damaged(f"has a value of the unknown kind {kind}")
        return _SCALARS[kind]

    def _expect(self, size: int) -> None:
        """Raise where so many bytes are not left."""
        if self.at + size > self.size:
            raise self._cut_short()

    def _cut_short(self, expected: int | None = None) -> ModelUnreadableError:
        whole = f" of {expected:,}" if expected else ""
        return ModelUnreadableError(
            f"{self.path} is cut short or damaged: it has {self.size:,}{whole} bytes",
            hint="download it again; glimp models pull goes on where a download stopped",
        )

    def _damaged(self, how: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"{self.path} is damaged: it {how}", hint="download it again")
