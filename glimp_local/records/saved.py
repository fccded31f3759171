"""One conversation read back from its file, and what of it could not be restored.

The first line is a `Header`; the events follow as the session yielded them, except `Text`, which the finished steps
hold. What is damaged costs the lines it is in: what can be restored is, and `damage` says what cannot.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from glimp_local.errors import UsageError
from glimp_local.records import lines
from glimp_local.records.attached import with_chips
from glimp_local.records.lines import Header
from glimp_local.records.recording import Recording, numbered, runs_of
from glimp_local.runs import Run
from glimp_local.tree import Tree

_TITLE_LENGTH = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class SavedSession:
    """A conversation read back."""

    id: str
    path: Path
    created: str
    """ISO 8601, UTC."""
    header: Header
    """The pair that wrote last."""
    tree: Tree
    """Its turns, with the versions of them that others have replaced."""
    damage: str | None = None
    """What of it could not be restored, in words; None if all is there."""
    state: tuple[int, int] | None = field(default=None, compare=False)
    """Size and time of change of the file that was read: if it has others later, somebody else has written to it."""
    name: str | None = None
    """What the user called it; None if it is known by its first question."""

    @property
    def turns(self) -> list[Run]:
        """The turns it consists of."""
        return self.tree.runs

    @property
    def title(self) -> str:
        """The name the user gave it, else the first question's first line."""
        turns = self.turns
        return next(iter((self.name or (with_chips(turns[0].asked) if turns else "")).strip().splitlines()), "")

    @property
    def system(self) -> str | None:
        """The system message of the conversation, as the last question had it; None if there is none."""
        return next((turn.system for turn in reversed(self.turns) if turn.system is not None), None)


@dataclass
class Unreadable:
    """What has the name of a conversation, and nothing of it can be restored."""

    id: str
    path: Path
    damage: str
    """Why, in words."""


class UnreadableError(UsageError):
    """Nothing of a file can be restored."""

    def __init__(self, path: Path, reason: str, hint: str | None = None) -> None:
        what = f"the conversation {path.stem} cannot be restored: {reason}"
        super().__init__(what, hint=hint or f"to remove it: glimp sessions rm {path.stem}")
        self.reason = reason


def read(path: Path) -> SavedSession:
    """Read one file; what is damaged in it is left out, and `damage` says so.

    A last line cut short by a killed process is left out, too. Raises UsageError if nothing can be restored.
    """
    try:
        with lines.open_file(path) as file:
            state = state_of(os.fstat(file.fileno()))
            found = runs_of(file, "it")
    except OSError as error:
        raise UnreadableError(path, error.strerror or str(error)) from error
    except UsageError as error:
        raise UnreadableError(path, str(error), error.hint) from error
    if not found.tree.versions and (found.damaged or not found.headers):
        raise UnreadableError(path, str(found.first or "it holds no line of a conversation"))
    header = _header(path, found, state)
    for run in found.tree.versions.values():
        run.steps = numbered(run.steps)
    created = found.headers[0].created if found.headers else header.created
    name = next((header.title for header in reversed(found.headers) if header.title is not None), None)
    return SavedSession(path.stem, path, created, header, found.tree, _damage(found), state, name or None)


def _header(path: Path, found: Recording, state: tuple[int, int]) -> Header:
    """Return the last header, or what stands for it if it is damaged: the last question says who was asked."""
    pair = next((run.pair for run in reversed(found.runs) if run.pair), None)
    if found.headers and (not found.damaged or pair in {None, found.headers[-1].pair}):
        return found.headers[-1]
    try:
        created = datetime.strptime(path.stem[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the user has given it another name
        created = _EPOCH
        with suppress(OverflowError):  # a file's time may be one that no calendar knows
            created += timedelta(microseconds=state[1] // 1000)
    return Header(lines.VERSION, created.isoformat(timespec="seconds"), pair or "")


def _damage(found: Recording) -> str | None:
    """Return in words what is damaged; None if nothing is."""
    if not found.damaged and found.headers:
        return None
    whole = sum(not run.damaged for run in found.runs)
    return f"{whole} of {len(found.runs)} turns restored ({found.first or 'the line that names the pair is missing'})"


def short(title: str) -> str:
    """Return a title as a list shows it."""
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1] + "…"


def state_of(about: os.stat_result) -> tuple[int, int]:
    """Return what changes when somebody writes to a file: its size and its time of change."""
    return about.st_size, about.st_mtime_ns
