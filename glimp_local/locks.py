"""Locks whose files are there only while they are held, or after a process was killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_TRIES = 20


class Lock:
    """Held by one process at a time; only its owner can read its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, mode=0o600, blocking=False, thread_local=False)

    @property
    def is_held(self) -> bool:
        """Is it held by this one?"""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Take the lock; raises filelock.Timeout where another process has it, and OSError."""
        for _ in range(_TRIES):
            try:
                # Of a file that its last holder removed meanwhile this takes no lock.
                self._lock.acquire()
            except Timeout:
                if self.path.exists():
                    raise
            else:
                return
        raise Timeout(str(self.path))

    def release(self) -> None:
        """Leave it to others, and nothing behind."""
        if not self.is_held:
            return
        with suppress(OSError):  # Windows removes no open file: there the library does it afterwards
            self.path.unlink()  # before it is released: afterwards it may be another's
        self._lock.release()
