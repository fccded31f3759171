"""What the chat is as an application in a terminal, whatever it shows.

It leaves when it is asked to by a signal or when the terminal is gone, lets nothing but its own escapes through, and
knows the two models' colours.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from textual.app import App
from textual.filter import LineFilter

from glimp_local.tui.filter import Harmless

_HARMLESS = Harmless()
_HUNG_UP = 129
"""Exit code, as if SIGHUP had come."""
_TERMINAL_SECONDS = 2.0
"""How often it is checked that the terminal is still there."""


class TerminalApp(App[None]):
    """An application that leaves the terminal as it found it."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the models' colours, which a theme may replace: blue and orange, told apart by nearly everybody."""
        if self.current_theme.dark:
            return {"small": "#4aa3ff", "large": "#ff9d2e"}
        return {"small": "#0060c0", "large": "#b85c00"}

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Let nothing but Textual's own escapes reach the terminal, whatever widget it is in."""
        return [*super().get_line_filters(), _HARMLESS]

    def watch_terminal(self) -> None:
        """Leave, from now on, on a signal that ends programs, and when the terminal is gone."""
        for name in ("SIGTERM", "SIGHUP"):
            # Like a quit: the terminal is left as it was found. Not every system has both.
            with suppress(AttributeError, NotImplementedError, RuntimeError):
                number = getattr(signal, name)
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        if os.isatty(0) and not self.is_headless:
            self.set_interval(_TERMINAL_SECONDS, self._check_terminal)

    def _check_terminal(self) -> None:
        """Leave when the terminal is gone: not every one that goes sends a signal."""
        if not os.isatty(0):
            self.exit(None, _HUNG_UP)
