"""What `--help` looks like: flags under headings, lists of commands in full.

Knows click and nothing of glimp's work: `--help` has to be there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

ENVIRONMENT = """\b
Environment:
  GLIMP_PAIR, GLIMP_MODELS   the pair and the models.toml, where no flag names one
  HF_HOME, HF_HUB_CACHE      where huggingface-hub keeps downloaded models
  NO_COLOR                   no colours
"""
"""Stands in the help of every command that loads a pair."""

_OWN = "Options"
_SECTIONS = (_OWN, "Which models", "Routing", "Writing", "Loading", "Threads")


class _Option(click.Option):
    """A flag that stands under a heading of its own."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def options_of(section: str) -> Callable[..., Callable[..., Any]]:
    """Give `click.option` for flags that stand under this heading."""
    if section not in _SECTIONS:
        raise ValueError(section)
    return partial(click.option, cls=_Option, section=section)


class Command(click.Command):
    """A command whose flags stand under headings; its own ones come first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, section by section."""
        records: dict[str, list[tuple[str, str]]] = {section: [] for section in _SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):  # click lists those by itself
                records[getattr(param, "section", _OWN)].append(record)
        for section, of_section in records.items():
            if of_section:
                with formatter.section(section):
                    formatter.write_dl(of_section)


SYNONYMS = {"ls": "list", "remove": "rm", "delete": "rm", "download": "pull", "get": "pull", "show": "info"}
"""Other programs' names for commands, taken if a group has none of that name."""


class Group(click.Group):
    """A group that says of each command what it does without cutting it short."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or by what other programs call it."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, SYNONYMS.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with the first sentence of its help."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=500)) for name, command in commands if command])
