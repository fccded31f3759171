"""What people type who come from other programs: short forms of commands, and hints for what glimp does otherwise.

Imported for a word that is no command of its own, so that the commands start without it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from glimp_local import __version__
from glimp_local.cli.arguments import is_text, quoted
from glimp_local.cli.help import SYNONYMS
from glimp_local.errors import UsageError

_OF_MODELS = ("pull", "list", "rm", "info", "verify", "compare")
"""Commands of `glimp models` that need no `models` before them."""

_ASK = 'glimp solve "what is 12*7?" answers one question, glimp chat is for several'
_SERVER = "glimp serve --pair PAIR is the server"
_NOTHING_STAYS = "no model stays loaded when a command has ended; Ctrl-C, or Esc in a chat, stops one that works"
_OWN_PAIR = "a pair of your own is a table of models.toml; glimp config path models prints where that is"
_UPDATE = "in the folder that glimp was installed from: git pull && pip install ."
_HINTS = {
    "run": 'glimp chat --pair PAIR talks with a pair, glimp solve --pair PAIR "QUESTION" answers one question',
    "ask": _ASK,
    "prompt": _ASK,
    "query": _ASK,
    "server": _SERVER,
    "show": "glimp models info PAIR shows a pair, glimp sessions show ID a conversation, glimp trace FILE a run",
    "ps": _NOTHING_STAYS,
    "stop": _NOTHING_STAYS,
    "create": _OWN_PAIR,
    "add": _OWN_PAIR,
    "cp": _OWN_PAIR,
    "update": _UPDATE,
    "upgrade": _UPDATE,
    "install": "glimp models pull PAIR downloads a pair, and glimp models list shows which there are",
    "search": "glimp models list shows the pairs glimp knows; glimp models pull OWNER/REPOSITORY:Q4_K_M takes any GGUF",
    "login": "hf auth login, or HF_TOKEN, is for models that need an account",
    "logs": "glimp sessions list shows the saved conversations, glimp trace FILE a run of glimp solve --save FILE",
    "history": "glimp sessions list shows the saved conversations",
    "settings": "glimp config show prints them with where each comes from",
    "tune": "glimp doctor --tune measures how many threads suit a pair",
}


def in_full(args: Sequence[str]) -> list[str]:
    """Return arguments with a short form written out: `pull PAIR` is `models pull PAIR`."""
    name = SYNONYMS.get(args[0], args[0])
    is_short = name in _OF_MODELS and args[0] not in _HINTS
    return ["models", name, *args[1:]] if is_short else [*args]


def refuse(args: Sequence[str], commands: Collection[str], ctx: click.Context) -> NoReturn:
    """Raise the error for a command that does not exist: UsageError with a hint, else click's with the closest one."""
    name = args[0]
    hint = _HINTS.get(name) or _as_problem(args, commands)
    if hint is not None:
        raise UsageError(f"there is no command {name!r}", hint=hint)
    close = get_close_matches(name, [*commands, *_OF_MODELS, *COMMANDS], n=1)
    raise click.NoSuchCommand(name, possibilities=close, ctx=ctx)


def _as_problem(args: Sequence[str], commands: Collection[str]) -> str | None:
    """Return how to ask what was asked of `glimp` itself; None if nothing was."""
    if os.path.isfile(args[0]):  # noqa: PTH113 - Path.is_file raises for a name that the system refuses
        return f"glimp solve {shlex.quote(args[0])} solves the problem in that file"
    text = " ".join(args)
    if not is_text(text) or any(arg.startswith("-") for arg in args if arg != "-"):  # a flag, and no minus
        return None
    is_question = text.endswith("?") and len(args) > len(("COMMAND", "WORD?"))
    if not is_question and get_close_matches(args[0], [*commands, *_OF_MODELS]):
        return None  # misspelt
    return f"to ask that: glimp solve {quoted(text)}"


def _complete_command(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - click's signature
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    return [CompletionItem(name) for name in root.list_commands(ctx) if name.startswith(incomplete)]


@click.command("help")
@click.argument("names", metavar="[COMMAND]...", nargs=-1, shell_complete=_complete_command, help="As it is called.")
@click.pass_context
def _help(ctx: click.Context, *, names: tuple[str, ...]) -> None:
    """Print the help of a command, as with --help."""
    ctx = ctx.find_root()
    args = list(names)
    while args:
        group = ctx.command
        if not isinstance(group, click.Group):
            raise UsageError(f"{ctx.command_path} has no commands", hint=f"glimp help {' '.join(names[: -len(args)])}")
        name, command, args = group.resolve_command(ctx, args)
        assert command is not None  # or there was an error
        ctx = click.Context(command, ctx, name, **command.context_settings)
    click.echo(ctx.get_help())


@click.command("version")
def _version() -> None:
    """Print the version, as with --version."""
    click.echo(f"glimp {__version__}")


COMMANDS = {"help": _help, "version": _version}
"""Flags that may be given as commands, too."""
