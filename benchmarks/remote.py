"""The large model on another machine: seconds of a run by round trip, read ahead or not, and the large model alone.

The other machine is a network namespace behind a slow line (`network`), with the real llama-server in it; glimp runs at
the near end in a process of its own (`remote_runs`).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.apart import ask
from benchmarks.document import table
from benchmarks.figures import median, number, ratio
from benchmarks.network import End, line
from benchmarks.remote_runs import ARMS, Asked, Found, Run
from benchmarks.setup import BUILTIN, Files, MissingError, Setup
from benchmarks.taken import BUILTIN as BUILTIN_FILES
from glimp_local.bench.problems import read_problems

HEADING = "The large model on another machine: what the network costs"

ROUND_TRIPS_SECONDS = (0.001, 0.010, 0.050)
_THRESHOLD = 0.005
"""Of the built-in pair: a fifth of its steps are the large model's then, as the paper recommends."""
_CONTEXT = 2048
_PORT = 8080
"""Of the server, which is alone in its namespace."""


def measure(setup: Setup) -> list[str]:
    """Measure the built-in pair, and the pair of two vocabularies where it is there; raises MissingError."""
    settings: dict[str, Any] = {"threshold": _THRESHOLD}
    work: list[tuple[Files, Asked]] = [(BUILTIN, Asked(None, _questions(setup), settings=settings))]
    missing = []
    try:
        files = setup.two_vocabularies()
        settings = {"max_answer": setup.tokens}
        work.append((files, Asked(files.small, (files.question,) * setup.rounds, settings=settings)))
    except MissingError as error:
        missing.append(str(error))
    rows = [row for files, asked in work for row in _rows(files, asked)]
    columns = ("pair", "round trip", "measured", "arm", "median s", "of large's", "steps of the large", "same text")
    about = (
        "Question by question under every arm, in turns, greedy; before each run the server reads something else, so "
        "that nothing of the question is left in its cache. `of large's` is the median of the ratios to the large "
        "model alone on that server, question by question; `same text` counts the runs whose text is that of the "
        "routed run without reading ahead. Both ends are on this machine and share its cores; each packet of the line "
        "between them is late by half the round trip, and `measured` is what connecting by TCP then takes."
    )
    return [table(columns, rows), about, *missing]


def _questions(setup: Setup) -> tuple[str, ...]:
    return tuple(problem.text for problem in read_problems("builtin")[: setup.limit])


def _rows(files: Files, asked: Asked) -> Iterator[list[str]]:
    model = files.large or BUILTIN_FILES / "large.gguf"
    for seconds in ROUND_TRIPS_SECONDS:
        with line(seconds) as between, serving(between.far, model) as url:
            measured = between.round_trip_seconds()
            found = ask("benchmarks.remote_runs", asked.at(url), Found, within=between.near.command())
        yield from rows(files.name, seconds, measured, found.runs)


def rows(name: str, wanted_seconds: float, measured_seconds: float, runs: dict[str, list[Run]]) -> list[list[str]]:
    """Draw the rows of one pair at one round trip: a row an arm, its runs by question."""
    drawn = []
    for arm in ARMS:
        seconds = [run.seconds for run in runs[arm.name]]
        alone = [run.seconds for run in runs["large alone"]]
        same = sum(run.text == plain.text for run, plain in zip(runs[arm.name], runs["routed"], strict=True))
        drawn.append(
            [
                name,
                f"{wanted_seconds * 1000:g} ms",
                f"{number(measured_seconds * 1000)} ms",
                arm.name,
                median(seconds),
                ratio(seconds, alone),
                f"{statistics.mean(run.large_steps for run in runs[arm.name]):.1f} a run",
                "" if arm.policy == "large" else f"{same} of {len(seconds)}",
            ]
        )
    return drawn


@contextmanager
def serving(end: End, model: Path) -> Iterator[str]:
    """Run a llama-server with one slot at an end of a line and give its URL; raises MissingError."""
    flags = ["--host", end.address, "--port", str(_PORT), "--context", str(_CONTEXT)]
    process = subprocess.Popen(  # noqa: S603 - our own program
        end.command(sys.executable, "-m", "benchmarks.llama_server", str(model), *flags),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline().startswith("ready "):
                raise MissingError(
                    "Not measured with a model on another machine: llama-server did not start.",
                    hint="install xllamacpp, and try `python -m benchmarks.llama_server MODEL.gguf`",
                )
            yield f"http://{end.address}:{_PORT}"
        finally:
            process.terminate()
