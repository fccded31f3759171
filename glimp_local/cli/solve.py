"""`glimp solve`: one problem in, one answer out. For scripts and pipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from glimp_local.cli.completers import complete_file
from glimp_local.cli.flags import FILE, load_request, pair_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.errors import UsageError
from glimp_local.inputs import read_limited

# Only what `--help` and usage errors need is imported here; the run itself is in `cli/run.py`.

_MOST_BYTES = 2**24
"""Of a problem: no context (of 2**24 tokens at most) holds more, even if each byte is a token."""

_EPILOG = f"""\b
Examples:
  glimp solve problem.txt
  glimp solve --text "How many primes are there below 30?" --thoughts
  cat problem.txt | glimp solve - --share 0.2 --json > run.json
  glimp solve problem.txt --small A.gguf --large B.gguf --threshold 0.8

{ENVIRONMENT}
\b
Exit codes:
  0    the answer is complete
  1    an error
  2    a flag, an input or a models.toml that cannot be used
  3    a model is missing or unreadable, or its chat template fails
  4    a budget (tokens, context) was spent before the answer was complete
  6    llama.cpp, or the system, ended the process; output so far is in --save and, except with --json, on stdout
  130  interrupted (143 by SIGTERM); what was written is on stdout and in --save
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument(
    "file",
    required=False,
    metavar="[FILE|-]",
    shell_complete=complete_file,
    help="The problem, as UTF-8 text; without it (or with -) it is read from stdin.",
)
@click.option("--text", help="The problem itself, instead of a file.")
@pair_options
@click.option("--thoughts", is_flag=True, help="Show each step on stderr: letter, colour, entropy, text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the answer.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one JSON event a line, as it happens.")
@click.option("--save", type=FILE, metavar="FILE", help="Write every event to this new file, as with --jsonl.")
@click.option("-q", "--quiet", is_flag=True, help="No status line and no figures on stderr.")
def solve(
    *,
    file: str | None,
    text: str | None,
    seed: int | None,
    thoughts: bool,
    as_json: bool,
    as_jsonl: bool,
    save: Path | None,
    quiet: bool,
    **loading: Any,
) -> None:
    """Solve the problem in FILE (- is stdin) and print the answer.

    The answer goes to stdout as it is written; everything else goes to stderr. Settings come from the packaged
    models.toml, over it from yours, over it from these flags.
    """
    problem = _read_problem(file, text)
    request = load_request(loading)
    _check_save(save, file)
    if as_json and as_jsonl:
        raise UsageError("--json and --jsonl exclude each other")
    from glimp_local.engines.renderer import Renderer  # noqa: PLC0415 - only for flags that are right

    with Renderer() as renderer:  # now: it starts while llama.cpp is loaded
        from glimp_local.cli.run import SolveFlags, run  # noqa: PLC0415 - loads llama.cpp

        sys.exit(run(request, problem, SolveFlags(seed, thoughts, as_json, as_jsonl, save, quiet), renderer))


def _read_problem(file: str | None, text: str | None) -> str:
    """Read the problem from the one place it was given in."""
    if text is not None:
        if file is not None:
            raise UsageError("the problem is given by FILE or by --text, not by both")
        # The bytes that were typed: in a locale that is not UTF-8, Python cannot have understood them.
        where, raw = "--text", os.fsencode(text)
    elif file is None and sys.stdin.isatty():
        raise UsageError("there is no problem to solve", hint="name a FILE, give - and type it, or use --text")
    else:
        where = "stdin" if file in {None, "-"} else str(file)
        try:
            source = sys.stdin.buffer if file in {None, "-"} else Path(str(file))
            raw = read_limited(source, _MOST_BYTES, where, hint="no model reads as much; give the problem alone")
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}") from error
    try:
        problem = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start:,})",
            hint="convert it to UTF-8, for example with iconv",
        ) from error
    if not problem.strip():
        raise UsageError(f"{where} is empty")
    return problem.strip()


def _check_save(save: Path | None, file: str | None) -> None:
    """Refuse to write a run over its own problem, or into a file called "-"."""
    if save is None:
        return
    if str(save) == "-":
        raise UsageError("--save wants a file", hint="--jsonl writes the events to stdout")
    if file not in {None, "-"} and save.exists() and save.samefile(str(file)):
        raise UsageError(f"--save {save} is the problem itself", hint="choose another file")
