"""The Hugging Face hub: what a file is there, and getting it into the hub's own cache, whole and verified.

It and the partial module are the only ones that speak to the network for models. Requests go through the library's
client, with its environment (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, proxies, timeouts); the token goes to the hub, and
to no host it redirects to. The library restarts a cut download (its issue 4196). This continues where it stopped, in
one partial file a hash, which becomes the cached file when size and hash are right.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import filelock
import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import OfflineModeIsEnabled, RemoteEntryNotFoundError

from glimp_local import units
from glimp_local.errors import DownloadError, UsageError
from glimp_local.models.gguf.header import part_names
from glimp_local.models.hub import cache, listing, writing
from glimp_local.models.hub.errors import endpoint, is_passing, understood, wait_asked_for
from glimp_local.models.hub.partial import WAITS_SECONDS, Begin, Partial, RemoteFile, Say, Wait, headers
from glimp_local.settings import ModelSource

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
_QUESTION_TRIES = 2
"""More of them for a question that is only asked before the download: somebody waits for the first word."""
_PATIENCE_SECONDS = 0.5
"""Before it is said that a lock is waited for."""
_MOST_BYTES = 2**60
"""No disk holds a larger file."""
_MOST_NAMES = 20
"""Of files in a message."""
_MARGIN_BYTES = 256 * 2**20
"""Free on the disk when all is there."""
_BEGUN = re.compile(r"(^|[-._])[it]?q\d(_k)?$", re.IGNORECASE)
"""How a quantisation begins: the K_M of a Q4_K_M is none."""
_ASKING_FAILS = (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled, ValueError, ImportError)
"""ValueError: a name, a proxy's address or an answer that is none; ImportError: a SOCKS proxy without its package."""


def look_up(source: ModelSource, wait: Wait) -> list[RemoteFile]:
    """Ask the hub for the files of a model, several where it is split; `wait` waits where the hub asks for it.

    Raises DownloadError; also where the hub's file is not the one that models.toml pins.
    """
    assert source.repo is not None
    assert source.file is not None
    files = [look_up_file(source.repo, file, source.revision or "main", wait) for file in part_names(source.file)]
    size = sum(file.size_bytes for file in files)
    differs = "the hub has another file than the one that models.toml pins"
    if source.size_bytes not in {None, size}:
        raise DownloadError(
            f"{source.repo}/{source.file}: {differs} ({size:,} bytes, expected {source.size_bytes:,})", hint=_UNPIN
        )
    first = files[0]
    if source.sha256 not in {None, first.etag} and cache.is_sha256(first.etag):
        raise DownloadError(
            f"{source.repo}/{source.file}: {differs} (SHA-256 {first.etag}, expected {source.sha256})", hint=_UNPIN
        )
    return files


_UNPIN = "do not use it before you know why; its revision, size_bytes and sha256 stand in models.toml"


def look_up_file(repo: str, file: str, revision: str, wait: Wait) -> RemoteFile:
    """Ask the hub for one file; raises DownloadError, and UsageError for a name that would lead out of the cache."""
    if not cache.is_name(revision):
        raise UsageError(f"{revision!r} is no revision of a repository", hint="expected a commit, or the name of one")
    if not cache.is_name(file):
        raise UsageError(
            f"{file!r} is no name of a file in a repository", hint="expected FILE.gguf or FOLDER/FILE.gguf"
        )

    def ask() -> RemoteFile:
        found = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision), headers=headers())
        etag, commit = found.etag or "", found.commit_hash or ""
        # They become names of files here.
        if found.size is None or not (cache.HASH.fullmatch(etag) and cache.HASH.fullmatch(commit)):
            raise DownloadError(
                f"{endpoint()} does not answer as the hub does: it told no hash, commit or size of {file}",
                hint="is HF_ENDPOINT right?",
            )
        if not 0 < found.size <= _MOST_BYTES:
            raise DownloadError(
                f"{endpoint()} says that {repo}/{file} has {found.size:,} bytes: no model has as many",
                hint=f"is HF_ENDPOINT right? else the file is damaged there: see {endpoint()}/{repo}",
            )
        return RemoteFile(repo, file, revision, commit, etag, found.size)

    return _persistently(ask, wait, repo, file, revision)


