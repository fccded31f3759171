"""The side panel: entropies step by step, and the run's figures."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from glimp_local import units
from glimp_local.events import ModelStats, Stats, Step
from glimp_local.routing import Model
from glimp_local.runs import Decided
from glimp_local.session.session import Session
from glimp_local.session.turn import Activity
from glimp_local.text import one_line
from glimp_local.tui.reasons import deciding, why
from glimp_local.tui.steps import LETTERS

_BARS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = 8
_LEAST_TOP = 1.0
"""The plot reaches at least this many nats."""


class EntropyPlot(Widget):
    """A bar for each of the last steps, as high as its entropy, and the threshold as a line.

    Above a bar stands the letter of the step's writer, so that colours are not needed to tell them apart.
    """

    COMPONENT_CLASSES = {"plot--small", "plot--large", "plot--threshold"}  # noqa: RUF012 - Textual's way

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[Model, float]] = []
        self.threshold: float | None = None

    def show(self, steps: Sequence[tuple[Model, float]], threshold: float | None) -> None:
        """Draw these steps: who wrote each, and its entropy in nats."""
        self._steps, self.threshold = list(steps), threshold
        self.refresh()

    def render(self) -> Content:
        """Draw the bars from top to bottom."""
        width, height = self.size.width - 5, self.size.height - 1
        if width < 1 or height < 1:
            return Content("")
        shown = self._steps[-width:]
        top = max([_LEAST_TOP, *(entropy for _, entropy in shown), (self.threshold or 0) * 1.2])
        styles = {
            name: self.get_component_styles(f"plot--{name}").color.hex for name in ("small", "large", "threshold")
        }
        line = None if self.threshold is None else height - 1 - min(height - 1, int(self.threshold / top * height))
        rows: list[Content] = []
        for row in range(height):
            label = f"{top:4.1f} " if row == 0 else f"{self.threshold:4.2f} " if row == line else "     "
            cells = [Content(label).stylize("dim")]
            base = (height - 1 - row) * _EIGHTHS
            for model, entropy in shown:
                filled = round(entropy / top * height * _EIGHTHS) - base
                if filled > 0:
                    cells.append(Content(_BARS[min(filled, _EIGHTHS)]).stylize(styles[model]))
                else:
                    cells.append(Content("╌").stylize(styles["threshold"]) if row == line else Content(" "))
            if row == line:
                cells.append(Content("╌" * (width - len(shown))).stylize(styles["threshold"]))
            rows.append(Content("").join(cells))
        letters = [Content(model[0].upper()).stylize(styles[model]) for model, _ in shown]
        rows.append(Content("").join([Content("     "), *letters]))
        return Content("\n").join(rows)


class SidePanel(Vertical):
    """Plot and figures."""

    def compose(self) -> ComposeResult:
        """Put the plot above the figures."""
        self.plot = EntropyPlot()
        self._figures = Static()
        yield Static("entropy at each step's start, nats", classes="title")
        yield self.plot
        yield self._figures

    def show(
        self,
        steps: Sequence[Step],
        stats: Stats | None,
        session: Session,
        memory_bytes: int,
        *,
        activity: Activity | None = None,
        chosen: Decided | None = None,
    ) -> None:
        """Show the figures of the turn so far, the step being written included, and why the chosen step's model is."""
        threshold: float | None = getattr(session.policy, "threshold_nats", None)
        self.plot.show([(s.model, s.entropy_nats) for s in steps if s.entropy_nats is not None], threshold)
        routed = [step for step in steps if step.part != "answer"]
        written = {model: _tokens(steps, model, activity) for model in session.pair.backends}
        tokens, count = sum(written.values()), f"{len(routed)} step{'' if len(routed) == 1 else 's'}"
        lines = [
            deciding(session.policy),
            f"large: {_share(sum(s.model == 'large' for s in routed), len(routed))} of {count}",
            f"       {_share(written.get('large', 0), tokens)} of {tokens:,} tokens",
        ]
        speeds = session.speeds() if stats is None else _speeds(stats)
        for model in written:
            pace = units.speed(speeds[model]) if speeds.get(model) else "-"
            lines += [one_line(session.pair.backends[model].name), f"  {LETTERS[model]} {pace}"]
        lines.append(f"catch-up {units.duration(sum(step.catch_up_seconds for step in steps))}")
        if stats is not None:
            lines += [
                f"drafts {name} {model.draft_speedup:.2f}x"
                for name, model in (("small", stats.small), ("large", stats.large))
                if model is not None and model.is_drafted
            ]
            network = sum(model.network_seconds for model in (stats.small, stats.large) if model is not None)
            lines += [f"network {units.duration(network)}"] if network else []
            lines.append(f"all of it {units.duration(stats.seconds)}")
        lines += [f"context {model} {used:,}/{context:,}" for model, (used, context) in session.contexts().items()]
        lines.append(f"memory {units.memory_size(memory_bytes)}")
        if chosen is not None:
            lines += ["", why(chosen)]
        self._figures.update(Content("\n".join(lines)))


def _share(part: int, whole: int) -> str:
    return units.share(part / whole) if whole else "-"


def _tokens(steps: Sequence[Step], model: Model, activity: Activity | None) -> int:
    """Count the tokens a model has written, those of the present step included."""
    tokens = sum(step.tokens for step in steps if step.model == model)
    if activity is not None and activity.does == "writes" and activity.model == model:
        tokens += activity.tokens
    return tokens


def _speeds(stats: Stats) -> dict[Model, float]:
    found: dict[Model, ModelStats | None] = {"small": stats.small, "large": stats.large}
    return {model: figures.tokens_per_second for model, figures in found.items() if figures is not None}
