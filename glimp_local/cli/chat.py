"""`glimp chat`: the terminal interface."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from glimp_local.cli.completers import complete_session
from glimp_local.cli.flags import Number, engine_options, pair_options, pair_settings
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.cli.notes import tell
from glimp_local.errors import UsageError
from glimp_local.routing import MODELS

if TYPE_CHECKING:
    from glimp_local.records.lines import Header

_EPILOG = f"""\b
Examples:
  glimp chat
  glimp chat --pair qwen3-0.6b-4b --share 0.2
  glimp chat --continue
  glimp chat --resume 20

{ENVIRONMENT}
\b
Exit codes: 0 left; 1 an error; 2 a flag, a conversation or a models.toml that cannot be used; 3 a model is missing or
unreadable; 6 llama.cpp, or the system, ended the process: the conversation is saved; 130 interrupted while loading (143
by SIGTERM).
"""


@click.command(cls=Command, epilog=_EPILOG)
@pair_options
@click.option("--continue", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "--resume",
    metavar="ID",
    shell_complete=complete_session,
    help="Go on with this one; `glimp sessions list` shows the ids, and the beginning or end of one is enough.",
)
@click.option(
    "--keep-caches",
    type=Number(0),
    metavar="GB",
    help="Keep the models' caches on the disk, so that a long conversation goes on at once; so much at most in all.",
)
@click.option("--theme", metavar="NAME", help="Colours, like textual-light, nord or gruvbox.")
def chat(**flags: Any) -> None:
    """Talk with a pair of models and watch them think, step by step.

    Conversations are saved as they go. Esc stops the models, F1 shows all keys, Ctrl+P all commands.
    """
    resumes = flags["resume"] is not None
    if flags["go_on"] and resumes:
        raise UsageError("--continue and --resume exclude each other", hint="leave one of the two out")
    from glimp_local.records import conversations  # noqa: PLC0415 - `glimp --help` does without
    from glimp_local.records.session_log import SessionLog  # noqa: PLC0415 - `glimp --help` does without

    going_on = conversations.find(flags["resume"], tell) if flags["go_on"] or resumes else None
    if going_on is not None:
        _take_up_pair(flags, going_on.header)
    settings = pair_settings(flags)
    if flags["keep_caches"] is not None:
        settings["keep_caches_gb"] = flags["keep_caches"]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a chat needs a terminal", hint="for scripts and pipes there is: glimp solve")
    from glimp_local.tui.screen import run  # noqa: PLC0415 - textual takes a moment to load

    pair = {
        "name": flags["name"],
        "small": flags["small"],
        "large": flags["large"],
        "models_file": flags["models_file"],
        "engine_options": engine_options(flags),
        **settings,
    }
    run(pair, SessionLog(going_on), seed=flags["seed"], theme=flags["theme"])


def _take_up_pair(flags: dict[str, Any], header: Header) -> None:
    """Go on with the models that wrote last, where no flag names others; a variable of the environment counts less."""
    by_flag = flags["name"] and click.get_current_context().get_parameter_source("name") is ParameterSource.COMMANDLINE
    if by_flag or flags["small"] or flags["large"]:
        return
    files: dict[str, str] = {model: path for model in MODELS if (path := getattr(header, model))}
    if not files:
        flags["name"] = header.pair or flags["name"]  # no line may be left that says it
        return
    flags.update(files, name=None)
    if len(files) == 1:
        flags["policy"] = flags["policy"] or next(iter(files))
