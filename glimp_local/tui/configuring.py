"""Changing the settings from within the chat: the screen as things stand, and what follows from a choice."""

from __future__ import annotations

from collections.abc import Iterator

from glimp_local.load import LoadRequest
from glimp_local.machine.locations import places
from glimp_local.models import models_toml
from glimp_local.models.catalogue import load_catalogue
from glimp_local.tui.driver import Driver
from glimp_local.tui.screens.settings import Changes, SettingsScreen
from glimp_local.tui.settings_form import as_table, differing, in_words

_NOT_LISTED = "This pair is given by its files: put it into models.toml to keep settings for it."


def settings_screen(driver: Driver, request: LoadRequest, *, has_begun: bool) -> SettingsScreen | None:
    """Return the settings as they hold now, to be changed; None until a pair is loaded. Raises ConfigError."""
    session, settings = driver.session, driver.settings
    if session is None or settings is None:
        return None
    pair = session.pair
    is_listed = not request.files and pair.name in load_catalogue(request.models_file).pairs
    return SettingsScreen(
        settings,
        pair,
        system=driver.system,
        has_begun=has_begun,
        drafting_obstacle=session.drafting_obstacle,
        keeping_obstacle=None if is_listed else _NOT_LISTED,
    )


def configure(driver: Driver, request: LoadRequest, choice: Changes, *, has_begun: bool) -> Iterator[str]:
    """Let chosen settings count, and keep them for the pair if that is wanted; yield what changes, and when.

    Raises ConfigError if they cannot be kept; they count all the same.
    """
    session, before = driver.session, driver.settings
    if session is None or before is None:
        return
    driver.configure(choice.settings, choice.system, kept=choice.kept)
    yield from in_words(before, choice.settings)
    if choice.system is not None:
        what = "The system message" if choice.system else "No system message"
        yield f"{what} from the next {'conversation' if has_begun else 'question'} on."
    if choice.kept:
        yield _keep(session.pair.name, request, choice)


def _keep(pair: str, request: LoadRequest, choice: Changes) -> str:
    """Put what differs from a pair's own settings into models.toml; return what was done."""
    own = load_catalogue(request.models_file).pair(pair)
    table = as_table(differing(own.run, choice.settings))
    if choice.system not in {None, own.system}:
        table["system"] = choice.system
    if not table:
        return f"These are the settings of {pair} already: there was nothing to keep."
    file = places(request.models_file).models_file
    models_toml.put(file, pair, table)
    return f"Kept for {pair}, in {file}."
