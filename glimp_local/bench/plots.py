"""The plots of a report, each as PNG and SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from glimp_local.bench.arms import Arm, Kind
from glimp_local.bench.figures import Figures
from glimp_local.bench.runs import Looks, Run
from glimp_local.bench.statistics import clustered_rate
from glimp_local.bench.verdict import auroc_in_words

_AGREEMENT = "agreement"
_PLOTS = {
    "accuracy": "Accuracy over time, with the Pareto front",
    "entropies": "Entropies glimpsed, with the thresholds",
    _AGREEMENT: "Entropy against the two models' agreement on the first token of a step",
}

_SMALL, _LARGE, _ROUTED, _RIVAL = "#1f77d0", "#e8710a", "#2a9d5c", "#c2344d"
_SHADES = ("#2a9d5c", "#8e5bb5", "#c9a800", "#17a2b8", "#a0522d", "#e377c2", "#7f9f3f", "#5b6abf")
"""Of the routed arms, each with its control."""
_MARKERS: dict[Kind, str] = {
    "small": "o",
    "large": "s",
    "threshold": "D",
    "share": "^",
    "random": "x",
    "specreason": "P",
    "speculative": "X",
}
_EDGES = (0, 0.01, 0.03, 0.1, 0.3, 1, 2, 3, math.inf)
"""Of the groups of entropies in the plot of agreement, in nats."""
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "glimp",  # the same runs give the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def plots_of(figures: Figures) -> dict[str, str]:
    """Give the plots there are to some figures: the names of their files, and what each shows."""
    return {name: text for name, text in _PLOTS.items() if name != _AGREEMENT or figures.agreement is not None}


def draw(
    figures: Figures, arms: Sequence[Arm], runs: Sequence[Sequence[Run]], looks: Sequence[Looks], folder: Path
) -> None:
    """Draw all plots into a folder."""
    with mpl.rc_context(_STYLE):
        for name in plots_of(figures):
            figure = Figure(figsize=(7, 4), layout="constrained")
            axes = figure.add_subplot()
            match name:
                case "accuracy":
                    _accuracy(axes, figures, arms)
                case "entropies":
                    _entropies(axes, arms, runs)
                case _:
                    _agreement(axes, looks, figures)
            figure.savefig(folder / f"{name}.png", dpi=150)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _accuracy(axes: Axes, figures: Figures, arms: Sequence[Arm]) -> None:
    shades = _shades(arms)
    for arm in figures.arms:
        correct = arm.correct
        axes.errorbar(
            arm.mean_seconds,
            correct.value,
            yerr=[[max(correct.value - correct.low, 0)], [max(correct.high - correct.value, 0)]],
            fmt=_MARKERS[arm.kind],
            color=shades[arm.name],
            capsize=2,
            elinewidth=0.8,
            label=arm.name,
        )
    front = pareto([(arm.mean_seconds, arm.correct.value) for arm in figures.arms])
    axes.plot(*zip(*front, strict=True), color="#555555", linewidth=1, linestyle="--", zorder=0, label="Pareto front")
    axes.set(xlabel="mean seconds a problem", ylabel="correct, with 95% interval", ylim=(-0.02, 1.02))
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _shades(arms: Sequence[Arm]) -> dict[str, str]:
    shades = {"small": _SMALL, "large": _LARGE, "specreason": _RIVAL, "speculative": _LARGE}
    for arm in arms:
        if arm.is_routed:
            shades[arm.name] = _SHADES[(len(shades) - 3) % len(_SHADES)]
    return shades | {arm.name: shades[arm.control_of] for arm in arms if arm.control_of is not None}


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give the points (seconds, accuracy) that no other one beats in both, the quickest first."""
    front: list[tuple[float, float]] = []
    for seconds, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((seconds, accuracy))
    return front


def _entropies(axes: Axes, arms: Sequence[Arm], runs: Sequence[Sequence[Run]]) -> None:
    """Show what was glimpsed under the first routed arm, by who wrote the step; else under the small model alone."""
    chosen = next((i for i, arm in enumerate(arms) if arm.is_routed), None)
    if chosen is None:
        chosen = next((i for i, arm in enumerate(arms) if arm.kind != "large"), 0)
    steps = [step for run in runs[chosen] for step in run.solution.steps if step.entropy_nats is not None]
    nats = [[step.entropy_nats or 0.0 for step in steps if step.model == model] for model in ("small", "large")]
    if not steps:
        axes.text(0.5, 0.5, "nothing was glimpsed", ha="center", transform=axes.transAxes)
        return
    edges = np.linspace(0, max(max(values, default=0.0) for values in nats) or 1, 41)
    axes.hist(
        nats,
        bins=edges.tolist(),
        stacked=True,
        color=[_SMALL, _LARGE],
        label=["the small model wrote the step", "the large model wrote the step"],
    )
    for number, threshold in enumerate(arm.value for arm in arms if arm.kind == "threshold" and arm.value is not None):
        axes.axvline(threshold, color="#333333", linewidth=1, linestyle="--")
        # One below the other, or labels of near thresholds run into one.
        height = 0.98 - 0.05 * (number % 8)
        axes.text(threshold, height, f" {threshold:g}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)
    axes.set_yscale("symlog", linthresh=10)
    top = axes.get_ylim()[1]
    ticks = [0, *(part * 10**power for power in range(7) for part in (1, 2, 5) if part * 10**power <= top)]
    axes.set_yticks([tick for tick in ticks if tick != 1], [f"{tick:,}" for tick in ticks if tick != 1], minor=False)
    axes.set(xlabel=f"entropy of the step's first token, nats ({arms[chosen].name})", ylabel="steps")
    axes.legend(fontsize=8)


def _agreement(axes: Axes, looks: Sequence[Looks], figures: Figures) -> None:
    """Show in groups of entropies how often both models would have begun alike."""
    assert figures.agreement is not None  # without it there is no such plot
    labels: list[str] = []
    for low, high in pairwise(_EDGES):
        alike = clustered_rate([[look.agrees for look in of.looks if low <= look.entropy_nats < high] for of in looks])
        if alike is None:
            continue
        axes.errorbar(
            len(labels),
            alike.value,
            yerr=[[max(alike.value - alike.low, 0)], [max(alike.high - alike.value, 0)]],
            fmt="o",
            color=_ROUTED,
            capsize=3,
            elinewidth=0.8,
        )
        count = sum(low <= look.entropy_nats < high for of in looks for look in of.looks)
        span = f"from {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        labels.append(f"{span}\n{count:,} steps")
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(
        xlabel="entropy of the step's first token, nats",
        ylabel="both models would begin alike",
        ylim=(-0.02, 1.04),
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title(f"{auroc_in_words(figures.agreement.auroc)}, {figures.agreement.glimpses:,} glimpses", fontsize=9)
