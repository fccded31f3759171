"""Runs as one page that needs nothing but a browser: no network, no other file, and no script to be read.

What models write is hostile input: the template escapes all of it, and the page's own policy lets no style and no
script act but its own, which it names by their hashes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from glimp_local import units
from glimp_local.records import trace
from glimp_local.records.attached import with_chips
from glimp_local.routing import Model
from glimp_local.runs import Run, Step
from glimp_local.text import harmless, one_line

_TEMPLATE = "trace.html.j2"
_LEAST_NATS, _MOST_NATS = 0.1, 15.0
"""The plot reaches at least and at most so far; no vocabulary has more than e^15 tokens."""
_HEADROOM = 1.05
_USUAL_NATS = 1.0
"""Where the slider begins, if nothing says better."""
_HEIGHT = 100
"""Units of the plot from 0 to its top."""


class Shown(NamedTuple):
    """A step on the page."""

    step: Step
    decided: Model | None
    """Who would have written it, by the slider's first threshold; None where no threshold decides."""
    height: float | None
    """Of its bar; None where the small model did not look."""

    @property
    def moved(self) -> bool:
        """Would it have gone to the other model?"""
        return self.decided not in {None, self.step.model}


class Section(NamedTuple):
    """A run on the page."""

    number: int
    run: Run
    figures: trace.Figures
    what_if: trace.WhatIf
    words: list[str]
    """What the what-if found."""
    shown: list[Shown]
    threshold: str
    """The threshold's path through the plot, whose unit across is a step: a share moves it."""


def page(
    runs: Sequence[tuple[int, Run]], threshold_nats: float | None, *, title: str = "", system: str | None = None
) -> str:
    """Give the page of some runs, each with its number; with a threshold, its what-if is there from the start.

    A conversation has a `title`, and perhaps a `system` message before all its turns.
    """
    steps = [step for _, run in runs for step in run.steps]
    held = [step.threshold_nats for step in steps if step.threshold_nats is not None and step.threshold_nats >= 0]
    start = next(iter(held), _USUAL_NATS) if threshold_nats is None else threshold_nats
    seen = (step.entropy_nats for step in steps if step.entropy_nats is not None)
    scale = _HEADROOM * min(max(_LEAST_NATS, start, *seen, *held), _MOST_NATS)
    sections = [_section(number, run, start, scale) for number, run in runs]
    template = _environment().get_template(_TEMPLATE)
    return template.render(
        sections=sections,
        title=title or _heading(runs[0][1]),
        is_titled=len(runs) > 1 or (title not in {"", _heading(runs[0][1])}),
        is_conversation=bool(title),
        system=system,
        asked=threshold_nats is not None,
        can_tell=any(section.what_if.told for section in sections),
        start_nats=start,
        start_up=_up(start, scale),
        most_nats=max(scale, start),
        scale_nats=scale,
    )


def _heading(run: Run) -> str:
    """Return the first line of a question, with names and sizes for its files."""
    return next(iter(with_chips(run.question or "").strip().splitlines()), run.title)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "about": trace.about,
        "duration": units.duration,
        "heading": _heading,
        "hash": lambda text: b64encode(sha256(str(text).encode()).digest()).decode(),
        "one_line": one_line,
        "percent": units.share,
        "why": trace.why,
    }
    return environment


def _shown(value: object) -> object:
    """Make whatever is put in harmless."""
    return harmless(value) if type(value) is str else value


def _section(number: int, run: Run, start: float, scale: float) -> Section:
    shown = [
        Shown(
            step,
            trace.decided_by(start, step),
            # Not even the smallest entropy is without a bar.
            None if step.entropy_nats is None else max(1.0, _HEIGHT - _up(step.entropy_nats, scale)),
        )
        for step in run.steps
    ]
    what_if = trace.what_if(run.steps, start)
    words = trace.in_words(what_if)
    return Section(number, run, trace.figures(run), what_if, words, shown, _path(run.steps, scale))


def _path(steps: Iterable[Step], scale: float) -> str:
    return " ".join(
        f"M{at} {_up(step.threshold_nats, scale)}h1" for at, step in enumerate(steps) if step.threshold_nats is not None
    )


def _up(nats: float, scale: float) -> float:
    """Say how far below the plot's top a number of nats is."""
    return round(_HEIGHT * (1 - min(max(nats / scale, 0), 1)), 2)
