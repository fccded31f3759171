"""A run on the disk: one event a line, written as it happens.

Each line is handed to the system at once (`writer.py`), so that a killed process loses nothing it has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent
from glimp_local.records import lines
from glimp_local.records.lines import Problem
from glimp_local.records.writer import LineWriter


class EventLog:
    """Writes events to a file as JSON lines.

    The file is opened at once, so that one that cannot be written is known before a model is loaded. What stands in a
    file is never replaced. If writing fails later (a full disk), `error` says why and the run continues; what could not
    be written is written once it can be. Raises UsageError if the file cannot be opened or holds something.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_new = not path.exists()
        self._begun = False
        if path.is_file() and path.stat().st_size:
            raise UsageError(f"--save {path}: the file holds something", hint="choose another name, or remove it first")
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(
                f"--save {path}: cannot be written: {error.strerror}", hint="choose a file in a folder you may write to"
            ) from error
        self._lines = LineWriter(lambda: nullcontext(self._file))

    @property
    def error(self) -> OSError | None:
        """Why the last event is not in the file; None if all are."""
        return self._lines.error

    def write(self, event: AnyEvent) -> None:
        """Add an event."""
        self._begun = True
        self._lines.write(event)

    def close(self) -> None:
        """Write what could not be written before, and close the file; a new one without an event is taken away."""
        if self._file.closed:
            return
        if self.error is not None:
            self._lines.flush()
        self._file.close()
        if self._is_new and not self._begun:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: str | Path, on_damage: Callable[[Problem], object] | None = None) -> list[AnyEvent]:
    """Read a saved run, or a saved conversation; a last line cut short by a killed process is left out.

    Damaged lines are left out where `on_damage` is given, which is told of each; else UsageError says which is the
    first, and also where a newer glimp has written the file. Raises OSError where it cannot be read.
    """
    events: list[AnyEvent] = []
    with Path(path).open("rb") as file:
        for _, found in lines.read(file):
            lines.refuse_newer(found, str(path))
            if isinstance(found, AnyEvent):
                events.append(found)
            elif isinstance(found, Problem):
                if on_damage is None:
                    raise UsageError(f"{path} is damaged: {found}", hint="on_damage leaves damaged lines out")
                on_damage(found)
    return events
