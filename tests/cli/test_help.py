"""`--help`: every command and every flag is explained, and nothing is cut short."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from glimp_local.cli import cli
from glimp_local.cli.help import Command
from tests.support.commands import Glimp


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli))
ONES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


def text(command: click.Command, path: tuple[str, ...]) -> str:
    return command.get_help(click.Context(command, info_name=" ".join(("glimp", *path))))


@pytest.mark.parametrize("path", ONES, ids=" ".join)
def test_a_command_has_examples_exit_codes_and_an_explanation_of_each_flag(path: tuple[str, ...]) -> None:
    command = ONES[path]
    shown = text(command, path)
    assert isinstance(command, Command)
    assert "Exit codes:" in shown
    assert f"glimp {' '.join(path)}" in shown.split("Usage:")[1].split("\n", 1)[1]
    for param in command.params:
        assert getattr(param, "help", None), param.name


@pytest.mark.parametrize("path", [path for path in ALL if path not in ONES], ids=" ".join)
def test_a_list_of_commands_cuts_nothing_short(path: tuple[str, ...]) -> None:
    group = ALL[path]
    assert "..." not in text(group, path).split("Commands:")[1].split("\n\n")[0]


def test_the_flags_of_a_pair_stand_under_headings() -> None:
    shown = text(ALL["solve",], ("solve",))
    places = [shown.index(f"\n{section}:\n") for section in ("Options", "Which models", "Routing", "Writing")]
    places += [shown.index(f"\n{section}:\n") for section in ("Loading", "Threads")]
    assert places == sorted(places)
    assert places[1] < shown.index("--pair PAIR") < places[2] < shown.index("--policy") < places[3]


def test_the_list_of_all_commands_says_what_each_of_them_says_of_itself(glimp: Glimp) -> None:
    shown = glimp("--help")
    assert shown.code == 0
    for name, *below in ALL:
        assert below or f"\n  {name} " in shown.out
    assert "Exit codes:" in shown.out
    assert "GLIMP_PAIR" in shown.out


@pytest.mark.parametrize(("word", "command"), [("plam", "plan"), ("solv", "solve"), ("sesions", "sessions")])
def test_a_command_that_is_misspelt_names_the_close_one(glimp: Glimp, word: str, command: str) -> None:
    result = glimp(word)
    assert (result.code, f"No such command '{word}'. Did you mean '{command}'?" in result.err) == (2, True)
