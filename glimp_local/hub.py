"""The Hugging Face hub: what a file is there, and getting it into the hub's own cache, whole and verified.

The only module that speaks to the network for models. Requests go through the library's client, with its environment
(HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, proxies, timeouts); the token goes to the hub and to no host it redirects to.
The library begins a cut download anew (its issue 4196); this goes on where it stopped, in one partial file a hash, that
becomes the cached file when size and hash are right.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import filelock
import httpx2
import msgspec
from huggingface_hub import HfApi, RepoFile, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub import constants as hub_constants
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined] # not in an __all__
from rich.filesize import decimal

from glimp_local import __version__, hub_cache
from glimp_local.config import ModelSource
from glimp_local.errors import DownloadError, UsageError
from glimp_local.gguf_header import part_names
from glimp_local.hub_errors import is_passing, understood, wait_asked_for

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
OnBytes = Callable[[int], None]
"""Hears how many bytes of a file are there."""
Begin = Callable[[str, int], OnBytes]
"""Is told a file's name and size before it comes, and gives who hears of its bytes."""
Say = Callable[[str], None]

WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 8.0)
"""Between tries; bytes that came begin the count anew."""
_QUESTION_TRIES = 2
"""More of them for a question that is only asked before the download: somebody waits for the first word."""
_LOCK_POLL_SECONDS = 0.5
_MARGIN_BYTES = 256 * 2**20
"""Free on the disk when all is there."""
_CHUNK = 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RemoteFile(msgspec.Struct, frozen=True):
    """A file of a repository, as the hub tells of it."""

    repo: str
    file: str
    """Its path in the repository."""
    revision: str
    """What was asked for: a commit, or "main"."""
    commit: str
    """What that is now."""
    etag: str
    """The hub's hash: SHA-256 of a large file, git's SHA-1 of a small one."""
    size_bytes: int

    @property
    def blob(self) -> Path:
        """Where it lies in the cache when it is whole."""
        return hub_cache.repo_folder(self.repo) / "blobs" / self.etag

    @property
    def partial(self) -> Path:
        """Where it lies while it is downloaded."""
        return hub_cache.partial_file(self.repo, self.etag, self.file)

    @property
    def path(self) -> Path:
        """Where it is used from when it is whole."""
        return hub_cache.snapshot(self.repo, self.commit) / self.file

    @property
    def missing_bytes(self) -> int:
        """How much is still to come."""
        if self.blob.exists() or self.path.exists():
            return 0
        return max(self.size_bytes - (self.partial.stat().st_size if self.partial.exists() else 0), 0)


def look_up(source: ModelSource) -> list[RemoteFile]:
    """Ask the hub for the files of a model, several where it is split.

    Raises DownloadError; also where the hub's file is not the one that models.toml pins.
    """
    assert source.repo is not None
    assert source.file is not None
    files = [look_up_file(source.repo, file, source.revision or "main") for file in part_names(source.file)]
    size = sum(file.size_bytes for file in files)
    differs = "the hub has another file than the one that models.toml pins"
    if source.size_bytes not in {None, size}:
        raise DownloadError(
            f"{source.repo}/{source.file}: {differs} ({size:,} bytes, expected {source.size_bytes:,})", hint=_UNPIN
        )
    first = files[0]
    if source.sha256 not in {None, first.etag} and hub_cache.is_sha256(first.etag):
        raise DownloadError(
            f"{source.repo}/{source.file}: {differs} (SHA-256 {first.etag}, expected {source.sha256})", hint=_UNPIN
        )
    return files


_UNPIN = "do not use it before you know why; its revision, size_bytes and sha256 stand in models.toml"


def look_up_file(repo: str, file: str, revision: str) -> RemoteFile:
    """Ask the hub for one file; raises DownloadError."""

    def ask() -> RemoteFile:
        found = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision), headers=_headers())
        etag, commit = found.etag or "", found.commit_hash or ""
        # They become names of files here.
        if found.size is None or not (hub_cache.HASH.fullmatch(etag) and hub_cache.HASH.fullmatch(commit)):
            raise DownloadError(
                f"{hub_constants.ENDPOINT} does not answer as the hub does: it told no hash, commit or size of {file}",
                hint="is HF_ENDPOINT right?",
            )
        return RemoteFile(repo, file, revision, commit, etag, found.size)

    return _persistently(ask, repo, file, revision)


