"""The report of a bench: one content as tables in the terminal, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from glimp_local.bench.arms import Arm
from glimp_local.bench.figures import Difference, Figures, Seconds, figures
from glimp_local.bench.plots import draw, plots_of
from glimp_local.bench.runs import Header, Looks, Run, RunLog
from glimp_local.bench.statistics import Estimate
from glimp_local.bench.tasks import Task
from glimp_local.bench.verdict import p_value, points, verdict

LEGEND = (
    "Intervals are of 95%: Wilson's for shares, Bonett and Price's for paired differences, Student's t for ratios. p "
    "is that of McNemar's exact test; of repeats it compares each problem's mean. Cut are runs whose answer a budget, "
    "the context or a loop ended. In words a difference counts where its interval and p < 0.05 both say so."
)


class Table(NamedTuple):
    """A table under a heading."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Report:
    """What a bench found, over the problems that were solved under every arm.

    `notices` are what there was to say before. Raises ValueError where there is none yet.
    """

    def __init__(
        self,
        title: str,
        command: str,
        arms: Sequence[Arm],
        log: RunLog,
        tasks: Sequence[Task],
        *,
        notices: Sequence[str] = (),
    ) -> None:
        of: dict[tuple[str, int], list[Task]] = {}
        for task in tasks:
            of.setdefault((task.problem.id, task.repeat), []).append(task)
        whole = [where for where, together in of.items() if all(task.key in log for task in together)]
        if not whole:
            raise ValueError("no problem was solved under every policy")
        self.title = title
        self.command = command
        self.header: Header = log.header
        self.arms = arms
        self.runs: list[list[Run]] = [
            [run for problem, repeat in whole if (run := log.run(problem, arm.name, repeat)) is not None]
            for arm in arms
        ]
        self.looks: list[Looks] = [looks for where in whole if (looks := log.looks(*where)) is not None]
        self.of_problems = len({task.problem.id for task in tasks})
        self.figures: Figures = figures(arms, self.runs, self.looks)
        self.parallel: int = log.header.settings.get("parallel", 1)  # an earlier glimp did not write it
        self.verdict = verdict(self.figures, parallel=self.parallel)
        self.notes = [
            *notices,
            *(
                f"{run.problem}, {run.arm}: {run.note}"
                for of_arm in self.runs
                for run in of_arm
                if run.note is not None
            ),
        ]

    @property
    def about(self) -> list[str]:
        """What was measured, how and where, a line each."""
        settings, found = self.header.settings, self.figures
        of = f" of {self.of_problems:,}" * (found.problems < self.of_problems)
        problems = f"{found.problems:,}{of} problem{'s' * (found.problems != 1 or bool(of))}"
        runs = len(self.runs[0])
        times = "once each" if runs == found.problems else f"{runs:,} runs of each policy"
        how = "problem by problem under every policy, "
        if self.parallel == 1:
            how += "each run with empty caches"
        else:
            how += f"{self.parallel} runs at a time"
        limits = f"at most {settings['max_thought']:,} tokens of thought and {settings['max_answer']:,} of answer"
        said = [
            f"{problems}, {times}, {how}; seed {settings['seed']}.",
            f"Small: {settings['small']}. Large: {settings['large']}.",
            f"Temperature {settings['sampling']['temperature']:g}; {limits}, written by: {settings['answer_by']}.",
            f"{settings['machine']}.",
        ]
        if self.parallel > 1:
            said.append(
                f"Seconds are each run's own, on servers that it shared with up to {self.parallel - 1} others; prefix "
                "caches were warm. Answers and tokens are as comparable as ever."
            )
        if any(arm.kind == "share" for arm in self.arms):
            said.append(f"The policy share began with {len(self.header.history_nats):,} stored entropies.")
        return said

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        arms = self.figures.arms
        network = any(arm.seconds.network for arm in arms)
        found = [
            Table(
                "Answers and time",
                ["policy", "correct", "median s", "mean s", "steps on large", "tokens on large", "cut"],
                [
                    [
                        arm.name,
                        percent(arm.correct),
                        _seconds(arm.median_seconds),
                        _seconds(arm.mean_seconds),
                        f"{arm.share_steps:.1%}",
                        f"{arm.share_tokens:.1%}",
                        f"{arm.unfinished}",
                    ]
                    for arm in arms
                ],
            ),
            Table(
                "Where the time goes: mean seconds and tokens a problem",
                [
                    "policy",
                    "prompt",
                    "small writes",
                    "large writes",
                    "catch-up",
                    "rest",
                    *(["network"] if network else []),
                    "catch-up of all",
                    "small tokens",
                    "large tokens",
                    "tokens/s",
                ],
                [
                    [
                        arm.name,
                        *map(_seconds, _columns(arm.seconds, network=network)),
                        f"{arm.catch_up_share:.1%}",
                        f"{arm.tokens_small:.0f}",
                        f"{arm.tokens_large:.0f}",
                        f"{arm.tokens_per_second:.0f}",
                    ]
                    for arm in arms
                ],
            ),
        ]
        for heading, name in (
            ("Against the large model alone, on the same problems", "less_large"),
            ("Against random routing with about its share of steps", "less_random"),
        ):
            rows = [[arm.name, *_difference(less)] for arm in arms if (less := getattr(arm, name)) is not None]
            if rows:
                found.append(Table(heading, ["policy", "correct, points", "p", "time, ratio"], rows))
        return found

    def markdown(self) -> str:
        """Give the report as Markdown; the plots are expected beside it."""
        parts = [f"# {self.title}", f"    {self.command}", "  \n".join(self.about)]
        for table in self.tables:
            head = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
            parts += [f"## {table.heading}", "\n".join(head + [f"| {' | '.join(row)} |" for row in table.rows])]
        parts += [LEGEND]
        parts += ["## In words", *(f"- {said}" for said in self.verdict)]
        if self.notes:
            parts += ["## Notes", *(f"- {note}" for note in self.notes)]
        parts += [f"![{text}]({name}.svg)" for name, text in plots_of(self.figures).items()]
        return "\n\n".join(parts) + "\n"

    def json(self) -> str:
        """Give the report as one JSON object; what is not a number is null."""
        value = {
            "title": self.title,
            "command": self.command,
            "settings": self.header.settings,
            "figures": self.figures,
            "verdict": self.verdict,
            "notes": self.notes,
        }
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"

    def csv(self) -> str:
        """Give the figures as CSV, a row an arm."""
        rows = [_flat(msgspec.to_builtins(arm)) for arm in self.figures.arms]
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def write(self, folder: Path) -> None:
        """Write report.md, report.json, report.csv and the plots (PNG and SVG) into a folder, over older ones."""
        for suffix, text in (("md", self.markdown()), ("json", self.json()), ("csv", self.csv())):
            (folder / f"report.{suffix}").write_text(text, encoding="utf-8")
        draw(self.figures, self.arms, self.runs, self.looks, folder)


def percent(found: Estimate) -> str:
    """Write a share with its interval."""
    return f"{found.value:.1%} ({abs(found.low):.1%} to {found.high:.1%})"


def _difference(found: Difference) -> list[str]:
    correct, time = found.correct, found.time
    return [
        f"{points(correct.value)} ({points(correct.low)} to {points(correct.high)})",
        p_value(found.p).removeprefix("= "),
        f"{time.value:.2f} ({time.low:.2f} to {time.high:.2f})",
    ]


def _columns(seconds: Seconds, *, network: bool) -> list[float]:
    """Return the seconds in the order of their columns; the network has one if a model is on a server."""
    found = [seconds.prompt, seconds.small, seconds.large, seconds.catch_up, seconds.rest]
    return [*found, seconds.network] if network else found


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested figures into one row: the keys of inner ones behind those of the outer."""
    row: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            row |= _flat(inner, f"{prefix}{name}_")
        elif inner is not None:
            row[prefix + name] = inner
    return row
