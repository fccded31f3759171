"""What goes to stdout (a terminal gets it harmless, a pipe or a file every byte as it is), and a word on stderr."""

from __future__ import annotations

import sys

import click

from glimp_local.text import harmless, harmless_json


def is_terminal() -> bool:
    """Is stdout a terminal?"""
    return sys.stdout.isatty()


def shown_safely(text: str) -> str:
    """Return a text as it may be written to stdout: harmless if that is a terminal, else unchanged."""
    return harmless(text) if is_terminal() else text


def write(text: str) -> None:
    """Write a text to stdout: harmless if that is a terminal, else every byte of it."""
    # As bytes: of text, click takes escapes out, and names of files may hold bytes that are no text.
    errors = "replace" if is_terminal() else "surrogateescape"
    click.echo(shown_safely(text).encode(sys.stdout.encoding or "utf-8", errors), nl=False)


def write_json(line: bytes) -> None:
    """Write a line of JSON to stdout at once; a terminal gets its control characters spelled."""
    shown = harmless_json(line).encode() if is_terminal() else line
    sys.stdout.buffer.write(shown + b"\n")
    sys.stdout.buffer.flush()


def say_that_it_measures() -> None:
    """Say on stderr why a forecast takes a moment."""
    click.echo("Measuring how fast this machine is, once: some seconds.", err=True)