def choose(repo: str, quant: str | None) -> str:
    """Find the GGUF of a repository with a quantisation ("Q4_K_M"), or the only one there.

    Raises UsageError with what there is where that names none or several, and DownloadError.
    """

    def ask() -> list[str]:
        return [entry.path for entry in HfApi().list_repo_tree(repo, recursive=True) if isinstance(entry, RepoFile)]

    names = sorted(name for name in _persistently(ask, repo) if _is_model(name))
    fit = [name for name in names if quant is None or _has_quant(name, quant)]
    if len(fit) == 1:
        return fit[0]
    if not names:
        raise UsageError(f"{repo} has no GGUF file", hint="look for a repository whose name ends in -GGUF")
    problem = f"has no GGUF of {quant!r}" if not fit else f"has {len(fit)} GGUFs{f' of {quant!r}' if quant else ''}"
    raise UsageError(f"{repo} {problem}", hint="name one: " + ", ".join(f"{repo}/{name}" for name in fit or names))


def check_space(files: list[RemoteFile]) -> None:
    """Raise DownloadError where the disk has no room for what is still to come of all these files."""
    needed = sum(file.missing_bytes for file in {file.blob: file for file in files}.values())
    folder = hub_cache.root()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed and needed + _MARGIN_BYTES > free:
        raise DownloadError(
            f"{decimal(needed)} are to be downloaded to {folder}, where {decimal(free)} are free (and "
            f"{decimal(_MARGIN_BYTES)} should stay so): {decimal(needed + _MARGIN_BYTES - free)} too little",
            hint="make room (glimp models list shows what models take), or set HF_HOME to a folder on another disk",
        )


def download(file: RemoteFile, pinned_sha256: str | None, begin: Begin, say: Say) -> Path:
    """Get a file into the cache, going on from what is there of it; give the path it is used by.

    Whoever else downloads it is waited for. Raises DownloadError; what came by then is kept, unless its hash is wrong.
    """
    file.blob.parent.mkdir(parents=True, exist_ok=True)
    with _locked(hub_cache.lock_file(file.repo, file.etag), f"{file.repo}/{file.file}", say):
        if not (file.blob.exists() or file.path.exists()):
            with file.partial.open("r+b" if file.partial.exists() else "w+b", buffering=0) as stream:
                got = _Partial(file, pinned_sha256, stream, begin(f"{file.repo}/{file.file}", file.size_bytes))
                got.take_up()
                got.complete(say)
                os.fsync(stream.fileno())
            if got.hash != got.expected_hash:
                file.partial.unlink()
                raise DownloadError(
                    f"what came of {file.repo}/{file.file} is not what it should be (hash {got.hash}, expected "
                    f"{got.expected_hash}): it was removed",
                    hint="the same command downloads it anew; if that ends here again, the file is damaged on its way",
                )
            file.partial.replace(file.blob)
        hub_cache.link(file.path, file.blob)
        if file.revision != file.commit:
            hub_cache.point(file.repo, file.revision, file.commit)
    return file.path


