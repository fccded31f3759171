"""A run on the disk: one event a line, written as it happens.

Each line is handed to the system at once, so that a killed process loses nothing it has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent, encode
from glimp_local.records import lines as records
from glimp_local.records.lines import Problem


class EventLog:
    """Writes events to a file as JSON lines.

    The file is opened at once, so that one that cannot be written is known before a model is loaded. What stands in a
    file is never replaced. When writing fails later (a full disk), `error` says why and the run goes on. Raises
    UsageError where the file cannot be opened or holds something.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
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

    def write(self, event: AnyEvent) -> None:
        """Add an event."""
        if self.error is not None:
            return
        try:
            self._begun = True
            line = encode(event) + b"\n"
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self.error = error

    def close(self) -> None:
        """Close the file; a new one that no event was written to is taken away."""
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
        for _, found in records.read(file):
            records.refuse_newer(found, str(path))
            if isinstance(found, AnyEvent):
                events.append(found)
            elif isinstance(found, Problem):
                if on_damage is None:
                    raise UsageError(f"{path} is damaged: {found}", hint="on_damage leaves damaged lines out")
                on_damage(found)
    return events
