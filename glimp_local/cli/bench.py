"""`glimp bench`: does routing pay on a pair and a set of problems?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glimp_local.cli.completers import complete_problems
from glimp_local.cli.flags import FILE, Number, load_request, model_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.errors import GlimpError, UsageError

if TYPE_CHECKING:
    from glimp_local.bench.arms import Kind

# Only what `--help` and usage errors need is imported here; the bench itself is in `cli/run_bench.py`.

_KINDS = ("small", "large", "threshold", "share", "random", "specreason", "speculative")
_EXTRA = ("scipy", "matplotlib", "math_verify", "pyarrow")

_EPILOG = f"""\b
PROBLEMS is a file of JSON lines, {{"problem": "...", "answer": "..."}} each (or GSM8K's own form, with "question"), or
  builtin   500 stories for the built-in pair, none of which it was trained on
  gsm8k, math500, aime24, aime25, gpqa-diamond    from the hub's cache; --download fetches them first
With "choices": ["...", ...] a problem is of multiple choice: its answer is a letter, or what one of them says.

\b
Examples:
  glimp bench builtin --limit 50
  glimp bench mine.jsonl --pair qwen3-0.6b-4b --threshold 0.8 --threshold 1.2 --share 0.2
  glimp bench gsm8k --download --limit 100 --policy large --policy threshold --policy random

{ENVIRONMENT}
\b
Exit codes:
  0    every run is done
  1    an error, or runs that llama.cpp could not finish; what was finished is on the disk
  2    a flag, an input or a models.toml that cannot be used
  3    a model is missing or unreadable
  4    --time-limit was reached; the report is of the problems that are done
  6    llama.cpp, or the system, ended the process; the same command continues
  130  interrupted (143 by SIGTERM); the same command continues
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("problems", shell_complete=complete_problems, help="A file of JSON lines, or a name (see below).")
@click.option(
    "--policy",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Only these (several times); without it, all. `random` draws at the shares of each threshold and share.",
)
@click.option(
    "--threshold",
    "thresholds",
    type=Number(0),
    metavar="NATS",
    multiple=True,
    help="Several times; else the pair's own.",
)
@click.option(
    "--share", "shares", type=Number(0, 1), metavar="0..1", multiple=True, help="Several times; else the pair's own."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N problems.")
@click.option(
    "--repeat", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Runs of each problem."
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs at a time, on a pair whose two models are on servers.",
)
@click.option("--time-limit", type=Number(0), metavar="MINUTES", help="Stop after this time, with the run at hand.")
@click.option(
    "--looks/--no-looks", default=True, help="Run each problem once more, to compare both models' first tokens."
)
@click.option("--instruction", metavar="TEXT", help="What is put behind each problem; '' for nothing.")
@click.option("--output", "-o", type=FILE, metavar="FOLDER", help="Runs and report; else bench-PROBLEMS-PAIR.")
@click.option("--download", is_flag=True, help="Fetch a data set of the hub if it is not here.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@model_options
def bench(
    *,
    problems: str,
    kinds: tuple[Kind, ...],
    thresholds: tuple[float, ...],
    shares: tuple[float, ...],
    limit: int | None,
    repeat: int,
    parallel: int,
    time_limit: float | None,
    looks: bool,
    instruction: str | None,
    output: Path | None,
    download: bool,
    quiet: bool,
    seed: int | None,
    **loading: Any,
) -> None:
    """Solve PROBLEMS under several policies and say whether routing pays.

    Each problem is solved by the small and the large model alone, routed, routed at random with the same share of
    steps, and by SpecReason, one after the other on the same loaded models and with the same seed (1, unless --seed
    says another). Every run is kept as it is finished, in the folder --output: the same command again goes on where it
    stopped. The report goes to stdout and into the folder, as Markdown, JSON, CSV and plots.

    With --parallel, servers compute N runs at a time. Answers and tokens are those of one at a time, as far as the
    servers compute the same in batches; seconds are not, as the runs share the servers.
    """
    from glimp_local.bench.problems import read_problems  # noqa: PLC0415 - `glimp --help` does without

    require_extra("glimp bench", _EXTRA)
    _check_policies(set(kinds or _KINDS), {"threshold": thresholds, "share": shares})
    chosen = read_problems(problems, download=download)[:limit]
    request = load_request(loading)
    from glimp_local.cli.run_bench import BenchFlags, run  # noqa: PLC0415 - loads llama.cpp: only for flags that are right

    flags = BenchFlags(
        source=problems,
        kinds=kinds,
        thresholds=thresholds,
        shares=shares,
        repeat=repeat,
        parallel=parallel,
        time_limit=time_limit,
        looks=looks,
        instruction=instruction,
        output=output,
        seed=seed,
        quiet=quiet,
        command=shlex.join(["glimp", *sys.argv[1:]]),
    )
    sys.exit(run(request, chosen, flags))


def _check_policies(kinds: set[str], given: Mapping[str, Sequence[float]]) -> None:
    for kind, values in given.items():
        if values and kind not in kinds:
            raise UsageError(f"--{kind} is for the policy {kind!r}", hint=f"add --policy {kind}")
    if "random" in kinds and not kinds & {"threshold", "share"}:
        raise UsageError(
            "the policy 'random' draws at the share that a routed one gives",
            hint="add --policy threshold, or --policy share",
        )


def require_extra(what: str, packages: Iterable[str]) -> None:
    """Raise GlimpError where packages of the extra `bench` are missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise GlimpError(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'glimp-local[bench]' (in a clone: pip install '.[bench]')",
        )
