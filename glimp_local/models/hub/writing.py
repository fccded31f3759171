"""Writing into Hugging Face's own cache: what is made there, and that no link in it is followed.

The only links of the library and of glimp are those of a snapshot to its blobs. Any other one was put there by
somebody, and what it leads to may be anybody's: it is replaced, or refused, and its target never written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from glimp_local.errors import CacheError
from glimp_local.models.hub import cache

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""For a file that is opened to be written; Windows has no such flag, and making links takes a right there."""


def link(path: Path, file: Path) -> None:
    """Put a downloaded file into a snapshot the way the library does."""
    is_ours = not path.is_symlink() or path.resolve() == file.resolve()
    if is_ours and path.exists():
        return
    make_folder(path.parent)
    path.unlink(missing_ok=True)  # a link to nothing, or elsewhere
    try:
        if cache.settings().HF_HUB_DISABLE_SYMLINKS:
            file.replace(path)
        else:
            path.symlink_to(os.path.relpath(file, path.parent))
    except OSError:  # Windows without the right to make links
        file.replace(path)


def point(repo: str, revision: str, commit: str) -> None:
    """Note which commit a branch names."""
    ref = cache.ref(repo, revision)
    make_folder(ref.parent)
    new = ref.with_name(f".{ref.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666), "wb") as stream:
            stream.write(commit.encode())
        new.replace(ref)  # where it is a link, the link is replaced
    except OSError as error:
        new.unlink(missing_ok=True)
        raise CacheError(f"{ref} cannot be written: {error.strerror}", hint="remove it, or make room") from error


def open_partial(path: Path) -> BinaryIO:
    """Open a partial file to go on with it, or make it; raises CacheError where it cannot be written.

    A link in its place, or a file of several names, is not this program's: it is replaced, and whatever it leads to
    stays as it is.
    """
    make_folder(path.parent)
    try:
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            path.unlink()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o666)
    except OSError as error:
        raise _not_writable(path, str(error.strerror)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_writable(path, "it is no regular file")
    return os.fdopen(descriptor, "r+b", buffering=0)


def _not_writable(path: Path, why: str) -> CacheError:
    return CacheError(f"{path} cannot be written: {why}", hint="remove it, and try again")


def links_within(repo: str) -> list[Path]:
    """Find the folders of a repository that are links: neither the library nor glimp makes any."""
    folder = cache.repo_folder(repo)
    within = [folder / "blobs", folder / "refs", folder / "snapshots", *cache.revisions(repo)]
    return [path for path in within if path.is_symlink()]


def refuse_links(folder: Path) -> None:
    """Raise CacheError where a folder of a repository, or one above it there, is a link."""
    root = cache.root()
    if folder.is_relative_to(root):
        top, *below = folder.relative_to(root).parts or (".",)
        within = root / top  # the whole cache, or a repository, may well lie on another disk
        for name in below:
            within /= name
            if within.is_symlink():
                raise CacheError(
                    f"{within} is a link, and nothing is written through it",
                    hint="remove the link; to have the cache elsewhere, set HF_HOME",
                )


def make_folder(folder: Path) -> None:
    """Make a folder of the cache where it is not there; raises CacheError, also for a link within a repository's."""
    refuse_links(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"the folder {folder} cannot be made: {error.strerror}",
            hint="make room for it and let it be written, or set HF_HOME to another folder",
        ) from error


@contextmanager
def locked(repo: str, etag: str, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock that whoever downloads a file holds, the library as well.

    Raises filelock.Timeout where another one has it for so long, and CacheError. Where a disk's locks hold nothing
    back, the hash tells that two wrote at once.
    """
    from filelock import Timeout  # noqa: PLC0415 - only for who downloads
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # noqa: PLC0415 - not in an __all__

    path = cache.lock_file(repo, etag)
    make_folder(path.parent)
    with ExitStack() as stack:
        try:
            if path.is_symlink():
                path.unlink()  # nobody can hold it: the library opens no link
            stack.enter_context(WeakFileLock(path, timeout=timeout_seconds))
        except Timeout:
            raise
        except OSError as error:
            raise _not_writable(path, str(error.strerror or error)) from error
        yield
