"""The saved conversations: one file each in the platform's data folder, found by its id.

Each is read by itself (`saved.py`): one that is damaged costs no other. A file is written (`session_log.py`) and
removed by one process at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from glimp_local import private
from glimp_local.errors import UsageError
from glimp_local.locks import Lock
from glimp_local.paths import data_folder
from glimp_local.records import caches
from glimp_local.records.saved import SavedSession, Unreadable, UnreadableError, read

SUFFIX = ".jsonl"
_MOST_NAMED = 3
"""Conversations that are named where a part of an id fits several."""


def folder() -> Path:
    """Give the folder of the saved conversations; it need not exist."""
    return data_folder() / "sessions"


def ids() -> list[str]:
    """Give the ids of all conversations, the one written to last first; none of them is read. Raises OSError."""
    return [path.stem for path in _paths() if not path.is_dir()]


def _paths() -> list[Path]:
    """Give what has the name of a conversation, whatever it is, what was written to last first; raises OSError."""
    try:
        # Names that begin with a dot are notes of file managers.
        found = [entry for entry in os.scandir(folder()) if entry.name.endswith(SUFFIX) and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    return [Path(entry) for entry in sorted(found, key=_written_at, reverse=True)]


def _written_at(entry: os.DirEntry[str]) -> float:
    about = stat_of(entry)
    return 0.0 if about is None else about.st_mtime


def stat_of(file: os.DirEntry[str] | Path) -> os.stat_result | None:
    """Return size and times of a file, of a link to nothing those of the link; None if it was removed just now."""
    for follows in (True, False):
        with suppress(OSError):
            return file.stat(follow_symlinks=follows)
    return None


def scan() -> Iterator[SavedSession | Unreadable]:
    """Read all conversations, the one written to last first; raises OSError where their folder cannot be read.

    The folder is closed to others, whoever has made it.
    """
    private.close_to_others(folder())
    for path in _paths():
        try:
            yield read(path)
        except UnreadableError as error:
            if os.path.lexists(path):  # and not just now removed by another process
                yield Unreadable(path.stem, path, error.reason)


def find(id_: str | None = None, tell: Callable[[str], object] = lambda _: None) -> SavedSession:
    """Read the conversation that `named` finds, or the last one; raises UsageError if there is none.

    `tell` gets a sentence where it, or a later one that is passed over, is damaged.
    """
    if id_ is not None:
        session = read(named(id_))
        if said := in_words([session]):
            tell(said)
        return session
    passed_over: list[SavedSession | Unreadable] = []
    for found in scan():
        if isinstance(found, SavedSession):
            if said := in_words([*passed_over, found]):
                tell(said)
            return found
        passed_over.append(found)
    if passed_over:
        raise UsageError(in_words(passed_over), hint="to remove one: glimp sessions rm ID, with the whole id")
    raise UsageError("no conversation was saved yet", hint="begin one with: glimp chat")


def find_to_remove(id_: str, *, in_full: bool = False) -> SavedSession | Unreadable:
    """Find one like `find`; one of which nothing can be restored has to be named in full, and with `in_full` each."""
    path = named(id_)
    if in_full and path.stem != id_:
        what = f"{id_!r} is a part of an id, and nobody is asked whether it is the right one"
        raise UsageError(what, hint=f"name it in full to remove it: glimp sessions rm {path.stem}")
    try:
        return read(path)
    except UnreadableError as error:
        if path.stem != id_:
            raise UsageError(str(error), hint=f"name it in full to remove it: glimp sessions rm {path.stem}") from error
        return Unreadable(path.stem, path, error.reason)


def named(id_: str) -> Path:
    """Return the file of the conversation with this id, or the only one with this part of an id.

    The beginning and the end of an id count more than its middle. Raises UsageError if none has it, or several have.
    """
    if not id_:
        raise UsageError("an empty id names no conversation", hint="their ids: glimp sessions list")
    having = [path for path in _paths() if id_ in path.stem]
    at_an_end = [path for path in having if path.stem.startswith(id_) or path.stem.endswith(id_)]
    paths = [path for path in having if path.stem == id_] or at_an_end or having
    if not paths:
        raise UsageError(f"no saved conversation has {id_!r} in its id", hint="their ids: glimp sessions list")
    if len(paths) > 1:
        first = ", ".join(path.stem for path in paths[:_MOST_NAMED]) + (", ..." if len(paths) > _MOST_NAMED else "")
        what = f"{len(paths)} saved conversations have {id_!r} in their ids: {first}"
        raise UsageError(what, hint="a longer part of the id names one of them")
    return paths[0]


def in_words(found: Iterable[SavedSession | Unreadable]) -> str:
    """Say in one sentence which conversations are damaged; nothing where none is."""
    damaged, lost = [], []
    for each in found:
        if isinstance(each, Unreadable):
            lost.append(f"{each.id}, {each.damage}")
        elif each.damage is not None:
            damaged.append(f"{each.id}, {each.damage}")
    parts = []
    if damaged:
        parts.append(f"{_many(damaged)} {'is' if len(damaged) == 1 else 'are'} damaged: {'; '.join(damaged)}")
    if lost:
        parts.append(f"{_many(lost)} cannot be restored: {'; '.join(lost)}")
    return ". ".join(parts)


def _many(found: list[str]) -> str:
    return f"{len(found)} conversation{'' if len(found) == 1 else 's'}"


def remove(path: Path) -> None:
    """Remove a conversation from the disk, its caches, too; raises UsageError if a chat is writing to it, and OSError.

    Of a link, the link is removed.
    """
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"{path} is a folder", hint="glimp removes none: have a look, and remove it yourself")
    lock = lock_of(path)
    hold(lock, path.stem)
    try:
        caches.remove(path)
        path.unlink()
    finally:
        lock.release()


def lock_of(path: Path) -> Lock:
    """Return the lock of a conversation's file, which need not exist."""
    # A file has one lock by all its names; it lies here, also of a file that a link finds elsewhere.
    return Lock(path.parent / (Path(os.path.realpath(path)).stem + ".lock"))


def hold(lock: Lock, id_: str) -> None:
    """Take a lock; UsageError says if another process has it."""
    try:
        lock.acquire()
    except Timeout:
        hint = "go on there, or close it first"
        raise UsageError(f"the conversation {id_} is open in another glimp chat", hint=hint) from None
