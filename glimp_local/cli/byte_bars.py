"""How far files are: a bar each on a terminal, with rate and time left; elsewhere a line at start and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from glimp_local import units
from glimp_local.text import harmless, one_line


class _Bars(Progress):
    """The bars, and below them how long is still waited."""

    waiting = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Give what is drawn."""
        yield from super().get_renderables()
        if self.waiting:
            yield self.waiting


class ByteBars:
    """Shows on stderr how many bytes of files are done; `lines` says it outside a terminal, too."""

    def __init__(self, *, quiet: bool, lines: bool = True) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lines = lines and not self._console.is_terminal
        self._quiet = quiet
        self._tasks: dict[str, TaskID] = {}
        self._progress = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )

    def say(self, message: str) -> None:
        """Show a sentence of our own."""
        if not self._quiet:
            self._console.print(harmless(f"glimp: {message}"), markup=False)

    def wait(self, why: str, seconds: float) -> None:
        """Say why it is waited, and wait; the seconds left are counted down on a terminal."""
        self.say(why)
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self._progress.waiting = f"waiting: {units.time_left(left)} left"
            sleep(min(left, 1))
        self._progress.waiting = ""

    def begin(self, name: str, size_bytes: int, done_bytes: int = 0) -> Callable[[int], None]:
        """Begin a file, or the rest of it; give who is to hear how many bytes of it are done."""
        if self._lines:
            self.say(
                f"{name}: going on from {units.file_size(done_bytes)}"
                if done_bytes
                else f"{name}: {units.file_size(size_bytes)}"
            )
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._progress.add_task(one_line(name.rpartition("/")[2]), total=size_bytes)
        self._progress.reset(task, completed=done_bytes)  # what was there already has no rate
        began = monotonic()

        def report(done_bytes: int) -> None:
            self._progress.update(task, completed=done_bytes)
            if self._lines and done_bytes == size_bytes:
                self.say(f"{name}: all is here, after {units.duration(monotonic() - began)}")

        return report

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
