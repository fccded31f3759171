"""What `glimp trace` shows: a heading, a row for each step and the figures of each run, or a page of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text as Line

from glimp_local import units
from glimp_local.cli.display import COLOURS
from glimp_local.cli.notes import tell
from glimp_local.cli.terminal import write_json
from glimp_local.errors import UsageError
from glimp_local.records import trace
from glimp_local.records.exports import write_new
from glimp_local.records.runs import read_runs
from glimp_local.runs import Run, Step
from glimp_local.text import harmless, one_line

_TEXT_WIDTH = 20
"""Columns are left out until this much of each row is left for the text."""
_GAP = "  "


def run(content: bytes, name: str, flags: dict[str, Any]) -> None:
    """Show the runs in a file's content the way the flags say."""
    recording = read_runs(content, name)
    if recording.damage is not None:
        tell(f"{name}: {recording.damage}")
    runs = list(enumerate(recording.runs, 1))
    if flags["number"] is not None:
        if flags["number"] > len(runs):
            many = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
            raise UsageError(f"--run {flags['number']}: {name} holds {many}", hint=f"choose from 1 to {len(runs)}")
        runs = [runs[flags["number"] - 1]]
    threshold: float | None = flags["what_if"]
    if flags["html"] is not None:
        _write_page(flags["html"], runs, threshold)
    if flags["as_json"]:
        for number, found in runs:
            what_if = None if threshold is None else trace.what_if(found.steps, threshold)
            write_json(trace.as_json(found, number, what_if))
    elif flags["html"] is None:
        view = _View(full=flags["full"], threshold=threshold)
        if len(runs) > 1 and runs[0][1].arm is not None and not flags["full"]:
            view.overview(runs)
            return
        for number, found in runs:
            view.show(found, number)


def _write_page(path: Path, runs: list[tuple[int, Run]], threshold: float | None) -> None:
    """Write the page into a new file."""
    from glimp_local.records.trace_page import page  # noqa: PLC0415 - Jinja2 is needed for nothing else here

    write_new(path, page(runs, threshold), what=f"--html {path}")


class _View:
    """Prints runs to stdout. Lines are cut to a terminal's width; in a file they are whole."""

    def __init__(self, *, full: bool, threshold: float | None) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._console = Console(highlight=False, soft_wrap=not self._on_terminal)
        self._full = full
        self._threshold = threshold
        self._is_first = True

    def overview(self, runs: Sequence[tuple[int, Run]]) -> None:
        """Print a line for each run of a bench: there may be thousands of them."""
        for number, found in runs:
            parts = [f"{number:{len(str(len(runs)))}}  {one_line(trace.of_bench(found))}"]
            if self._threshold is not None:
                share = trace.what_if(found.steps, self._threshold).share_steps_would_be
                parts.append(f"at {self._threshold:.4g} nats {units.share(share)} large")
            self._line(Line(" · ".join([*parts, trace.totals(found)])))
        self._say("a run step by step: --run N; all of them: --full")

    def show(self, found: Run, number: int) -> None:
        """Print a run."""
        if not self._is_first:
            self._line(Line())
        self._is_first = False
        self._line(Line.assemble((f"{number}  {one_line(found.title)}", "bold")))
        self._line(Line(one_line(trace.about(found)), style="dim"))
        self._rows(found)
        if found.begun is not None:
            text = f"the file ends within step {found.begun.index} ({found.begun.model}) {one_line(found.begun.text)}"
            self._line(Line(text.rstrip(), style="dim"))
        self._say(trace.totals(found))
        if self._threshold is not None:
            for sentence in trace.in_words(trace.what_if(found.steps, self._threshold)):
                self._say(f"what if: {sentence}")

    def _rows(self, found: Run) -> None:
        rows = [(step, self._cells(step)) for step in found.steps]
        heads = ("step", "nats, why", "tokens", "time", "catch-up")
        widths = [max([len(head), *(len(cells[at]) for _, cells in rows)]) for at, head in enumerate(heads)]
        if self._on_terminal and not self._full:
            while len(widths) > 1 and sum(widths) + len(_GAP) * len(widths) + _TEXT_WIDTH > self._console.width:
                widths.pop()
        if rows:
            self._line(Line(_row(heads, widths), style="dim"))
        part = ""
        for step, cells in rows:
            if step.part != part:
                part = step.part
                self._line(Line(part, style="dim"))
            writer = self._writer(step)
            line = Line(_row(cells, widths) + _GAP + ("" if self._full else one_line(step.text)))
            # The number and the letter, and the letter of the model it would have gone to.
            line.stylize(f"bold {COLOURS[step.model]}", 0, widths[0])
            if writer != step.model:
                line.stylize(f"bold reverse {COLOURS[writer]}", widths[0] - 1, widths[0])
            self._line(line)
            if self._full and step.text.strip():
                self._whole(step.text)

    def _whole(self, text: str) -> None:
        """Print a step's text below its row; a terminal gets it wrapped beside its margin."""
        text = harmless(text.strip("\n").rstrip())
        if self._on_terminal:
            self._console.print(Padding(Line(text), (0, 0, 1, 2), expand=False))
        else:
            self._console.print(Line(indent(text, "  ") + "\n"))

    def _cells(self, step: Step) -> tuple[str, ...]:
        writer = self._writer(step)
        entropy, held = trace.held_against(step)
        reason = " ".join(filter(None, (held.replace("> ", ">  "), step.reason)))
        caught_up = (
            f"{step.catch_up_tokens:,} in {units.duration(step.catch_up_seconds)}" if step.catch_up_tokens else ""
        )
        moved = f"→{writer[0].upper()}" if writer != step.model else "  " if self._threshold is not None else ""
        return (
            f"{step.index:3} {step.model[0].upper()}{moved}",
            f"{entropy:>4} {reason}",
            f"{step.tokens:,}",
            units.duration(step.seconds),
            caught_up,
        )

    def _writer(self, step: Step) -> str:
        """Give the model that would have written a step."""
        return (None if self._threshold is None else trace.decided_by(self._threshold, step)) or step.model

    def _line(self, line: Line) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis" if self._on_terminal else "ignore")

    def _say(self, sentence: str) -> None:
        self._console.print(Line(sentence))


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    """Put cells side by side: figures to the right, words to the left."""
    return _GAP.join(
        cell.ljust(width) if at == 1 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=False))
    )
