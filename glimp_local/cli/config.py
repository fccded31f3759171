"""`glimp config`: where the settings are, and where each value comes from."""

from __future__ import annotations

from pathlib import Path

import click

from glimp_local.cli.completers import complete_pair
from glimp_local.cli.flags import MODELS_FILE
from glimp_local.cli.help import ENVIRONMENT, Command, Group

# Only what `--help` needs is imported here; the rest is in `cli/run_config.py`.


_PATH_EPILOG = f"""\b
Examples:
  glimp config path
  $EDITOR "$(glimp config path models)"

{ENVIRONMENT}
\b
Exit codes: 0 printed; 2 a word that is no place.
"""

_SHOW_EPILOG = f"""\b
Examples:
  glimp config show
  glimp config show qwen3-0.6b-4b --all
  glimp config show --json | jq '.settings[] | select(.origin != null)'

What is printed is a models.toml itself: lines of it can be copied into yours.

{ENVIRONMENT}
\b
Exit codes: 0 printed; 2 a models.toml that cannot be used (it is said why), or a pair that is not there.
"""


@click.group(cls=Group)
def config() -> None:
    """Say where the settings are, and where each value comes from."""


@config.command(cls=Command, epilog=_PATH_EPILOG)
@click.argument(
    "place",
    type=click.Choice(["models", "packaged", "data", "hub"]),
    required=False,
    metavar="[PLACE]",
    help="models, packaged, data or hub.",
)
@MODELS_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def path(*, place: str | None, models_file: Path | None, as_json: bool) -> None:
    """Print where glimp's files are, or one PLACE alone.

    PLACE is `models` (your models.toml), `packaged` (the one it lies over), `data` (conversations and entropies) or
    `hub` (the models huggingface-hub has downloaded). None of them need exist.
    """
    from glimp_local.cli.run_config import show_places  # noqa: PLC0415 - `--help` does without

    show_places(place, models_file, as_json=as_json)


@config.command(cls=Command, epilog=_SHOW_EPILOG)
@click.argument(
    "pair",
    required=False,
    envvar="GLIMP_PAIR",
    metavar="[PAIR]",
    shell_complete=complete_pair,
    help="The default without it.",
)
@MODELS_FILE
@click.option("--all", "everything", is_flag=True, help="The defaults, too, that no file changes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with all settings.")
def show(*, pair: str | None, models_file: Path | None, everything: bool, as_json: bool) -> None:
    """Print the settings of a pair, each with the file it comes from.

    Without PAIR it is the one that a command would use. A flag of a command counts more than what is printed here.
    """
    from glimp_local.cli.run_config import show_settings  # noqa: PLC0415 - `--help` does without

    show_settings(pair, models_file, everything=everything, as_json=as_json)
