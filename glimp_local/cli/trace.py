"""`glimp trace`: a saved run looked at again, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from glimp_local.cli.completers import complete_session_or_file
from glimp_local.cli.flags import FILE, Number
from glimp_local.cli.help import Command
from glimp_local.errors import UsageError
from glimp_local.inputs import read_limited

# Only what `--help` and usage errors need is imported here; the rest is in `cli/run_trace.py`.

_MOST_BYTES = 500_000_000
"""Of a file with runs: a bench of thousands of problems writes less, and all of it is in memory at once."""
_HINT = "is it a file of runs? a large one can be split: each line stands for itself"

_EPILOG = """\b
FILE is what `glimp solve` wrote with --save, --jsonl or --json, the id of a conversation of `glimp sessions` (or its
file), or the runs.jsonl of a bench, whose runs are listed first. A run of a killed process is shown as far as it goes;
damaged lines are left out, and stderr says so.

\b
Examples:
  glimp solve problem.txt --save run.jsonl && glimp trace run.jsonl
  glimp trace run.jsonl --what-if 0.8
  glimp trace run.jsonl --html run.html --what-if 0.8
  glimp solve problem.txt --json | glimp trace - --full
  glimp trace bench/runs.jsonl --run 12

\b
--json prints one object a run:
  run                its number in the file, from 1
  question           null where the file does not hold it (solve --json)
  pair, policy, seed, thought_end, notices, answer, steps, system    as in solve --json
  finish_reason      as there; null where the process ended in the middle
  problem, arm, repeat, correct    of a bench; else null
  damaged            is something of it lost? Then question, pair, policy and seed may be null
  figures            steps, steps_large, share_steps, tokens, tokens_large, share_tokens, seconds, catch_up_tokens,
                     catch_up_seconds, share_catch_up, small_tokens_per_second, large_tokens_per_second,
                     network_seconds
  what_if            null, or threshold_nats; told, untold, fixed (steps it can be held against, steps without a
                     glimpse, steps no policy decided); moved (numbers of the steps that would have gone to the other
                     model), to_small, to_large; share_steps_was, share_steps_would_be

\b
Exit codes:
  0    shown
  1    an error
  2    a flag or a file that cannot be used
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("file", metavar="FILE|ID|-", shell_complete=complete_session_or_file, help="A saved run (see below).")
@click.option("--run", "number", type=click.IntRange(1), metavar="N", help="Only the N-th run of the file.")
@click.option("--full", is_flag=True, help="The whole text of each step.")
@click.option(
    "--what-if", type=Number(0), metavar="NATS", help="Mark the steps this threshold would have given the other model."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a run.")
@click.option("--html", type=FILE, metavar="PAGE", help="Write a new page to look at in a browser, offline.")
def trace(**flags: Any) -> None:
    """Show a saved run step by step: who wrote each step, why, how fast, and what catching up cost.

    No model is loaded. --what-if holds the entropies against another threshold: steps that the user, a redo, a circle
    or a setting gave to a model stay there.
    """
    if flags["html"] is not None and str(flags["html"]) == "-":
        raise UsageError("--html wants a file", hint="choose a new file for the page")
    content, name = _read(flags["file"])
    from glimp_local.cli.run_trace import run  # noqa: PLC0415 - only for a file that can be read

    run(content, name, flags)


def _read(file: str) -> tuple[bytes, str]:
    """Read a file, stdin, or the conversation of an id; give what was read and what to call it."""
    if file == "-":
        return read_limited(sys.stdin.buffer, _MOST_BYTES, "stdin", hint=_HINT), "stdin"
    from glimp_local.records import lines  # noqa: PLC0415 - reads events

    path = Path(file)
    try:
        if path.is_dir():
            inside = path / "runs.jsonl"
            hint = f"the runs of this bench: {inside}" if inside.is_file() else "name the file of a run"
            raise UsageError(f"{file} is a folder", hint=hint)
        if path.exists():
            return read_limited(path, _MOST_BYTES, file, hint=_HINT), file
        path = _conversation(file)
        with lines.open_file(path) as opened:
            return opened.read(), file
    except lines.NoFileError as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint=f"to remove it: glimp sessions rm {path.stem}"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null in it
        raise UsageError(f"{file!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _conversation(id_: str) -> Path:
    """Return the file of a saved conversation."""
    from glimp_local.records import conversations  # noqa: PLC0415 - reads events

    try:
        return conversations.named(id_)
    except UsageError as error:
        raise UsageError(f"there is no file {id_!r}, and {error}", hint=error.hint) from error
