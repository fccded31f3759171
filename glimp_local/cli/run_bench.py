"""The run behind `glimp bench`: load the pair, run what is missing, show the report."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

import msgspec
from rich.console import Console
from rich.table import Table

from glimp_local import crash_notes
from glimp_local.bench.arms import KINDS, Kind, make_arms
from glimp_local.bench.asking import instruction_for
from glimp_local.bench.bench import Bench, check_parallel, settings_of
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.report import LEGEND, Report
from glimp_local.bench.runs import Header, RunLog
from glimp_local.cli.interrupts import Interrupts
from glimp_local.cli.notices import say_notices
from glimp_local.cli.progress import RunProgress
from glimp_local.errors import CancelledError
from glimp_local.load import LoadRequest, load
from glimp_local.pair import Pair
from glimp_local.text import harmless

_SPENT = 4
_LATE, _INTERRUPTED = "the time is up", "interrupted"
_SEED = 1


class BenchFlags(msgspec.Struct, frozen=True):
    """The flags of `glimp bench` that are not about which pair is loaded, and how."""

    source: str
    """Where the problems are from, as it was given."""
    kinds: Sequence[Kind]
    thresholds: Sequence[float]
    shares: Sequence[float]
    repeat: int
    parallel: int
    """Runs at a time."""
    time_limit: float | None
    """Minutes."""
    looks: bool
    instruction: str | None
    output: Path | None
    seed: int | None
    quiet: bool
    command: str
    """The whole command, for the report."""


def run(request: LoadRequest, problems: Sequence[Problem], flags: BenchFlags) -> int:
    """Run a bench the way the flags say; return the exit code."""
    began = monotonic()
    with (
        Interrupts() as interrupts,
        load(request.changed(policy="threshold", on_failure="stop"), cancel=interrupts.cancel) as pair,
    ):
        return _bench(pair, problems, flags, interrupts, began)


def _bench(pair: Pair, problems: Sequence[Problem], flags: BenchFlags, interrupts: Interrupts, began: float) -> int:
    says = Console(stderr=True, highlight=False, soft_wrap=True)
    check_parallel(pair, flags.parallel)  # before there is a folder
    instruction = instruction_for(pair, flags.instruction)
    notices = say_notices(pair, problems, instruction, says)
    config = pair.config
    arms = make_arms(flags.kinds or KINDS, flags.thresholds or [config.threshold], flags.shares or [config.share])
    seed = _SEED if flags.seed is None else flags.seed
    folder = flags.output or _folder_of(flags.source, pair.name)
    history = pair.entropies()
    stored = tuple(history.read()) if history else ()
    settings = settings_of(pair, seed=seed, instruction=instruction, parallel=flags.parallel)
    header = Header(settings, stored, config.threshold)
    deadline = None if flags.time_limit is None else began + 60 * flags.time_limit
    code = 0
    crash_notes.note("kept", f"what is finished is in {folder}: the same command continues from there")
    with RunLog(folder, header) as log:
        bench = Bench(
            pair,
            problems,
            arms,
            log,
            seed=seed,
            repeat=flags.repeat,
            looks=flags.looks,
            instruction=instruction,
            parallel=flags.parallel,
            cancel=interrupts.cancel,
        )
        if (done := len(bench.tasks) - len(bench.pending)) and not flags.quiet:
            said = f"glimp: {done:,} of {len(bench.tasks):,} runs are in {folder} already"
            says.print(harmless(said), markup=False)
        stopped = _solve(bench, interrupts, deadline, says, quiet=flags.quiet)
        if stopped == _LATE:
            code = _SPENT
        for failure in bench.failures:
            says.print(harmless(f"glimp: not kept: {failure}"), markup=False)
        if bench.failures:
            says.print(f"glimp: {len(bench.failures):,} runs failed; the same command does them again", markup=False)
            code = 1
        if stopped:
            said = f"glimp: {stopped}: finished runs are in {folder}; run the same command to continue"
            says.print(harmless(said), markup=False)
            code = interrupts.exit_code or code
        title = f"glimp bench: {flags.source} with {pair.name}"
        try:
            report = Report(title, flags.command, arms, log, bench.tasks, notices=notices)
        except ValueError as error:
            says.print(harmless(f"glimp: no report yet: {error}"), markup=False)
            return code
        report.write(folder)
    _show(report)
    says.print(harmless(f"\nglimp: report and plots are in {folder}"), markup=False)
    return code


def _solve(bench: Bench, interrupts: Interrupts, deadline: float | None, says: Console, *, quiet: bool) -> str | None:
    """Run what is missing; return what stopped that, in words, or None if nothing did."""
    is_late = False
    try:
        with (
            Grader() as grader,
            RunProgress(bench, says, quiet=quiet) as progress,
            closing(bench.run(grader)) as finished,
        ):
            for task in finished:
                progress.advance(task)
                if interrupts.exit_code is not None:
                    return _INTERRUPTED
                if deadline is not None and monotonic() > deadline and not is_late:
                    is_late = True
                    bench.stop()
                    if bench.under_way and not quiet:
                        said = f"glimp: {_LATE}: the runs under way are finished first ({bench.under_way})"
                        says.print(said, markup=False)
    except CancelledError:
        return _INTERRUPTED
    return _LATE if is_late and bench.pending else None


def _show(report: Report) -> None:
    """Print the report: tables on a terminal, Markdown into a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write(report.markdown())
        return
    console = Console(highlight=False)
    console.print(harmless(report.title), style="bold", markup=False)
    console.print(*map(harmless, report.about), sep="\n", markup=False)
    for table in report.tables:
        drawn = Table(title=table.heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=not number)
        for row in table.rows:
            drawn.add_row(*map(harmless, row))
        console.print()
        console.print(drawn)
    console.print()
    console.print(LEGEND, style="dim", markup=False)
    console.print("\nIn words", style="bold")
    for said in [*report.verdict, *report.notes]:
        console.print(harmless(f"• {said}"), markup=False)


def _folder_of(problems: str, pair: str) -> Path:
    """Name the folder of a bench after its problems and its pair."""
    parts = ("bench", Path(problems).stem, pair)
    return Path("-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts))
