"""A conversation on the disk: one file, one event a line, written as it happens.

Every finished step is on the disk before the next one begins, so that a killed process costs the step being written.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import msgspec
from filelock import Timeout

from glimp_local import private
from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent, Text
from glimp_local.records import lines
from glimp_local.records.conversations import SUFFIX, folder, hold, lock_of
from glimp_local.records.lines import Header
from glimp_local.records.saved import SavedSession, state_of
from glimp_local.records.writer import LineWriter
from glimp_local.routing import Model


class SessionLog:
    """Writes a conversation's events to its file, which begins to exist with the first of them.

    No other process writes to the file or removes it meanwhile; UsageError if one does already. If writing
    fails (a full disk), `error` says why, and what could not be written is written with the next event, once it can.
    What is damaged in a file stays there, and what somebody else has written to it meanwhile is not written over.
    It may be renamed by another thread than the one that writes the events.
    """

    def __init__(self, going_on: SavedSession | None = None) -> None:
        self.going_on = going_on
        self.path = going_on.path if going_on else _new_path()
        self.header = going_on.header if going_on else None
        self._lock = lock_of(self.path)
        self._lines = LineWriter(self._open)
        self._writing = threading.RLock()
        self._is_made = going_on is not None
        self._is_closed = False
        # If steps are missing, the file says from where on they are numbered as they were restored; and an older glimp
        # is not to read what a newer one adds.
        self._head_due = going_on is not None and (
            going_on.damage is not None or going_on.header.version < lines.VERSION
        )
        if going_on:
            hold(self._lock, going_on.id)
            try:
                state = state_of(self.path.stat())
                if going_on.state not in {None, state}:
                    what = f"the conversation {going_on.id} was changed meanwhile"
                    raise UsageError(what, hint="the same command again reads what was added")  # noqa: TRY301 - so the lock is freed
                end, before = lines.append_at(self.path)
                self._lines = LineWriter(self._open, end=end, size=state[0], before=before)
                private.make_folder(self.path.parent)
                private.close_to_others(self.path)
            except BaseException:
                self._lock.release()
                raise

    def begin(self, pair: str, files: Mapping[Model, Path], urls: Mapping[Model, str] | None = None) -> None:
        """Record which pair writes from now on: its name, and the files and servers that it was given by, if it was.

        Nothing is written if it is the one that wrote before.
        """
        given = {str(model): str(path.resolve()) for model, path in files.items()}
        given |= {f"{model}_url": url for model, url in (urls or {}).items()}
        header, before = Header(lines.VERSION, _now(), pair, **given), self.header
        if before is None or _models_of(before) != _models_of(header):
            self._head(header)

    def _head(self, header: Header, title: str | None = None) -> None:
        """Begin a part of the file that another header is of."""
        with self._writing:
            header = msgspec.structs.replace(header, version=lines.VERSION, created=_now(), title=title)
            self._lines.put(header)
            self.header, self._head_due = header, False

    def rename(self, title: str) -> None:
        """Give the conversation a name, in one line; an empty one takes it away. `error` says if it is not written yet.

        Raises UsageError if nothing is saved yet, or if the conversation was left meanwhile.
        """
        with self._writing:
            if self._is_closed:
                raise UsageError("this conversation was left before its title was changed", hint="open it again")
            if self.header is None or not self.is_written:
                raise UsageError("nothing is saved yet that could be renamed", hint="ask something first")
            if self._head_due and self.going_on is not None and self.going_on.damage is not None:
                self._head(self.header)  # a name says nothing of the numbers
            self._head(self.header, " ".join(title.split()))
            self._lines.flush()

    @property
    def error(self) -> OSError | None:
        """Why the last event is not on the disk; None if all are."""
        return self._lines.error

    @property
    def is_written(self) -> bool:
        """Is there a file?"""
        return self._lines.end > 0

    def write(self, event: AnyEvent) -> None:
        """Add an event; `Text` is left to the step that ends with it."""
        if isinstance(event, Text):
            return
        with self._writing:
            if self._head_due and self.header is not None:
                self._head(self.header)
            self._lines.write(event)

    def _open(self) -> FileIO:
        if not self._is_made:
            self._make()
        return self.path.open("r+b", buffering=0)

    def _make(self) -> None:
        """Make the file of a new conversation, under another id if there is one of this."""
        private.make_folder(self.path.parent)
        while not self._is_made:
            try:
                self._lock.acquire()
                private.make_file(self.path, new=True)
                self._is_made = True
            except (FileExistsError, Timeout):
                self._lock.release()
                self.path = _new_path()
                self._lock = lock_of(self.path)
            except BaseException:
                self._lock.release()
                raise

    def close(self) -> None:
        """Write what could not be written before, if that is possible now, and leave the file to others.

        One that a full disk has kept empty is taken away. `error` says whether anything is missing.
        """
        with self._writing:
            self._is_closed = True
            if self.error is not None:
                self._lines.flush()
        if self._lock.is_held and not self._lines.end:
            with suppress(OSError):
                if not self.path.stat().st_size:
                    self.path.unlink()
        self._lock.release()


def rename(found: SavedSession, title: str) -> None:
    """Give a conversation that is not open a name, in one line; an empty one takes it away.

    It stays as old as it was: which conversation is the last one does not change. Raises UsageError if it is open, or
    was changed since it was read, and OSError if its file cannot be written.
    """
    log = SessionLog(found)
    try:
        before = found.path.stat()
        log.rename(title)
        if log.error is not None:
            raise log.error
        with suppress(OSError):
            os.utime(found.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        log.close()


def _models_of(header: Header) -> tuple[str | None, ...]:
    return header.pair, header.small, header.large, header.small_url, header.large_url


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_path() -> Path:
    return folder() / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}{SUFFIX}"
