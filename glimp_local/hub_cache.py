"""Hugging Face's own cache on this machine: which files of models lie in it, whole or in part, and taking them away.

Never touches the network. `models--MAKER--NAME/blobs` holds the files under the hub's hash (its ETag),
`snapshots/COMMIT/FILE` links to them, `refs/main` names a commit. The library downloads under a new name with each try;
glimp keeps one partial file, `blobs/ETAG.NAME.incomplete`, and goes on with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from types import ModuleType
from typing import Any

import msgspec

from glimp_local.errors import CacheError, UsageError

_PARTIAL_SUFFIX = ".incomplete"
_MOST_OF_A_NAME = 150
"""Characters of a file's name in that of its partial one: a name has at most 255 on most disks, the hash 64."""
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""git's SHA-1, or SHA-256."""


def is_name(file: str) -> bool:
    """May a file of a repository have this name? Then it stays within the folder of a snapshot, on Windows, too."""
    is_relative = not PureWindowsPath(file).anchor and "\\" not in file
    return is_relative and file.isprintable() and {"", ".", ".."}.isdisjoint(file.split("/"))


class CachedFile(msgspec.Struct, frozen=True):
    """A GGUF in the cache."""

    repo: str
    file: str
    """Its path in the repository."""
    path: Path
    size_bytes: int
    """On the disk."""


def settings() -> ModuleType:
    """Give the library's settings (`huggingface_hub.constants`); raises UsageError where it cannot read a variable."""
    try:
        from huggingface_hub import constants  # noqa: PLC0415 - not needed for a model given by its path
    except ValueError as error:
        numbers = (name for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT") if name in os.environ)
        wrong = next((name for name in numbers if repr(os.environ[name]) in str(error)), "HF_ENDPOINT")
        kind = "an address, as in https://huggingface.co" if wrong == "HF_ENDPOINT" else "a number of seconds"
        raise UsageError(f"huggingface-hub cannot read {wrong}", hint=f"set it to {kind}, or unset it") from error
    return constants


def root() -> Path:
    """Give the folder of the cache (HF_HOME, HF_HUB_CACHE); it need not exist."""
    return Path(settings().HF_HUB_CACHE)


def repo_folder(repo: str) -> Path:
    """Give the folder of a repository in the cache; it need not exist."""
    return root() / f"models--{repo.replace('/', '--')}"


def lock_file(repo: str, etag: str) -> Path:
    """Give the file that whoever downloads a file holds locked: the library uses the same one."""
    return root() / ".locks" / repo_folder(repo).name / f"{etag}.lock"


def partial_file(repo: str, etag: str, file: str) -> Path:
    """Give the place of a file while it is downloaded."""
    return repo_folder(repo) / "blobs" / f"{etag}.{_short(file)}{_PARTIAL_SUFFIX}"


def partials(repo: str, file: str | None = None) -> list[Path]:
    """Find what is left of interrupted downloads: of a file, or of all in the repository."""
    end = _PARTIAL_SUFFIX if file is None else f".{_short(file)}{_PARTIAL_SUFFIX}"
    return [path for path in _entries(repo_folder(repo) / "blobs") if path.name.endswith(end)]


def snapshot(repo: str, commit: str) -> Path:
    """Give the folder of a revision; it need not exist."""
    return repo_folder(repo) / "snapshots" / commit


def revisions(repo: str) -> list[Path]:
    """Find the snapshots of a repository: a folder a commit."""
    return _entries(repo_folder(repo) / "snapshots")


def etag(path: Path) -> str | None:
    """Give the hub's hash of a cached file, as its link tells it: 64 digits of SHA-256, or 40 of git's SHA-1.

    None for any other file, and where the cache holds no links (on Windows without the right to make them).
    """
    if not path.is_symlink():
        return None
    blob = path.parent / path.readlink()
    return blob.name if blob.parent.name == "blobs" and HASH.fullmatch(blob.name) else None


def is_sha256(text: str) -> bool:
    """Tell the hub's two kinds of hashes apart."""
    return len(text) == hashlib.sha256().digest_size * 2


def new_hash(expected: str, size_bytes: int) -> Any:
    """Give a hash object of the kind that an expected hash is of."""
    if is_sha256(expected):
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)  # git's, of a file outside LFS


def link(path: Path, blob: Path) -> None:
    """Put a downloaded file into a snapshot the way the library does."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a link to nothing
    try:
        if settings().HF_HUB_DISABLE_SYMLINKS:
            blob.replace(path)
        else:
            path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # Windows without the right to make links
        blob.replace(path)


def point(repo: str, revision: str, commit: str) -> None:
    """Note which commit a branch names."""
    ref = repo_folder(repo) / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, encoding="utf-8")


def ggufs() -> list[CachedFile]:
    """Find all GGUFs in the cache, each once, where several revisions have it."""
    from huggingface_hub import scan_cache_dir  # noqa: PLC0415 - see above

    if not root().is_dir():
        return []
    found = {
        (repo.repo_id, str(file.blob_path)): CachedFile(
            repo.repo_id,
            file.file_path.relative_to(revision.snapshot_path).as_posix(),
            file.file_path,
            file.size_on_disk,
        )
        for repo in scan_cache_dir(root()).repos
        if repo.repo_type == "model"
        for revision in repo.revisions
        for file in revision.files
        if file.file_name.endswith(".gguf")
    }
    return sorted(found.values(), key=lambda file: (file.repo, file.file))


def repos_with_partials() -> list[str]:
    """Name the repositories of which something was downloaded in part."""
    names = [path.name.removeprefix("models--").replace("--", "/") for path in _entries(root())]
    return [name for name in names if partials(name)]


def remove(repo: str, files: Iterable[str] | None = None) -> int:
    """Remove files of a repository, of all revisions, and what was downloaded of them in part; give the bytes freed.

    Without `files`, all. What another file of the cache links to stays, and so does a file outside the cache that
    somebody put a link to. Raises CacheError where the library cannot read its own cache.
    """
    from huggingface_hub import scan_cache_dir  # noqa: PLC0415 - see above

    names = None if files is None else set(files)
    folder = repo_folder(repo)
    freed = 0
    for path in {path for name in names or [None] for path in partials(repo, name)}:
        freed += path.stat().st_size
        path.unlink()
    links = [path for path in (folder / "snapshots").rglob("*") if path.is_symlink() or path.is_file()]
    for path in links:
        if not path.exists():
            path.unlink()  # a link to nothing, for which the library would refuse to look at the rest
    info = scan_cache_dir(root())
    cached = [found for found in info.repos if found.repo_path == folder]
    if links and not cached:
        raise CacheError(f"{folder} is damaged, so that nothing was removed from it", hint="remove the folder by hand")
    chosen = [
        file
        for found in cached
        for revision in found.revisions
        for file in revision.files
        if names is None or file.file_path.relative_to(revision.snapshot_path).as_posix() in names
    ]
    ours = [file for file in chosen if file.blob_path in {file.file_path, folder / "blobs" / file.blob_path.name}]
    for file in chosen:
        if file not in ours:
            file.file_path.unlink()
    strategy = info.delete_files(*ours)
    strategy.execute()
    freed += strategy.expected_freed_size
    rest = [path for part in ("snapshots", "blobs") for path in (folder / part).rglob("*") if not path.is_dir()]
    if names is None or not rest:
        freed += sum(path.stat().st_size for path in rest if path.parent == folder / "blobs")  # of no revision
        shutil.rmtree(folder)
    return freed


def _short(file: str) -> str:
    return file.rpartition("/")[2][-_MOST_OF_A_NAME:]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
