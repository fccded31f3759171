"""`glimp`: the commands. One module a command, imported only when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from glimp_local import __version__
from glimp_local.errors import GlimpError
from glimp_local.text import harmless

_COMMANDS = {
    "chat": "Talk with a pair of models and watch them think.",
    "solve": "Solve one problem with a pair of models.",
    "serve": "Serve a pair to other programs, over HTTP as OpenAI's API.",
    "models": "List, download, verify and remove models; tell what one is, and whether two make a pair.",
    "bench": "Measure whether routing pays on a pair and a set of problems.",
    "calibrate": "Find the thresholds that send given shares of the steps to the large model.",
    "plan": "Show how a pair shares the memory of this machine, or of another one.",
    "doctor": "Examine this machine and say what needs doing; measure how many threads suit a pair.",
    "trace": "Show a saved run again, step by step.",
    "sessions": "List, show, export, rename and remove saved conversations.",
    "config": "Say where the settings are, and where each value comes from.",
    "completion": "Print the script that lets a shell complete glimp's commands, pairs and conversations.",
}
"""A command is the function of its name in the module of its name; its help is here to keep `glimp --help` quick."""

_LOADS_MODELS = {"bench", "calibrate", "chat", "doctor", "solve"}
"""These run in a child process, because llama.cpp may crash."""

_IS_UNKNOWN = f"{__name__}.is_unknown"


class _Commands(click.Group):
    """A group that imports a command when it is called, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            from glimp_local.cli import aliases  # noqa: PLC0415 - a command does without

            return aliases.COMMANDS.get(cmd_name)
        command: click.Command = getattr(import_module(f"glimp_local.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or what a short form stands for.

        For one that does not exist raises UsageError with what to type instead, else NoSuchCommand with those that are
        close.
        """
        if args[0] not in _COMMANDS:
            from glimp_local.cli import aliases  # noqa: PLC0415 - a command does without

            args = aliases.in_full(args)
            try:
                found = super().resolve_command(ctx, args)
            except click.NoSuchCommand:
                aliases.refuse(args, _COMMANDS, ctx)
        else:
            found = super().resolve_command(ctx, args)
        ctx.meta[_IS_UNKNOWN] = found[1] is None  # the Tab key comes here, too, and for it that is no error
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - and here
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Offer the commands without importing them; before a command, this group's own flags."""
        if ctx.meta.get(_IS_UNKNOWN):
            return []
        offers = [CompletionItem(name, help=says) for name, says in _COMMANDS.items() if name.startswith(incomplete)]
        return [*offers, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except GlimpError as error:
            click.echo(harmless(f"glimp: {error}"), err=True)
            if error.hint:
                click.echo(harmless(f"hint: {error.hint}"), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe is gone
        except OSError as error:
            what = f"{error.filename or 'writing the output'}: {error.strerror or error}"
            click.echo(harmless(f"glimp: {what}"), err=True)
            ctx.exit(1)


_EPILOG = """\b
Examples:
  glimp solve examples/marbles.txt --thoughts
  glimp solve "what is 12*7?"
  glimp chat
  glimp doctor

`glimp COMMAND --help` (or `glimp help COMMAND`) has the flags, examples and exit codes of a command. `glimp pull`,
`list`, `rm`, `info`, `verify` and `compare` are short for `glimp models pull` and so on.

\b
Environment:
  GLIMP_PAIR      a pair of models.toml, in place of its default (--pair counts more)
  GLIMP_MODELS    a models.toml in place of yours (--models counts more)
  HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE    are huggingface-hub's own
  NO_COLOR        no colours

\b
Exit codes:
  0    done
  1    an error, or something that needs doing (doctor)
  2    a flag, an input or a models.toml that cannot be used
  3    a model is missing or unreadable
  4    a budget of tokens, context or time was spent
  5    a download did not come to its end
  6    llama.cpp, or the system, ended the process that computes; what was written is kept
  7    declined: the pair is made for another kind of problem
  130  interrupted (143 by SIGTERM)
"""


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="glimp", message="%(prog)s %(version)s")
def cli() -> None:
    """Let two local models reason together: each step is written by the model it needs.

    A small model looks at the first token of every step. Where it is sure, it writes the step; where it is not, the
    large model does. Everything runs on this machine, unless you
    name a server that one of the models is on.
    """


def main() -> None:
    """Run `glimp`; a command that loads models computes in a child of this process."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    if hasattr(os, "fork") and _LOADS_MODELS & {*sys.argv[1:2]} and not {"-h", "--help"} & {*sys.argv}:
        from glimp_local.cli.supervisor import supervise  # noqa: PLC0415 - `glimp --version` does without

        supervise(sys.argv[1])  # not before the streams are open, or its pipes would be taken for them
    cli(prog_name="glimp")  # whatever it was started as: completion goes by this name
