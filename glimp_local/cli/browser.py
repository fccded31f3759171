"""Opens a page in the user's browser."""

from __future__ import annotations

import os
import threading
import webbrowser

import click


def open_page(address: str) -> None:
    """Open a page in the browser without waiting for it; says on stderr if that cannot be done."""
    # Some browsers are waited for until they are closed, and the server has work to do.
    threading.Thread(target=_open, args=(address,), name="browser", daemon=True).start()


def _open(address: str) -> None:
    try:
        browser = webbrowser.get()
        opened = not _is_for_terminals(browser) and browser.open(address)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        click.echo(f"glimp: no browser could be opened here; the page is at {address}", err=True)


def _is_for_terminals(browser: webbrowser.BaseBrowser) -> bool:
    """Would it take over the terminal? Those that do show no page that needs JavaScript.

    What BROWSER names is the user's own choice.
    """
    in_front = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(browser, webbrowser.BackgroundBrowser)
    return in_front and "BROWSER" not in os.environ
