"""A pair that is being downloaded: in a thread of its own, looked at from time to time by whoever shows it.

Knows nothing of widgets. What came stays on the disk whatever ends the download, and the next one continues from there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from glimp_local import units
from glimp_local.errors import CancelledError, DownloadError, GlimpError
from glimp_local.models import files
from glimp_local.models.hub.fetch import fetch
from glimp_local.settings import ModelSource

_LOOKS = 20
"""The speed shown is the average over this many looks."""


class Download:
    """The models of a pair on their way to this machine; `after` is an earlier download, which has to end first."""

    def __init__(self, sources: Sequence[ModelSource], after: Download | None = None) -> None:
        self._sources = files.distinct(sources)
        self._after = after
        self._stop = threading.Event()
        self._done: dict[str, int] = {}
        self._rates: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._begun = self._rated = 0
        here = [files.look(source) for source in self._sources]
        sizes = [source.size_bytes or 0 for source in self._sources]
        self._here_bytes = sum(found.here_bytes for found in here if found.is_here)
        self._listed_bytes = sum(sizes) if all(sizes) else 0
        self._begun_bytes = 0
        self.said = "asking the hub"
        """What it is at, as long as no bytes come."""
        self.error: GlimpError | None = None
        """Why it ended before its end."""
        self.is_whole = False
        """Did all of it come?"""
        self._thread = threading.Thread(target=self._work, name="glimp download", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it as soon as something comes, or does not; nobody need wait for that."""
        self._stop.set()

    @property
    def done_bytes(self) -> int:
        """What is here."""
        return self._here_bytes + sum(self._done.copy().values())

    @property
    def total_bytes(self) -> int:
        """What will be here, as far as anybody has said."""
        return max(self._listed_bytes, self._here_bytes + self._begun_bytes)

    def line(self) -> str:
        """Say how far it is: what came, how fast, and how long the rest will take."""
        if not self._done:
            return self.said
        if self._rated != self._begun:  # what was here already has no rate
            self._rated = self._begun
            self._rates.clear()
        done, total = self.done_bytes, self.total_bytes
        self._rates.append((monotonic(), done))
        (since, before), (now, _) = self._rates[0], self._rates[-1]
        rate = (done - before) / (now - since) if now > since else 0.0
        parts = [f"{units.file_size(done)} of {units.file_size(total)}"]
        if rate > 0:
            parts += [f"{units.file_size(rate)}/s", f"{units.time_left((total - done) / rate)} left"]
        return ", ".join(parts) + (f" · {self.said}" if self.said else "")

    # In the thread.

    def _work(self) -> None:
        try:
            if self._after is not None:
                self._after.wait()
            fetch(self._sources, self._begin, self._say, self._wait)
        except GlimpError as error:
            self.error = error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self.error = DownloadError(f"{where}{error.strerror}", hint="make sure that the folder can be written")
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave a bar that never moves
            self.error = DownloadError(f"unexpected error ({type(error).__name__}: {error})", hint="try again")
        else:
            self.is_whole = True

    def wait(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _check(self) -> None:
        if self._stop.is_set():
            raise CancelledError("the download was stopped")

    def _say(self, message: str) -> None:
        self._check()
        self.said = message

    def _wait(self, why: str, seconds: float) -> None:
        self.said = why
        self._stop.wait(seconds)
        self._check()
        self.said = ""

    def _begin(self, name: str, size_bytes: int, done_bytes: int) -> Callable[[int], None]:
        self._check()
        if name not in self._done:
            self._begun_bytes += size_bytes
        self._begun += 1

        def hear(done_bytes: int) -> None:
            self._done[name] = done_bytes
            self.said = ""
            self._check()

        self._done[name] = done_bytes
        self.said = ""
        return hear
