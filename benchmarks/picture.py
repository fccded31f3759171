"""Draw a saved run as `glimp solve --thoughts` shows it on a terminal.

glimp solve problem.txt --thoughts --save run.jsonl
python -m benchmarks.picture run.jsonl docs/solve.svg
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
from rich.console import Console

from glimp_local.cli.display import Display
from glimp_local.records.event_log import read_events


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--width", default=100, show_default=True, help="columns")
def main(run: Path, picture: Path, width: int) -> None:
    """Draw the saved RUN into PICTURE, an SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False)
    display = Display(thoughts=True, quiet=False, console=console)
    for event in read_events(run):
        display.show(event)
    drawn = console.export_svg(title="glimp solve --thoughts")
    # Without the fonts it would fetch from elsewhere: any monospaced one will do.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
