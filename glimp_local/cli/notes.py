"""Sentences for the person in front of the terminal, beside what a command prints."""

from __future__ import annotations

import click

from glimp_local.text import one_line


def tell(sentence: str) -> None:
    """Print a sentence to stderr, in one line."""
    click.echo(f"glimp: {one_line(sentence)}", err=True)


def remark(sentence: str) -> None:
    """Print a sentence to stderr that need not be read: dim on a terminal."""
    click.secho(f"glimp: {one_line(sentence)}", err=True, dim=True)
