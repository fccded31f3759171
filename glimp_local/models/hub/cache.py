"""Hugging Face's own cache on this machine: which files of models lie in it, whole or in part.

Never touches the network. `models--MAKER--NAME/blobs` holds the files under the hub's hash (its ETag),
`snapshots/COMMIT/FILE` links to them, `refs/main` names a commit. The library downloads under a new name with each try;
glimp keeps one partial file, `blobs/ETAG.FILE.incomplete`, and goes on with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path, PureWindowsPath
from types import ModuleType
from typing import Any

import msgspec

from glimp_local.errors import UsageError

_PARTIAL_SUFFIX = ".incomplete"
_MOST_OF_A_NAME_BYTES = 150
"""Of a file's path in the name of its partial one: a name has at most 255 on most disks, the hash 64."""
_LONGEST_NAME_BYTES, _LONGEST_PATH = 255, 1000
"""Of a file, and of its path in a repository: most disks hold no longer ones."""
_REPO_PREFIX = "models--"
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""git's SHA-1, or SHA-256."""


class CachedFile(msgspec.Struct, frozen=True):
    """A file of a revision in the cache."""

    repo: str
    file: str
    """Its path in the repository."""
    path: Path
    """A link to nothing where its bytes are gone."""


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


def is_name(file: str) -> bool:
    """May a file of a repository have this name? Then it stays within the folder of a snapshot, on Windows, too."""
    is_relative = not PureWindowsPath(file).anchor and "\\" not in file
    names = file.split("/")
    is_short = len(file) <= _LONGEST_PATH and all(len(os.fsencode(name)) <= _LONGEST_NAME_BYTES for name in names)
    return is_relative and file.isprintable() and is_short and {"", ".", ".."}.isdisjoint(names)


def root() -> Path:
    """Give the folder of the cache (HF_HOME, HF_HUB_CACHE); it need not exist."""
    return Path(settings().HF_HUB_CACHE)


def repo_folder(repo: str) -> Path:
    """Give the folder of a repository in the cache; it need not exist."""
    return root() / f"{_REPO_PREFIX}{repo.replace('/', '--')}"


def lock_file(repo: str, etag: str) -> Path:
    """Give the file that whoever downloads a file holds locked: the library uses the same one."""
    return root() / ".locks" / repo_folder(repo).name / f"{etag}.lock"


def partial_file(repo: str, etag: str, file: str) -> Path:
    """Give the place of a file while it is downloaded."""
    return repo_folder(repo) / "blobs" / f"{etag}.{_short(file)}{_PARTIAL_SUFFIX}"


def partials(repo: str, file: str | None = None) -> list[Path]:
    """Find what is left of interrupted downloads: of a file, or of all in the repository."""
    name = ".*" if file is None else rf"({HASH.pattern})\.{re.escape(_short(file))}"
    wanted = re.compile(name + re.escape(_PARTIAL_SUFFIX), re.DOTALL)
    return [path for path in _entries(repo_folder(repo) / "blobs") if wanted.fullmatch(path.name)]


def snapshot(repo: str, commit: str) -> Path:
    """Give the folder of a revision; it need not exist."""
    return repo_folder(repo) / "snapshots" / commit


def ref(repo: str, revision: str) -> Path:
    """Return the file that names the commit of a branch; it need not exist."""
    return repo_folder(repo) / "refs" / revision


def revisions(repo: str) -> list[Path]:
    """Find the snapshots of a repository: a folder a commit."""
    return _entries(repo_folder(repo) / "snapshots")


def etag(path: Path) -> str | None:
    """Give the hub's hash of a cached file, as its link tells it: 64 digits of SHA-256, or 40 of git's SHA-1.

    None for any other file, and where the cache holds no links (on Windows without the right to make them).
    """
    found = blob(path)
    return None if found is None else found.name


def blob(path: Path) -> Path | None:
    """Give the file under the hub's hash that a cached file links to; it need not exist."""
    if not path.is_symlink():
        return None
    found = path.parent / path.readlink()
    return found.parent.resolve() / found.name if found.parent.name == "blobs" and HASH.fullmatch(found.name) else None


def is_sha256(text: str) -> bool:
    """Tell the hub's two kinds of hashes apart."""
    return len(text) == hashlib.sha256().digest_size * 2


def new_hash(expected: str, size_bytes: int) -> Any:
    """Give a hash object of the kind that an expected hash is of."""
    if is_sha256(expected):
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)  # git's, of a file outside LFS


def own_bytes(path: Path) -> int:
    """Return the bytes that removing a file frees; those behind a link are another's, and of nothing there are none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def files(repo: str) -> list[CachedFile]:
    """Find all files of a repository, of all revisions; links to nothing, too."""
    return [
        CachedFile(repo, path.relative_to(revision).as_posix(), path)
        for revision in revisions(repo)
        for path in sorted(revision.rglob("*"))
        if path.is_symlink() or path.is_file()
    ]


def ggufs() -> list[CachedFile]:
    """Find all GGUFs in the cache, each once, where several revisions have it; one whose bytes are gone, too."""
    found = [file for repo in _repos() for file in files(repo) if file.file.lower().endswith(".gguf")]
    by_name = {(file.repo, file.file): file for file in sorted(found, key=lambda file: file.path.exists())}
    return [by_name[name] for name in sorted(by_name)]


def origin(path: Path) -> tuple[str, str] | None:
    """Tell of which repository a path in the cache is, and of which file there; None for a path elsewhere."""
    try:
        inside = (path.parent.resolve() / path.name).relative_to(root().resolve())
    except ValueError:
        return None
    match inside.parts:
        case (folder, "snapshots", _, *file) if folder.startswith(_REPO_PREFIX) and file:
            return _repo(folder), "/".join(file)
    return None


def repos_with_partials() -> list[str]:
    """Name the repositories of which something was downloaded in part."""
    return [repo for repo in _repos() if partials(repo)]


def _repos() -> list[str]:
    return [_repo(path.name) for path in _entries(root()) if path.name.startswith(_REPO_PREFIX)]


def _repo(folder: str) -> str:
    return folder.removeprefix(_REPO_PREFIX).replace("--", "/")


def _short(file: str) -> str:
    """Give the end of a file's path as a name; the hash before it keeps apart what ends alike."""
    return os.fsencode(file.replace("/", "--"))[-_MOST_OF_A_NAME_BYTES:].decode(errors="ignore")


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
