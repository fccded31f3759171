"""What `glimp doctor` shows."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec

from glimp_local.cli.terminal import write_json
from glimp_local.load import LoadRequest
from glimp_local.machine.doctor.finding import Finding, Level
from glimp_local.machine.doctor.privacy import without_names
from glimp_local.machine.doctor.report import Examination, examine
from glimp_local.machine.doctor.servers import hosts
from glimp_local.text import harmless

if TYPE_CHECKING:
    from glimp_local.cli.run_tune import PairTuning

_COLOURS: dict[Level, str] = {"fine": "green", "to know": "yellow", "needs doing": "red"}
_INDENT = 25
"""Columns before what a finding says."""


def run(request: LoadRequest, *, tune: bool, as_json: bool, quiet: bool) -> int:
    """Examine the machine, and tune a pair, the way the flags say; return the exit code."""
    tuning: PairTuning | None = None
    says = ["glimp doctor --tune measures how many threads suit each model of a pair, in about a minute."]
    if tune:
        from glimp_local.cli import run_tune  # noqa: PLC0415 - loads llama.cpp, which may be what does not work

        tuning = run_tune.tune_pair(request, quiet=quiet)
        says = run_tune.lines(tuning)
    found = examine(request.models_file, request.name)
    if as_json:
        report = msgspec.to_builtins(found) | {"tuning": msgspec.to_builtins(tuning)}
        write_json(msgspec.json.encode(without_names(report, _paths(found), hosts(found.servers))))
    else:
        _show(found, says)
    undone = any(finding.level == "needs doing" for finding in found.findings)
    return 1 if undone and tuning is None else 0


def _show(found: Examination, says: list[str]) -> None:
    colour = False if "NO_COLOR" in os.environ else None
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    machine = "; ".join(filter(None, (f"glimp {found.glimp}", found.python, found.system, found.machine)))
    undone = sum(finding.level == "needs doing" for finding in found.findings)
    summary = {0: "Nothing needs doing.", 1: "1 thing needs doing."}.get(undone, f"{undone} things need doing.")
    paths, machines = _paths(found), hosts(found.servers)

    def shown(text: str) -> str:
        return harmless(without_names(text, paths, machines))

    findings = [_lines(finding, columns, shown) for finding in found.findings]
    lines = [shown(machine), "", *findings, "", summary, "", *map(shown, says)]
    click.echo("\n".join(lines), color=colour)


def _paths(found: Examination) -> list[str]:
    """Give the paths that the report is sure to speak of."""
    return [*(folder.path for folder in found.folders), *filter(None, (found.models_file, found.data_folder))]


def _lines(finding: Finding, columns: int | None, shown: Callable[[str], str]) -> str:
    """Write a finding; in as many columns as a terminal has, where it is one."""
    level = click.style(f"{finding.level:<12}", fg=_COLOURS[finding.level])
    says = shown(finding.says)
    if columns is not None and columns > 2 * _INDENT:
        broken = textwrap.wrap(says, columns - _INDENT, break_on_hyphens=False)
        says = f"\n{'':{_INDENT}}".join(broken)
    line = f"{level} {finding.subject:<11} {says}"
    # What there is to do stays one line: there may be a command in it to copy.
    return f"{line}\n{'':{_INDENT}}do: {shown(finding.do)}" if finding.do else line
