"""The terminal while the chat runs: ours alone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glimp_local.saved import SessionLog
from glimp_local.tui.app import ChatApp


def run(pair: dict[str, Any], log: SessionLog, *, seed: int | None, theme: str | None) -> None:
    """Run the chat."""
    with _terminal_of_our_own():
        ChatApp(pair, log, seed=seed, theme=theme).run()


@contextmanager
def _terminal_of_our_own() -> Iterator[None]:
    """Keep native code off the screen: what a library writes to descriptors 1 and 2 goes nowhere.

    Textual draws through `sys.__stderr__`, asks `sys.__stdout__` for the size, and gets the terminal under another
    descriptor.
    """
    before = sys.__stdout__, sys.__stderr__
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    screen = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), encoding="utf-8", errors="replace", write_through=False)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.__stdout__ = sys.__stderr__ = screen  # type: ignore[misc]  # Textual looks here for the terminal
        yield
    finally:
        sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]  # and afterwards everybody else
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
        screen.close()
