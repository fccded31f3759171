"""`glimp solve`: one problem in, one answer out. For scripts and pipes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from glimp_local.cli.arguments import quoted
from glimp_local.cli.completers import complete_file
from glimp_local.cli.flags import FILE, SYSTEM, load_request, pair_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.cli.texts import as_meant, read_problem, read_system
from glimp_local.errors import UsageError

# Only what `--help` and usage errors need is imported here; the run itself is in `cli/run.py`.

_EPILOG = f"""\b
Examples:
  glimp solve problem.txt
  glimp solve "what is 12*7?"
  glimp solve --text "How many primes are there below 30?" --thoughts
  glimp solve problem.txt --system "Answer in one sentence."
  cat problem.txt | glimp solve - --share 0.2 --json > run.json
  glimp solve problem.txt --small A.gguf --large B.gguf --threshold 0.8

{ENVIRONMENT}
\b
Exit codes:
  0    the answer is complete
  1    an error
  2    a flag, an input or a models.toml that cannot be used
  3    a model is missing or unreadable, or its chat template fails
  4    a budget (tokens, context) was spent before the answer was complete, or the answer went in circles
  6    llama.cpp, or the system, ended the process; output so far is in --save and, except with --json, on stdout
  7    declined: the pair is not for this problem; nothing is on stdout (--anyway asks it all the same)
  130  interrupted (143 by SIGTERM); what was written is on stdout and in --save
"""


class _Solve(Command):
    """Says where a problem goes that begins with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [*args]  # click takes them out of the list
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            refused = (arg for arg in given if arg.startswith(error.option_name))
            text = next((arg for arg in refused if re.match(r"-\d|-.* ", arg)), None)
            if text is None:
                raise
            hint = f"a problem that begins with - goes behind --text: glimp solve --text {quoted(text)}"
            raise UsageError(error.format_message(), hint=hint) from error


@click.command(cls=_Solve, epilog=_EPILOG, context_settings={"allow_extra_args": True})
@click.argument(
    "file",
    required=False,
    metavar="[FILE|TEXT|-]",
    shell_complete=complete_file,
    help="A file of UTF-8 text, or the problem itself in quotes; without it (or with -) it is read from stdin.",
)
@click.option("--text", help="The problem itself, whatever it looks like.")
@SYSTEM
@pair_options
@click.option("--thoughts", is_flag=True, help="Show each step on stderr: letter, colour, entropy, text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the answer.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one JSON event a line, as it happens.")
@click.option("--save", type=FILE, metavar="FILE", help="Write every event to this new file, as with --jsonl.")
@click.option("--anyway", is_flag=True, help="Ask what a pair made for one kind of problem would decline.")
@click.option("-q", "--quiet", is_flag=True, help="No status line and no figures on stderr.")
def solve(
    *,
    file: str | None,
    text: str | None,
    system: str | None,
    seed: int | None,
    thoughts: bool,
    as_json: bool,
    as_jsonl: bool,
    save: Path | None,
    anyway: bool,
    quiet: bool,
    **loading: Any,
) -> None:
    """Solve the problem in FILE (- is stdin), or in TEXT, and print the answer.

    The answer goes to stdout as it is written; everything else goes to stderr. Settings come from the packaged
    models.toml, over it from yours, over it from these flags.
    """
    file, text = as_meant(file, text, click.get_current_context().args, quiet=quiet)
    problem = read_problem(file, text)
    message = None if system is None else read_system(system)
    request = load_request(loading)
    _check_save(save, file)
    if as_json and as_jsonl:
        raise UsageError("--json and --jsonl exclude each other")
    from glimp_local.engines.renderer import Renderer  # noqa: PLC0415 - only for flags that are right

    with Renderer() as renderer:  # now: it starts while llama.cpp is loaded
        from glimp_local.cli.run import SolveFlags, run  # noqa: PLC0415 - loads llama.cpp

        flags = SolveFlags(message, seed, thoughts, as_json, as_jsonl, save, quiet, anyway)
        sys.exit(run(request, problem, flags, renderer))


def _check_save(save: Path | None, file: str | None) -> None:
    """Refuse to write a run over its own problem, or into a file called "-"."""
    if save is None:
        return
    if str(save) == "-":
        raise UsageError("--save wants a file", hint="--jsonl writes the events to stdout")
    if file not in {None, "-"} and save.exists() and save.samefile(str(file)):
        raise UsageError(f"--save {save} is the problem itself", hint="choose another file")
