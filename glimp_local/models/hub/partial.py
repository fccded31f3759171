"""A file of the hub that is here in part: its bytes on the disk, and the rest of them downloaded.

Knows HTTP (ranges, cut connections, servers that know no ranges) and what was kept by an earlier try; what the file is
and where it goes to when it is whole is the hub module's.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
import msgspec
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # not in an __all__

from glimp_local import __version__, units
from glimp_local.errors import DownloadError
from glimp_local.models.hub import cache
from glimp_local.models.hub.errors import TooSlowError, is_passing, raise_for_status, understood, wait_asked_for

# Left to itself, the library tells the hub which program runs it, and asks for a list of those it could be.
constants.HF_HUB_DISABLE_TELEMETRY = True

OnBytes = Callable[[int], None]
"""Hears how many bytes of a file are there."""
Begin = Callable[[str, int, int], OnBytes]
"""Is told a file's name, its size and how much of it is done before more comes, and gives who hears of its bytes."""
Say = Callable[[str], None]
Wait = Callable[[str, float], None]
"""Says why some seconds are waited, and waits."""

WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 8.0)
"""Between tries; a try faster than the slowest pace resets the count."""
SLOWEST_BYTES_PER_SECOND = 1000
"""What sends less, on average of `PACE_SECONDS`, would take weeks for a model."""
PACE_SECONDS = 60.0
_CHUNK = 2**20
_RANGE_REFUSED = 416  # its name differs from one release of the client to the next
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
        return cache.repo_folder(self.repo) / "blobs" / self.etag

    @property
    def partial(self) -> Path:
        """Where it lies while it is downloaded."""
        return cache.partial_file(self.repo, self.etag, self.file)

    @property
    def path(self) -> Path:
        """Where it is used from when it is whole."""
        return cache.snapshot(self.repo, self.commit) / self.file

    @property
    def is_here(self) -> bool:
        """Is it in the cache, and of its size?"""
        return any(path.is_file() and path.stat().st_size == self.size_bytes for path in (self.blob, self.path))

    @property
    def missing_bytes(self) -> int:
        """How much is still to come."""
        if self.is_here:
            return 0
        return max(self.size_bytes - cache.own_bytes(self.partial), 0)


class Pace:
    """Watches how fast something comes."""

    def __init__(self) -> None:
        self._began, self._bytes = time.monotonic(), 0

    def count(self, size_bytes: int) -> None:
        """Count bytes that came; raises TooSlowError at the end of a time in which they were too few."""
        self._bytes += size_bytes
        if time.monotonic() - self._began < PACE_SECONDS:
            return
        if self._bytes < SLOWEST_BYTES_PER_SECOND * PACE_SECONDS:
            raise TooSlowError(f"less than {units.file_size(SLOWEST_BYTES_PER_SECOND)} a second came")
        self._began, self._bytes = time.monotonic(), 0


class Partial:
    """A file that is being downloaded: its bytes on the disk, and the hash of these."""

    def __init__(self, remote: RemoteFile, pinned_sha256: str | None, stream: BinaryIO) -> None:
        self.expected_hash = pinned_sha256 or remote.etag
        self._remote = remote
        self._stream = stream
        self._restart_hash()

    @property
    def _name(self) -> str:
        return f"{self._remote.repo}/{self._remote.file}"

    @property
    def hash(self) -> str:
        """Hash of what is there."""
        return str(self._hash.hexdigest())

    def take_up(self, begin: Begin) -> None:
        """Hash what an earlier try left."""
        on_bytes: OnBytes | None = None
        while self._done <= self._remote.size_bytes and (chunk := self._stream.read(_CHUNK)):
            on_bytes = on_bytes or begin(self._name, self._remote.size_bytes, 0)
            self._count(chunk)
            on_bytes(self._done)
        if self._done > self._remote.size_bytes:  # never by this program
            self._restart()

    def complete(self, begin: Begin, say: Say, wait: Wait) -> None:
        """Download what is missing, however often the connection is cut, as long as it comes at some pace."""
        on_bytes = begin(self._name, self._remote.size_bytes, self._done)
        failures = 0
        while self._done < self._remote.size_bytes:
            before = self._done
            try:
                self._go_on(on_bytes)
                problem: Exception | None = None
            except httpx2.HTTPError as error:  # the library's errors of a status, too
                problem = error
            if self._done == self._remote.size_bytes:
                return
            has_come_on = self._done - before > SLOWEST_BYTES_PER_SECOND * PACE_SECONDS
            failures = 1 if has_come_on else failures + 1
            if (problem is not None and not is_passing(problem)) or failures > len(WAITS_SECONDS):
                raise self._gives_up(problem)
            if asked := wait_asked_for(problem):
                here = f"{units.file_size(self._done)} of {self._remote.file} are here"
                wait(f"the hub asks to wait {units.time_left(asked)} ({here})", asked)
                continue
            seconds = WAITS_SECONDS[failures - 1]
            what = str(problem) if isinstance(problem, TooSlowError) else "the connection was cut"
            say(f"{self._remote.file}: {what} at {units.file_size(self._done)}; going on in {units.time_left(seconds)}")
            time.sleep(seconds)

    def _gives_up(self, problem: Exception | None) -> DownloadError:
        remote = self._remote
        known = understood(problem or httpx2.ReadError("it ended early"), remote.repo, remote.file, remote.revision)
        what = f"{units.file_size(self._done)} of {units.file_size(remote.size_bytes)} are here"
        return DownloadError(f"{known} ({what})", hint=f"{known.hint}; the next try continues from there")

    def _go_on(self, on_bytes: OnBytes) -> None:
        remote = self._remote
        url = hf_hub_url(remote.repo, remote.file, revision=remote.commit)
        asked = headers() | ({"Range": f"bytes={self._done}-"} if self._done else {})
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=asked, timeout=timeout, follow_redirects=True) as response:
            if response.status_code == _RANGE_REFUSED:
                self._restart()  # whatever the server means by it: a try from the start shows
                return
            raise_for_status(response)
            begins = re.match(rf"bytes {self._done}-", response.headers.get("Content-Range", ""))
            if self._done and not (response.status_code == httpx2.codes.PARTIAL_CONTENT and begins):
                self._restart()  # a server, or a proxy, that knows no ranges sends all
            pace = Pace()
            for chunk in response.iter_raw():
                self._write(chunk)
                pace.count(len(chunk))
                on_bytes(self._done)
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
                f"the disk is full ({error.strerror}): {units.file_size(missing)} of {self._remote.file} are missing",
                hint="make room, or set HF_HOME to a folder on another disk; the next try continues from there",
            ) from error
        self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._done += len(chunk)

    def _restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self._restart_hash()

    def _restart_hash(self) -> None:
        self._hash = cache.new_hash(self.expected_hash, self._remote.size_bytes)
        self._done = 0


def headers() -> dict[str, str]:
    """Give the library's headers, the token among them; no compression, or bytes could not be counted."""
    made = build_hf_headers(library_name="glimp-local", library_version=__version__)
    return {**made, "Accept-Encoding": "identity"}
