"""Taking files of models away from Hugging Face's own cache on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import filelock

from glimp_local.errors import CacheError
from glimp_local.models.hub import cache, writing

_PATIENCE_SECONDS = 0.1
"""For a lock; a download holds it far longer."""


def remove(chosen: Mapping[str, Iterable[str] | None]) -> int:
    """Remove files of repositories, of all revisions, and what was downloaded of them in part; give the bytes freed.

    `chosen` holds files by their repository, None for all of it. What another file of the repository links to stays,
    and so does a file outside the cache that somebody put a link to. Raises CacheError, with nothing removed, where one
    of the files is just downloaded, or a repository's folder is a link.
    """
    wanted = {repo: None if files is None else set(files) for repo, files in chosen.items()}
    with ExitStack() as stack:
        for repo, files in wanted.items():
            folder = cache.repo_folder(repo)
            for link in [folder] if folder.is_symlink() else writing.links_within(repo):
                raise CacheError(
                    f"{link} is a link, so that nothing was removed",
                    hint=f"remove it and the folder it leads to, {link.resolve()}, by hand",
                )
            stack.enter_context(_held(repo, files))
        return sum(_remove(repo, files) for repo, files in wanted.items())


@contextmanager
def _held(repo: str, files: set[str] | None) -> Iterator[None]:
    """Hold the locks of all that is to be removed: no download may go on in a file that is gone."""
    with ExitStack() as stack:
        for etag in sorted(_hashes(repo, files)):
            try:
                stack.enter_context(writing.locked(repo, etag, _PATIENCE_SECONDS))
            except filelock.Timeout as error:
                raise CacheError(
                    f"a download of {repo} is under way in another process, which holds "
                    f"{cache.lock_file(repo, etag)}; nothing was removed",
                    hint="wait for its end, or stop it; then give the same command again",
                ) from error
        yield


def _hashes(repo: str, files: set[str] | None) -> set[str]:
    if files is None:
        found = [*(cache.repo_folder(repo) / "blobs").glob("*"), *cache.lock_file(repo, "").parent.glob("*")]
        names = [path.name for path in found]
    else:
        names = [path.name for file in files for path in cache.partials(repo, file)]
        names += [cache.etag(file.path) or "" for file in cache.files(repo) if file.file in files]
    return {hash_ for name in names if cache.HASH.fullmatch(hash_ := name.partition(".")[0])}


def _remove(repo: str, files: set[str] | None) -> int:
    folder = cache.repo_folder(repo)
    cached = cache.files(repo)
    gone = {file.path for file in cached if files is None or file.file in files}
    kept = {cache.blob(file.path) for file in cached if file.path not in gone}
    blobs = {blob for blob in map(cache.blob, gone) if blob and blob.parent == (folder / "blobs").resolve()} - kept
    partials = [path for name in ([None] if files is None else files) for path in cache.partials(repo, name)]
    freed = 0
    for path in (*gone, *blobs, *partials):
        freed += cache.own_bytes(path)
        path.unlink(missing_ok=True)
    rest = [path for path in (folder / "blobs").rglob("*") if not path.is_dir()]
    if files is None or not (rest or cache.files(repo)):
        freed += sum(map(cache.own_bytes, rest))  # of no revision
        shutil.rmtree(folder)
    return freed
