"""`glimp chat`: the terminal interface."""

from __future__ import annotations

import os
import shlex
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from glimp_local.cli.arguments import check_single, is_text
from glimp_local.cli.completers import complete_session
from glimp_local.cli.flags import SYSTEM, Number, load_request, pair_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.cli.notes import tell
from glimp_local.cli.texts import read_system, read_typed
from glimp_local.errors import UsageError
from glimp_local.routing import MODELS

if TYPE_CHECKING:
    from glimp_local.load import LoadRequest
    from glimp_local.records.lines import Header
    from glimp_local.records.saved import SavedSession

_EPILOG = f"""\b
Examples:
  glimp chat
  glimp chat "what is 12*7?"
  glimp chat --pair qwen3-0.6b-4b --share 0.2
  glimp chat --system @house-style.txt
  glimp chat --continue
  glimp chat --resume 20

{ENVIRONMENT}
\b
Exit codes: 0 left; 1 an error; 2 a flag, a conversation or a models.toml that cannot be used; 3 a model is missing or
unreadable; 6 llama.cpp, or the system, ended the process: the conversation is saved; 130 interrupted while loading (143
by SIGTERM).
"""


@click.command(cls=Command, epilog=_EPILOG, context_settings={"allow_extra_args": True})
@click.argument("question", required=False, metavar="[QUESTION]", help="Asked first, once the pair is loaded.")
@SYSTEM
@pair_options
@click.option("--continue", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "--resume",
    metavar="ID",
    shell_complete=complete_session,
    help="Continue this one; `glimp sessions list` shows the ids, and any part of one is enough.",
)
@click.option(
    "--keep-caches",
    type=Number(0),
    metavar="GB",
    help="Save KV caches so that long conversations resume at once. Total limit in GB.",
)
@click.option("--anyway", is_flag=True, help="Ask what a pair made for one kind of question would decline.")
@click.option("--theme", metavar="NAME", help="Colours for this run, like textual-light, nord or gruvbox.")
def chat(
    *,
    question: str | None,
    system: str | None,
    go_on: bool,
    resume: str | None,
    keep_caches: float | None,
    anyway: bool,
    theme: str | None,
    seed: int | None,
    **loading: Any,
) -> None:
    """Talk with a pair of models and watch them think, step by step.

    Conversations are saved as they go, each with its system message. Esc stops the models, F1 shows all keys, Ctrl+P
    all commands.
    """
    check_single([*filter(None, [question]), *click.get_current_context().args], "glimp chat")
    if go_on and resume is not None:
        raise UsageError("--continue and --resume exclude each other", hint="leave one of the two out")
    message = None if system is None else read_system(system)
    from glimp_local.records import conversations  # noqa: PLC0415 - `glimp --help` does without
    from glimp_local.records.session_log import SessionLog  # noqa: PLC0415 - `glimp --help` does without

    going_on = conversations.find(resume, tell) if go_on or resume is not None else None
    if going_on is not None:
        _check_system(message, going_on)
        _take_up_pair(loading, going_on.header)
    request = load_request(loading)
    if question is not None:
        question = _checked(question, request)
    if keep_caches is not None:
        request = request.changed(keep_caches_gb=keep_caches)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a chat needs a terminal", hint="for scripts and pipes there is: glimp solve")
    from glimp_local.tui.screen import run  # noqa: PLC0415 - textual takes a moment to load

    run(request, SessionLog(going_on), system=message, seed=seed, theme=theme, question=question, anyway=anyway)


def _checked(question: str, request: LoadRequest) -> str:
    """Return a question as it is asked; raises UsageError for what must be meant as a pair or a file."""
    from glimp_local.models.catalogue import load_catalogue  # noqa: PLC0415 - `glimp --help` does without

    if os.path.isfile(question):  # noqa: PTH113 - Path.is_file raises for a name that the system refuses
        hint = f"glimp solve {shlex.quote(question)} solves the problem in that file"
        raise UsageError(f"{question!r} is a file, and a chat reads none", hint=hint)
    close = get_close_matches(question, load_catalogue(request.models_file).pairs, n=1)
    if close and not is_text(question):
        hint = f"a pair is named by its flag: glimp chat --pair {close[0]}"
        raise UsageError(f"{question!r} is no question", hint=hint)
    hint = 'leave it out, or ask something: glimp chat "what is 12*7?"'
    return read_typed(question, "the question", hint=hint)


def _check_system(message: str | None, going_on: SavedSession) -> None:
    """Raise UsageError for another system message than the one a conversation has."""
    if message in {None, going_on.system or ""}:
        return
    has = "has none" if going_on.system is None else "keeps the one it began with"
    raise UsageError(
        f"--system is for a new conversation: {going_on.id} {has}",
        hint="leave --system out, or begin a conversation: glimp chat --system ...",
    )


def _take_up_pair(flags: dict[str, Any], header: Header) -> None:
    """Go on with the models that wrote last, where no flag names others; a variable of the environment counts less."""
    by_flag = flags["name"] and click.get_current_context().get_parameter_source("name") is ParameterSource.COMMANDLINE
    if by_flag or flags["small"] or flags["large"]:
        return
    files: dict[str, Path] = {model: Path(path) for model in MODELS if (path := getattr(header, model))}
    urls = {model: url for model in MODELS if (url := getattr(header, f"{model}_url"))}
    is_named = not files and header.pair != " + ".join(urls.values())
    urls |= {model: url for model in MODELS if (url := flags[f"{model}_url"])}
    flags.update({f"{model}_url": url for model, url in urls.items()})
    if is_named:
        flags["name"] = header.pair or flags["name"]  # no line may be left that says it
        return
    flags.update({model: path for model, path in files.items() if model not in urls}, name=None)
    given: set[str] = {*files, *urls}
    if len(given) == 1:
        flags["policy"] = flags["policy"] or next(iter(given))
