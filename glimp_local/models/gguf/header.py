"""The header of a GGUF: what a model is, read without loading it.

Knows nothing of llama.cpp: reading takes milliseconds, and whatever bytes a file holds, it ends with a Header or a
ModelUnreadableError. The `gguf` package reads the same; it takes ten seconds for a vocabulary of 150,000 tokens, and
expects files that are whole.

A model may be split into several files (`name-00001-of-00003.gguf`): then the first one is named, and all are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.errors import ModelError, ModelUnreadableError
from glimp_local.models.gguf.file import Array, GgufFile, Tensor, shown

__all__ = ["Array", "Header", "Tensor", "part_names", "part_paths", "read_header", "shown"]

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_MOST_NUMBER = 2**32
"""llama.cpp keeps the numbers of an architecture in 32 bits."""


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
            raise ModelUnreadableError(f"{self.path}: {shown(name)} is {shown(value)}, expected a number")
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
        with GgufFile(found.part, found.offset) as file:
            return file.array(found)


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


def is_whole(path: Path) -> bool:
    """Say whether a model's files are there, are GGUFs, and hold all that their headers speak of."""
    try:
        read_header(path)
    except ModelError:
        return False
    return True


def part_paths(path: Path) -> list[Path]:
    """Give the paths of all files of a model by the name of the first one; raises ModelUnreadableError for a later one.

    They need not exist.
    """
    return [path.with_name(name) for name in part_names(path.name)]


def part_names(name: str) -> list[str]:
    """Give the names of all files of a model by that of the first one; raises ModelUnreadableError for a later one."""
    match = _PART.search(name)
    if match is None or int(match[2]) < 1:
        return [name]
    number, count = int(match[1]), int(match[2])
    if number != 1:
        first = f"{name[: match.start()]}-00001-of-{match[2]}.gguf"
        raise ModelUnreadableError(f"{name} is number {number} of {count} files", hint=f"name the first one: {first}")
    return [f"{name[: match.start()]}-{i + 1:05}-of-{match[2]}.gguf" for i in range(count)]


def _read_part(path: Path) -> Header:
    with GgufFile(path) as file:
        metadata, tensors = file.header()
        return Header(path=path, parts=(path,), size_bytes=file.size, metadata=metadata, tensors=tuple(tensors))
