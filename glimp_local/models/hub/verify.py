"""A model's files held against the hashes they should have.

What models.toml pins counts first, then the hub's hash, under which its cache keeps a file; the hub is asked only for a
cached file of which neither is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from glimp_local.models import files
from glimp_local.models.gguf.header import is_whole
from glimp_local.models.hub import cache
from glimp_local.settings import ModelSource

if TYPE_CHECKING:
    from glimp_local.models.hub.partial import Wait

Status = Literal["ok", "wrong size", "wrong hash", "damaged", "missing", "unknown"]
OnBytes = Callable[[int], None]
Begin = Callable[[str, int], OnBytes]
"""Is told a file's name and size before it is read, and gives who hears of its bytes."""
_CHUNK = 2**20


class Verified(msgspec.Struct, frozen=True):
    """What came of one file."""

    name: str
    """The model it is of, as `glimp models list` names it."""
    path: str
    status: Status
    """"damaged": it is no whole GGUF; "missing": in the hub's cache its link leads to nothing; "unknown": it is whole,
    and nobody has told what it should be."""
    size_bytes: int
    expected_bytes: int | None
    hash: str | None
    """SHA-256, or git's SHA-1 of a small file that the hub keeps outside LFS; null where it was not computed."""
    expected_hash: str | None
    told_by: Literal["models.toml", "cache", "hub"] | None
    """Who says what the hash should be."""


def verify(source: ModelSource, paths: tuple[Path, ...], begin: Begin, wait: Wait) -> Iterator[Verified]:
    """Check all files of a model.

    Raises DownloadError where the hub has to be asked and cannot be.
    """
    for i, path in enumerate(paths):
        size = path.stat().st_size
        expected_bytes = source.size_bytes if len(paths) == 1 else None
        pinned = source.sha256 if i == 0 else None
        expected, told_by = pinned or cache.etag(path), "models.toml" if pinned else "cache"
        if expected is None and source.path is None:
            expected, told_by = _ask(source, path, wait), "hub"
        found = None
        status: Status = "unknown"
        if expected_bytes not in {None, size}:
            status = "wrong size"
        elif expected is not None:
            found = _hash(path, expected, size, begin(path.name, size))
            status = "ok" if found == expected else "wrong hash"
        elif i == 0 and not is_whole(path):
            status = "damaged"
        yield Verified(
            name=files.name(source),
            path=str(path),
            status=status,
            size_bytes=size,
            expected_bytes=expected_bytes,
            hash=found,
            expected_hash=expected,
            told_by=told_by if expected else None,  # type: ignore[arg-type]  # one of the words that `told_by` may be
        )


def missing() -> list[Verified]:
    """Find the GGUFs in the hub's cache of which only a link is left."""
    return [
        Verified(f"{file.repo}/{file.file}", str(file.path), "missing", 0, None, None, cache.etag(file.path), None)
        for file in cache.ggufs()
        if not file.path.exists()
    ]


def _hash(path: Path, expected: str, size_bytes: int, on_bytes: OnBytes) -> str:
    made = cache.new_hash(expected, size_bytes)
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            made.update(chunk)
            done += len(chunk)
            on_bytes(done)
    return str(made.hexdigest())


def _ask(source: ModelSource, path: Path, wait: Wait) -> str:
    from glimp_local.models.hub import pull as hub  # noqa: PLC0415 - hardly ever needed, and the one module that opens connections

    assert source.repo is not None
    assert source.file is not None
    revision = next(folder for folder in cache.revisions(source.repo) if folder in path.parents)
    return hub.look_up_file(source.repo, path.relative_to(revision).as_posix(), revision.name, wait).etag