def choose(repo: str, quant: str | None, wait: Wait) -> str:
    """Find the GGUF of a repository with a quantisation ("Q4_K_M"), or the only one there.

    Raises UsageError with what there is where that names none or several, and DownloadError.
    """
    names = _persistently(lambda: listing.models(repo), wait, repo)
    fit = [name for name in names if quant is None or _has_quant(name, quant)]
    if len(fit) == 1:
        return fit[0]
    if not names:
        raise UsageError(f"{repo} has no GGUF file", hint="look for a repository whose name ends in -GGUF")
    problem = f"has no GGUF of {quant!r}" if not fit else f"has {len(fit)} GGUFs{f' of {quant!r}' if quant else ''}"
    raise UsageError(f"{repo} {problem}", hint=f"name one: {_shown([f'{repo}/{name}' for name in fit or names])}")


def check_space(files: list[RemoteFile]) -> None:
    """Raise DownloadError where the disk has no room for what is still to come of all these files."""
    needed = sum(file.missing_bytes for file in {file.blob: file for file in files}.values())
    folder = cache.root()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed and needed + _MARGIN_BYTES > free:
        raise DownloadError(
            f"{units.file_size(needed)} are to be downloaded to {folder}, where {units.file_size(free)} are free (and "
            f"{units.file_size(_MARGIN_BYTES)} should stay so): {units.file_size(needed + _MARGIN_BYTES - free)} too "
            "little",
            hint="make room (glimp models list shows what models take), or set HF_HOME to a folder on another disk",
        )


def download(file: RemoteFile, pinned_sha256: str | None, begin: Begin, say: Say, wait: Wait) -> Path:
    """Get a file into the cache, going on from what is there of it; give the path it is used by.

    Whoever else downloads it is waited for. Raises DownloadError; what came by then is kept, unless its hash is wrong.
    """
    with _locked(file, say):
        for written in (file.blob, file.path, cache.ref(file.repo, file.revision)):
            writing.refuse_links(written.parent)
        if not file.is_here:
            for damaged in (file.path, file.blob):
                damaged.unlink(missing_ok=True)
            with writing.open_partial(file.partial) as stream:
                got = Partial(file, pinned_sha256, stream)
                got.take_up(begin)
                got.complete(begin, say, wait)
                os.fsync(stream.fileno())
            if got.hash != got.expected_hash:
                file.partial.unlink()
                raise DownloadError(
                    f"what came of {file.repo}/{file.file} is not what it should be (hash {got.hash}, expected "
                    f"{got.expected_hash}): it was removed",
                    hint="the next try downloads it again; if that fails, too, the file is damaged on its way",
                )
            file.partial.replace(file.blob)
        writing.link(file.path, file.blob)
        if file.revision != file.commit:
            writing.point(file.repo, file.revision, file.commit)
    return file.path


def _persistently(
    ask: Callable[[], T], wait: Wait, repo: str, file: str | None = None, revision: str | None = None
) -> T:
    """Ask the hub something, again where the trouble may pass; raise DownloadError or UsageError."""
    for seconds in (*WAITS_SECONDS[:_QUESTION_TRIES], None):
        try:
            return ask()
        except _ASKING_FAILS as error:
            if seconds is None or not is_passing(error):
                files = _similar(repo) if isinstance(error, RemoteEntryNotFoundError) else []
                raise understood(error, repo, file, revision, files) from error
            if asked := wait_asked_for(error):
                wait(f"the hub asks to wait {units.time_left(asked)}", asked)
            else:
                time.sleep(seconds)
    raise AssertionError  # the last try returns or raises


def _similar(repo: str) -> list[str]:
    """Name the models of a repository to somebody who misspelt one."""
    try:
        names = listing.models(repo)
    except (*_ASKING_FAILS, DownloadError):
        return []  # it is only asked to make another message better
    return names


def _shown(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _has_quant(name: str, quant: str) -> bool:
    folder, _, file = name.rpartition("/")
    base = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", file, flags=re.IGNORECASE)
    match = re.search(rf"(^|[-._]){re.escape(quant)}$", base, re.IGNORECASE)
    is_whole = match is not None and not (match[1] == "_" and _BEGUN.search(base[: match.start()]))
    return is_whole or folder.rpartition("/")[2].lower() == quant.lower()


@contextmanager
def _locked(file: RemoteFile, say: Say) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(writing.locked(file.repo, file.etag, _PATIENCE_SECONDS))
        except filelock.Timeout:
            say(f"{file.repo}/{file.file}: another process downloads it; waiting for that")
            stack.enter_context(writing.locked(file.repo, file.etag))
        yield
