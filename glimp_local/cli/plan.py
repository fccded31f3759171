"""`glimp plan`: would a pair fit into this machine, and how?"""

from __future__ import annotations

import sys
from typing import Any

import click

from glimp_local.cli.completers import complete_pair
from glimp_local.cli.flags import Number, load_request, planning_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.errors import UsageError

# Only what `--help` and usage errors need is imported here; the rest is in `cli/run_plan.py`.

_EPILOG = f"""\b
Examples:
  glimp plan                                   the pair that would be used
  glimp plan qwen3-1.7b-8b                     before it is downloaded, too
  glimp plan qwen3-4b-32b --ram 16 --vram 8    on a machine with this much free memory
  glimp plan --small A.gguf --large B.gguf --ctx 32768 --cache-type q8_0
  glimp plan --small A.gguf --large-url http://box:8000     what does that server run, and how far is it?

{ENVIRONMENT}
\b
Exit codes:
  0    it fits
  1    it does not fit, or an error
  2    a flag or a models.toml that cannot be used
  3    a model is missing (and nothing is known of it), or unreadable; a server cannot be used
"""


_MOST_GIB = 1_000_000


@click.command(cls=Command, epilog=_EPILOG)
@click.argument(
    "pair", required=False, shell_complete=complete_pair, help="A pair of models.toml; else the one that would be used."
)
@planning_options
@click.option(
    "--ram", type=Number(0, _MOST_GIB), metavar="GIB", help="Plan for this much free memory instead of this machine's."
)
@click.option(
    "--vram",
    type=Number(0, _MOST_GIB),
    metavar="GIB",
    multiple=True,
    help="Plan for a GPU with this much free memory; 0 is none. Give it twice for two GPUs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(*, pair: str | None, ram: float | None, vram: tuple[float, ...], as_json: bool, **loading: Any) -> None:
    """Show how the two models of PAIR share the memory of this machine.

    The table has the layers, the weights, the cache and the rest of each model on each device: what `glimp solve` and
    `glimp chat` would do with the same flags. What a flag or models.toml sets is kept; what is "auto" is chosen so that
    both models fit. Nothing is loaded, and of the pairs that come with glimp nothing needs to be downloaded for it.

    A model on a server (--large-url, or `url` in models.toml) takes no memory here. The server is asked, for some
    seconds at most, what it runs, how far away it is, and whether both models have one vocabulary.
    """
    if pair is not None:
        by_flag = click.get_current_context().get_parameter_source("name") is click.core.ParameterSource.COMMANDLINE
        if loading["small"] or loading["large"] or by_flag:
            raise UsageError("a pair is given by PAIR, by --pair, or by --small and --large, not by two of them")
        loading["name"] = pair
    request = load_request(loading)
    from glimp_local.cli.run_plan import run  # noqa: PLC0415 - asks llama.cpp for its devices: only for flags that are right

    sys.exit(run(request, ram_gib=ram, vram_gib=vram, as_json=as_json))
