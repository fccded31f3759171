"""How the chat looks, from one run to the next: its theme, and whether the panel is shown."""

from __future__ import annotations

from typing import Any

import msgspec
from textual.app import App
from textual.theme import Theme

from glimp_local.errors import ConfigError
from glimp_local.records import preferences
from glimp_local.records.preferences import Preferences

_DEFAULT_THEME = "textual-dark"
WITHOUT_PANEL = "without-panel"
"""The application's class while the panel is hidden."""


class Look:
    """Gives an application the look it had last, with `theme` in place of the remembered one for this run."""

    def __init__(self, app: App[None], theme: str | None) -> None:
        self._app = app
        self._problem: str | None = None
        """Why it does not look as before."""
        try:
            self._kept = preferences.read()
        except ConfigError as error:
            self._kept = Preferences()
            self._problem = f"{error}. {error.hint}"
        chosen = theme or self._kept.theme
        if chosen is not None and chosen not in app.available_themes:
            self._problem = f"There is no theme {chosen!r} any more, which was chosen last: /theme has others."
            chosen = None
        app.theme = self._theme = chosen or _DEFAULT_THEME
        app.set_class(not self._kept.panel, WITHOUT_PANEL)

    def follow(self) -> None:
        """Remember the theme from now on, if another one is chosen."""
        self._app.theme_changed_signal.subscribe(self._app, self._remember_theme)
        if self._problem is not None:
            self._app.notify(self._problem, severity="warning", markup=False)

    def _remember_theme(self, theme: Theme) -> None:
        if theme.name != self._theme:  # it is published at the start, too
            self._theme = theme.name
            self._remember(theme=theme.name)

    def remember_panel(self) -> None:
        """Remember whether the panel is shown."""
        if (shown := not self._app.has_class(WITHOUT_PANEL)) != self._kept.panel:
            self._remember(panel=shown)

    def _remember(self, **changes: Any) -> None:
        self._kept = msgspec.structs.replace(self._kept, **changes)
        try:
            preferences.keep(self._kept)
        except OSError as error:
            what = f"{preferences.file()} cannot be written ({error.strerror}): the next chat will not look like this."
            self._app.notify(what, severity="warning", markup=False)