class _Partial:
    """A file that is being downloaded: its bytes on the disk, and the hash of these."""

    def __init__(self, remote: RemoteFile, pinned_sha256: str | None, stream: BinaryIO, on_bytes: OnBytes) -> None:
        self.expected_hash = pinned_sha256 or remote.etag
        self._remote = remote
        self._stream = stream
        self._on_bytes = on_bytes
        self._begin_anew()

    @property
    def hash(self) -> str:
        return str(self._hash.hexdigest())

    def take_up(self) -> None:
        """Hash what an earlier try left."""
        self._stream.seek(0)
        while self._done <= self._remote.size_bytes and (chunk := self._stream.read(_CHUNK)):
            self._count(chunk)
        if self._done > self._remote.size_bytes:  # never by this program
            self._restart()

    def complete(self, say: Say) -> None:
        """Download what is missing, however often the connection is cut, as long as something comes."""
        failures = 0
        while self._done < self._remote.size_bytes:
            before = self._done
            try:
                self._go_on()
                problem: Exception | None = None
            except httpx2.HTTPError as error:  # the library's errors of a status, too
                problem = error
            if self._done == self._remote.size_bytes:
                return
            failures = 1 if self._done > before else failures + 1
            if (problem is not None and not is_passing(problem)) or failures > len(WAITS_SECONDS):
                raise self._gives_up(problem)
            seconds = wait_asked_for(problem) or WAITS_SECONDS[failures - 1]
            say(f"{self._remote.file}: the connection was cut at {decimal(self._done)}; going on in {seconds:.0f} s")
            time.sleep(seconds)

    def _gives_up(self, problem: Exception | None) -> DownloadError:
        remote = self._remote
        known = understood(problem or httpx2.ReadError("it was cut"), remote.repo, remote.file, remote.revision)
        what = f"{decimal(self._done)} of {decimal(remote.size_bytes)} are here"
        return DownloadError(f"{known} ({what})", hint=f"{known.hint}; the same command goes on from there")

    def _go_on(self) -> None:
        remote = self._remote
        url = hf_hub_url(remote.repo, remote.file, revision=remote.commit)
        headers = _headers() | ({"Range": f"bytes={self._done}-"} if self._done else {})
        timeout = hub_constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code == httpx2.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._restart()  # whatever the server means by it: a try from the start shows
                return
            hf_raise_for_status(response)
            begins = re.match(rf"bytes {self._done}-", response.headers.get("Content-Range", ""))
            if self._done and not (response.status_code == httpx2.codes.PARTIAL_CONTENT and begins):
                self._restart()  # a server, or a proxy, that knows no ranges sends all
            for chunk in response.iter_raw():
                self._write(chunk)
                if self._done > remote.size_bytes:
                    self._restart()
                    raise DownloadError(f"the hub sent more of {remote.file} than the file has", hint="try again")

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            missing = self._remote.size_bytes - self._stream.tell()
            raise DownloadError(
                f"the disk is full ({error.strerror}): {decimal(missing)} of {self._remote.file} are missing",
                hint="make room, or set HF_HOME to a folder on another disk; the same command goes on from there",
            ) from error
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._done += len(chunk)
        self._on_bytes(self._done)

    def _restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._hash = hub_cache.new_hash(self.expected_hash, self._remote.size_bytes)
        self._done = 0
        self._on_bytes(0)


def _persistently(ask: Callable[[], T], repo: str, file: str | None = None, revision: str | None = None) -> T:
    """Ask the hub something, again where the trouble may pass; raise DownloadError or UsageError."""
    for wait in (*WAITS_SECONDS[:_QUESTION_TRIES], None):
        try:
            return ask()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            if wait is None or not is_passing(error):
                files = _files(repo) if isinstance(error, RemoteEntryNotFoundError) else []
                raise understood(error, repo, file, revision, files) from error
            time.sleep(wait_asked_for(error) or wait)
    raise AssertionError  # the last try returns or raises


def _files(repo: str) -> list[str]:
    """Name the GGUFs of a repository, for somebody who misspelt one."""
    try:
        return [entry.path for entry in HfApi().list_repo_tree(repo, recursive=True) if _is_model(entry.path)]
    except (httpx2.HTTPError, OSError, ValueError):
        return []  # it is only asked to make another message better


def _headers() -> dict[str, str]:
    """Give the library's headers, the token among them; no compression, or bytes could not be counted."""
    made = build_hf_headers(library_name="glimp-local", library_version=__version__)
    return {**made, "Accept-Encoding": "identity"}


def _is_model(name: str) -> bool:
    base = name.rpartition("/")[2].lower()
    is_later_part = re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", base)
    return base.endswith(".gguf") and not base.startswith("mmproj") and not is_later_part


def _has_quant(name: str, quant: str) -> bool:
    base = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", name.rpartition("/")[2], flags=re.IGNORECASE)
    return re.search(rf"(^|[-.]){re.escape(quant)}$", base, re.IGNORECASE) is not None


@contextmanager
def _locked(path: Path, what: str, say: Say) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, mode=0o664)  # as the library makes it
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"{what}: another process downloads it; waiting for that")
        lock.acquire(poll_interval=_LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()
