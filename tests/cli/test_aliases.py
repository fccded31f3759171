"""Words that other programs have for commands: short forms that work, and hints in the place of those that do not."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from glimp_local import __version__
from glimp_local.cli import cli
from glimp_local.cli.aliases import _HINTS, COMMANDS
from glimp_local.paths import user_file
from tests.support.commands import invoke

MODELS = cli.get_command(click.Context(cli), "models")


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (["list", "--json"], ["models", "list", "--json"]),
        (["ls"], ["models", "list"]),
        (["models", "ls"], ["models", "list"]),
        (["info", "builtin"], ["models", "info", "builtin"]),
        (["models", "show", "builtin"], ["models", "info", "builtin"]),
        (["compare", "builtin"], ["models", "compare", "builtin"]),
        (["verify", "builtin", "-q"], ["models", "verify", "builtin", "-q"]),
        (["rm", "builtin"], ["models", "rm", "builtin"]),
        (["remove", "builtin"], ["models", "rm", "builtin"]),
        (["pull", "builtin"], ["models", "pull", "builtin"]),
        (["download"], ["models", "pull"]),
        (["sessions", "ls"], ["sessions", "list"]),
        (["sessions", "delete", "nosuch"], ["sessions", "rm", "nosuch"]),
        (["version"], ["--version"]),
        (["help"], ["--help"]),
        (["help", "solve"], ["solve", "--help"]),
        (["help", "models", "pull"], ["models", "pull", "--help"]),
        (["help", "pull"], ["models", "pull", "--help"]),
        (["help", "models"], ["models", "--help"]),
    ],
    ids=" ".join,
)
def test_a_short_form_does_what_the_full_one_does(short: list[str], full: list[str]) -> None:
    said, meant = invoke(*short), invoke(*full)
    assert said.code == meant.code
    # A group's own synonym stands in the usage as it was typed.
    assert said.out == meant.out
    assert said.err.splitlines()[-1:] == meant.err.splitlines()[-1:]


def test_the_version_is_that_of_the_package() -> None:
    assert invoke("version").out == f"glimp {__version__}\n"


@pytest.mark.parametrize("word", _HINTS)
def test_a_word_of_another_program_gets_a_hint(word: str) -> None:
    result = invoke(word, "llama3")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"glimp: there is no command {word!r}\nhint: {_HINTS[word]}\n"


def test_every_command_that_a_hint_names_is_there() -> None:
    for hint in _HINTS.values():
        for name, below in re.findall(r"\bglimp (?!runs |knows|was )([a-z]+)(?: ([a-z]+)\b)?", hint):
            command = cli.get_command(click.Context(cli), name)
            assert command is not None, hint
            if isinstance(command, click.Group):
                assert command.get_command(click.Context(command), below) is not None, hint


def test_a_hint_is_for_no_word_that_is_a_command() -> None:
    assert isinstance(MODELS, click.Group)
    there = {*cli.list_commands(click.Context(cli)), *MODELS.list_commands(click.Context(MODELS)), *COMMANDS}
    assert there.isdisjoint(_HINTS)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["what is 12*7?"], '"what is 12*7?"'),
        (["what", "is", "12*7?"], '"what is 12*7?"'),
        (["hello", "there"], '"hello there"'),
        (["why?"], '"why?"'),
        (["what", "is", "5", "-", "3?"], '"what is 5 - 3?"'),
    ],
)
def test_a_question_to_glimp_itself_shows_how_to_ask_it(arguments: list[str], command: str) -> None:
    result = invoke(*arguments)
    assert (result.code, result.err.splitlines()[-1]) == (2, f"hint: to ask that: glimp solve {command}")


def test_a_file_in_the_place_of_a_command_shows_how_to_solve_it(problem: Path) -> None:
    assert invoke(problem).err.endswith(f"hint: glimp solve {problem} solves the problem in that file\n")
    spaced = problem.rename(problem.with_name("my problem.txt"))
    assert invoke(spaced).err.endswith(f"hint: glimp solve '{spaced}' solves the problem in that file\n")


@pytest.mark.parametrize(
    ("arguments", "close"),
    [
        (["slove", "what?"], "Did you mean 'solve'?"),
        (["plam", "builtin"], "Did you mean 'plan'?"),
        (["pul", "qwen3-0.6b-4b"], "Did you mean 'pull'?"),
        (["hepl"], "Did you mean 'help'?"),
        (["models", "lst"], "Did you mean 'list'?"),
        (["help", "slove"], "Did you mean 'solve'?"),
    ],
)
def test_a_misspelt_command_names_the_close_one(arguments: list[str], close: str) -> None:
    result = invoke(*arguments)
    assert (result.code, close in result.err) == (2, True), result.err


def test_help_behind_a_command_that_has_none_below_it_says_so() -> None:
    result = invoke("help", "models", "pull", "it")
    assert result.err == "glimp: glimp models pull has no commands\nhint: glimp help models pull\n"
    assert result.code == 2


def offered(*words: str) -> list[str]:
    *before, begun = words
    return [item.value for item in ShellComplete(cli, {}, "glimp", "_GLIMP_COMPLETE").get_completions(before, begun)]


def test_the_tab_key_offers_no_short_form_but_completes_behind_it() -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text('[pairs.mine]\nsmall.path = "a"\nlarge.path = "b"\n')
    assert offered("p") == ["plan"]
    assert offered("pull", "mi") == offered("models", "pull", "mi") == ["mine"]
    assert offered("help", "so") == ["solve"]
    assert offered("serve", "") == []
    assert offered("what is it?", "") == []
