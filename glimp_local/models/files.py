"""Where a model's GGUF is on this machine: at a path, or in Hugging Face's own cache.

Never touches the network.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from glimp_local import units
from glimp_local.errors import ModelMissingError
from glimp_local.inputs import exists, path_of
from glimp_local.models.gguf.header import part_names, part_paths
from glimp_local.models.hub import cache
from glimp_local.routing import Model
from glimp_local.settings import ModelSource


class Presence(msgspec.Struct, frozen=True):
    """How much of a model is on this machine."""

    paths: tuple[Path, ...]
    """Of all its files (a model may be split into several), the first one first; empty unless all are there."""
    here_bytes: int
    """What is on the disk, files downloaded in part included."""
    is_damaged: bool = False
    """Are they those of the pinned revision, and not of the size they should have?"""

    @property
    def is_here(self) -> bool:
        """Is all of it here?"""
        return bool(self.paths) and not self.is_damaged


def find_all(sources: Mapping[Model, ModelSource], pair: str) -> dict[Model, Path]:
    """Give the paths of a pair's models; what is missing is said together, with the command that downloads it."""
    found, missing, hints = {}, [], []
    for model, source in sources.items():
        try:
            found[model] = find(source)
        except ModelMissingError as error:
            missing.append(str(error))
            hints.append(error.hint if source.path is not None else pull_command(pair))
    if missing:
        raise ModelMissingError("; ".join(missing), hint="; ".join(dict.fromkeys(filter(None, hints))))
    return found


def find(source: ModelSource) -> Path:
    """Give the path of a model's file, of the first one where it is split.

    In the hub's cache the pinned revision is taken, else any other one in which the model has the listed size. Raises
    ModelMissingError with the command that downloads it.
    """
    found = look(source)
    if found.is_here:
        return found.paths[0]
    if found.is_damaged:
        raise ModelMissingError(
            f"{found.paths[0]} is damaged: it has {found.here_bytes:,} bytes, not {source.size_bytes:,}",
            hint=pull_command(name(source)),
        )
    if source.path is not None:
        missing = next(path for path in part_paths(path_of(source.path)) if not exists(path))
        raise ModelMissingError(f"{missing}: no such file", hint="check the path")
    size = units.file_size(source.size_bytes) if source.size_bytes else "size not listed"
    here = f"; {units.file_size(found.here_bytes)} are" if found.here_bytes else ""
    raise ModelMissingError(f"{name(source)} ({size}) is not on this machine{here}", hint=pull_command(name(source)))


def look(source: ModelSource) -> Presence:
    """Say how much of a model is on this machine."""
    if source.path is not None:
        return _presence(part_paths(path_of(source.path)))
    assert source.repo is not None  # the catalogue holds no source without a path or a repository
    assert source.file is not None
    files = part_names(source.file)
    pinned_first = sorted(cache.revisions(source.repo), key=lambda revision: revision.name != source.revision)
    found = [_presence([revision / file for file in files]) for revision in pinned_first]
    for presence in found:
        if presence.paths and source.size_bytes in {None, presence.here_bytes}:
            return presence
    for presence in found:
        if presence.paths and source.revision in presence.paths[0].parts:
            return Presence(presence.paths, presence.here_bytes, is_damaged=True)
    partial = sum(cache.own_bytes(path) for file in files for path in cache.partials(source.repo, file))
    # What is whole but of another size is another model.
    return Presence((), partial + max((presence.here_bytes for presence in found if not presence.paths), default=0))


def distinct(chosen: Iterable[ModelSource]) -> list[ModelSource]:
    """Leave out what comes twice: pairs share models."""
    return list({(name(source), source.revision, source.sha256): source for source in chosen}.values())


def name(source: ModelSource) -> str:
    """Name a model: its path, or its repository and the file in it."""
    return source.path or f"{source.repo}/{source.file}"


def pull_command(name: str) -> str:
    """Give the command that downloads a pair, or a model by its `name`."""
    return f"glimp models pull {shlex.quote(name)}"


def _presence(paths: list[Path]) -> Presence:
    there = [path for path in paths if os.path.exists(path)]  # noqa: PTH110 - no error for a name that is too long
    return Presence(tuple(paths) if len(there) == len(paths) else (), sum(path.stat().st_size for path in there))
