"""The line above the message box: what is being done, with a sign that moves while it is; else what was done last."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from glimp_local import units

_SIGNS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class StatusLine(Static):
    """One line. `work` has it live, `rest` ends that."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self._describe: Callable[[], str] | None = None
        self._began = 0.0
        self._timer: Timer | None = None
        self._stops = True
        self._tick = 0
        self._resting = self._aside = ""
        self._hinted_until = 0.0

    @property
    def is_working(self) -> bool:
        """Does it show what is being done?"""
        return self._describe is not None

    def work(self, describe: Callable[[], str], *, every_seconds: float, stops: bool = True) -> None:
        """Show what is being done, as `describe` says it each time, until `rest`; the seconds count from here on.

        `stops`: Esc can stop it.
        """
        self._end()
        self._stops = stops
        self._describe, self._began = describe, monotonic()
        self._timer = self.set_interval(every_seconds, self._move)
        self.show_now()

    def rest(self, text: str) -> None:
        """Show a text, and no sign."""
        self._end()
        self._resting = text
        self._rest()

    def aside(self, text: str) -> None:
        """Show a text in the place of the one that rests there; an empty one shows that again."""
        self._aside = text
        if self._describe is None:
            self._rest()

    def _rest(self) -> None:
        self.update(Content(self._aside or self._resting), layout=False)

    def hint(self, text: str, *, seconds: float) -> None:
        """Show a text for some seconds, whatever is being done."""
        self.update(Content(text), layout=False)
        self._hinted_until = monotonic() + seconds
        self.set_timer(seconds, lambda: self._rest() if self._describe is None else None)

    def show_now(self) -> None:
        """Show what is being done without waiting for the next tick."""
        if self._describe is not None and monotonic() >= self._hinted_until:
            sign = _SIGNS[self._tick % len(_SIGNS)]
            seconds = units.time_left(monotonic() - self._began)
            way_out = " · Esc stops" if self._stops else ""
            self.update(Content(f"{sign} {self._describe()} · {seconds}{way_out}"), layout=False)

    def _move(self) -> None:
        self._tick += 1
        self.show_now()

    def _end(self) -> None:
        self._describe = None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
