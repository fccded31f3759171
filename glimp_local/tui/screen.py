"""The terminal while the chat runs: ours alone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
from textual.driver import Driver
from textual.theme import BUILTIN_THEMES

from glimp_local import crash_notes
from glimp_local.errors import UsageError
from glimp_local.load import LoadRequest
from glimp_local.records import caches
from glimp_local.records.session_log import SessionLog
from glimp_local.text import harmless
from glimp_local.tui import status
from glimp_local.tui.app import ChatApp
from glimp_local.tui.told import CachesLost, Failed, MovingCaches, Told


def run(
    request: LoadRequest,
    log: SessionLog,
    *,
    seed: int | None,
    theme: str | None,
    system: str | None = None,
    question: str | None = None,
    anyway: bool = False,
) -> None:
    """Run the chat, and ask `question` first; ends the process where it ended badly."""
    if theme is not None and theme not in BUILTIN_THEMES:
        raise UsageError(f"there is no theme {theme!r}", hint=f"there are: {', '.join(BUILTIN_THEMES)}")
    app = ChatApp(request, log, seed=seed, theme=theme, system=system, question=question, anyway=anyway)
    app.driver_class = _noted(app.driver_class)
    try:
        with _terminal_of_our_own():
            app.run()
    finally:
        _leave(app)
    if (lost := app.saved.error) is not None:
        with suppress(OSError):
            reason = lost.strerror or str(lost)
            click.echo(harmless(f"glimp: the end of the conversation could not be saved: {reason}"), err=True)
    if app.saved.is_written:
        with suppress(OSError):  # a terminal that was hung up
            said = f"The conversation is saved. To continue it: glimp chat --resume {app.saved.path.stem}"
            click.echo(harmless(said), err=True)
    if app.return_code or lost is not None:
        sys.exit(app.return_code or 1)


def _noted(driver: type[Driver]) -> type[Driver]:
    """Return a driver that notes down when the terminal is in its hands: after a crash somebody else gives it back."""

    class Noted(driver):  # type: ignore[misc, valid-type]  # which one it is depends on the system
        def start_application_mode(self) -> None:
            crash_notes.note("screen", "ours")
            super().start_application_mode()

        def close(self) -> None:
            super().close()  # now everything is written
            crash_notes.note("screen", "")

    return Noted


def _leave(app: ChatApp) -> None:
    """Free the models; keeping their caches may take a while. Ctrl+C does without."""
    try:
        app.close(_say)
    except KeyboardInterrupt:
        caches.sweep(app.saved.path)
        click.echo("stopped; what was to be kept of the caches is not", err=True)
        os._exit(130)  # nothing else stops llama.cpp


def _say(told: Told) -> None:
    with suppress(OSError):  # a terminal that was hung up
        match told:
            case MovingCaches():
                click.echo(status.moving(told.size_bytes, to_disk=told.to_disk), err=True)
            case CachesLost(error) | Failed(error):
                click.echo(harmless(f"{error}. {error.hint}" if error.hint else str(error)), err=True)
            case _:
                pass


@contextmanager
def _terminal_of_our_own() -> Iterator[None]:
    """Keep native code off the screen: what a library writes to descriptors 1 and 2 goes nowhere.

    Textual draws through `sys.__stderr__`, asks `sys.__stdout__` for the size, tells its own mistakes through
    `sys.stderr`, and gets the terminal, which descriptor 1 was, under another one.
    """
    before = sys.__stdout__, sys.__stderr__, sys.stderr
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    screen = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", errors="replace", write_through=False)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.__stdout__ = sys.__stderr__ = sys.stderr = screen  # type: ignore[misc]  # Textual looks here
        yield
    finally:
        sys.__stdout__, sys.__stderr__, sys.stderr = before  # type: ignore[misc]  # and afterwards everybody else
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
        with suppress(OSError):  # a terminal that was hung up
            screen.close()
