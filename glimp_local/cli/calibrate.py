"""`glimp calibrate`: which threshold gives which share of steps, on this pair and kind of task."""

from __future__ import annotations

import sys
from typing import Any

import click

from glimp_local.cli.bench import require_extra
from glimp_local.cli.completers import complete_problems
from glimp_local.cli.flags import Number, load_request, model_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.errors import UsageError

# Only what `--help` and usage errors need is imported here; the runs are in `cli/run_calibrate.py`.

_EPILOG = f"""\b
PROBLEMS is what `glimp bench` takes; answers are not needed and not read. The more like your own tasks, the better.

\b
Examples:
  glimp calibrate
  glimp calibrate mine.jsonl --pair qwen3-0.6b-4b --limit 20 --agreement
  glimp calibrate mine.jsonl --pair qwen3-0.6b-4b --share 0.2 --write

{ENVIRONMENT}
\b
Exit codes: 0 done; 1 an error; 2 a flag, an input or a models.toml that cannot be used; 3 a model is missing or
unreadable; 6 llama.cpp, or the system, ended the process; 130 interrupted (143 by SIGTERM): nothing is stored or
written then.
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument(
    "problems",
    default="builtin",
    metavar="[PROBLEMS]",
    shell_complete=complete_problems,
    help="A file of JSON lines, or a name as for bench.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=12, show_default=True, metavar="N", help="The first N problems."
)
@click.option(
    "--share",
    type=Number(0, 1),
    metavar="0..1",
    help="The share you want: the problems are solved at it. Else the pair's.",
)
@click.option("--agreement", is_flag=True, help="Ask the large model, too, how it would have begun each step.")
@click.option("--write", is_flag=True, help="Put the threshold of --share into your models.toml, for all tasks.")
@click.option("--instruction", metavar="TEXT", help="What is put behind each problem; '' for nothing.")
@click.option("--download", is_flag=True, help="Fetch a data set of the hub if it is not here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@model_options
def calibrate(
    *,
    problems: str,
    limit: int,
    share: float | None,
    agreement: bool,
    write: bool,
    instruction: str | None,
    download: bool,
    as_json: bool,
    quiet: bool,
    seed: int | None,
    **loading: Any,
) -> None:
    """Solve a few problems and print which threshold sends which share of the steps to the large model.

    A threshold does not carry over between pairs, quantisations or kinds of task (--task). The entropies glimpsed are
    stored, in the place of older ones: the policy `share` starts from them.
    """
    from glimp_local.bench.problems import read_problems  # noqa: PLC0415 - `glimp --help` does without

    if agreement:
        require_extra("glimp calibrate --agreement", ["scipy"])
    if write and (loading["small"] or loading["large"]):
        raise UsageError(
            "--write wants a pair that has a name",
            hint="put the two files into your models.toml as a pair, and name it with --pair",
        )
    chosen = read_problems(problems, download=download, answers=False)[:limit]
    request = load_request(loading)
    from glimp_local.cli.run_calibrate import CalibrateFlags, run  # noqa: PLC0415 - loads llama.cpp: only for flags that are right

    flags = CalibrateFlags(share, agreement, write, instruction, seed, as_json, quiet)
    sys.exit(run(request, chosen, flags))
