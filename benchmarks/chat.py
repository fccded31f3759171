"""What the chat costs: tokens per second with the interface against without, time to first paint, time to stop.

The chat runs as its user runs it, in a pseudo-terminal, and is looked at from outside: what it draws, and the
conversation it saves. Without the interface the same question is solved by `glimp solve`, in turns with the chat, so
that a drifting machine hurts both alike.

    python -m benchmarks.chat SMALL.gguf LARGE.gguf
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import click

from benchmarks.terminal import Terminal
from glimp_local import units
from glimp_local.events import Finished, decode_events
from glimp_local.machine.survey import describe_with_load
from glimp_local.records.event_log import read_events

QUESTION = "Tell the history of the bicycle in as much detail as you can, one short paragraph for each decade."
_GLIMP = [sys.executable, "-m", "glimp_local"]
_LOADED = " · S "
"""Stands in the status line once both models are loaded."""
_ROWS, _COLUMNS = 40, 120


@contextmanager
def chat(arguments: list[str], home: Path) -> Iterator[tuple[Terminal, float]]:
    """Start a chat; give its terminal and the time of its start."""
    begin = monotonic()
    command = [*_GLIMP, "chat", *arguments]
    terminal = Terminal(command, rows=_ROWS, columns=_COLUMNS, env={"XDG_DATA_HOME": str(home)})
    try:
        yield terminal, begin
        terminal.type("\x11")  # Ctrl+Q
        terminal.end()
    finally:
        terminal.close()


def saved(home: Path) -> bytes:
    """Give what the chat has saved so far."""
    files = list((home / "glimp" / "sessions").glob("*.jsonl"))
    return files[0].read_bytes() if files else b""


def with_interface(arguments: list[str]) -> tuple[float, float]:
    """Ask in the chat; give tokens per second and the seconds to the first paint."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with chat(arguments, home) as (terminal, begin):
            painted = terminal.shows("Ask something") - begin
            terminal.shows(_LOADED)
            terminal.type(QUESTION)
            terminal.type("\r")
            terminal.until(lambda: b'"type":"finished"' in saved(home), every=0.5)  # looking takes time, too
        (file,) = (home / "glimp" / "sessions").glob("*.jsonl")
        stats = next(event.stats for event in read_saved(file) if isinstance(event, Finished))
        return stats.tokens / stats.seconds, painted


def read_saved(file: Path) -> list[object]:
    """Read the events of a conversation; its first line is a heading."""
    return list(decode_events(file.read_bytes().splitlines()[1:]))


def without_interface(arguments: list[str]) -> float:
    """Solve the same without the chat; give tokens per second."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.jsonl"
        command = [*_GLIMP, "solve", "--text", QUESTION, "--save", str(file), "-q", *arguments]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - glimp itself
        stats = next(event.stats for event in read_events(file) if isinstance(event, Finished))
        return stats.tokens / stats.seconds


def time_to_stop(arguments: list[str]) -> float:
    """Press Esc in the middle of a thought; give the seconds until the run is over."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with chat(arguments, home) as (terminal, _):
            terminal.shows("Ask something")
            terminal.shows(_LOADED)
            terminal.type(QUESTION)
            terminal.type("\r")
            terminal.until(lambda: b'"step_started"' in saved(home))
            pressed = terminal.type("\x1b")
            return terminal.until(lambda: b'"finish_reason":"cancelled"' in saved(home)) - pressed


@click.command(help=__doc__)
@click.argument("small", type=click.Path(exists=True, path_type=Path))
@click.argument("large", type=click.Path(exists=True, path_type=Path))
@click.option("--repeat", default=5, show_default=True)
@click.option("--tokens", default=400, show_default=True, help="How many tokens each run writes.")
@click.option("--policy", default="threshold", show_default=True)
def main(small: Path, large: Path, repeat: int, tokens: int, policy: str) -> None:
    """Measure and print."""
    arguments = ["--small", str(small), "--large", str(large), "--policy", policy, "--temperature", "0", "--seed", "1"]
    arguments += ["--max-thought", str(tokens), "--max-answer", str(tokens)]
    ratios, paints, stops = [], [], []
    for _ in range(repeat):
        bare = without_interface(arguments)
        shown, painted = with_interface(arguments)
        ratios.append(shown / bare)
        paints.append(painted)
        stops.append(time_to_stop(arguments))
        click.echo(f"{units.speed(bare)} without, {units.speed(shown)} with: {shown / bare:.3f}", err=True)
    click.echo(describe_with_load())
    click.echo(f"{small.name} + {large.name}, {policy}, {repeat} runs in turns, medians")
    click.echo(f"tokens per second with the interface, of those without: {statistics.median(ratios):.3f}")
    click.echo(f"from the start to the first paint: {statistics.median(paints):.2f} s")
    click.echo(f"from Esc to the end of the run: {statistics.median(stops) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
