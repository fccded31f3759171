"""What a run shows on stderr: a status line while it works, the steps if asked for, the figures at its end.

A pure consumer of events. On a terminal the status line is redrawn in place; elsewhere there is none, and steps and
figures are plain lines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text as Line

from glimp_local import units
from glimp_local.events import (
    AnyEvent,
    Finished,
    FinishReason,
    ModelStats,
    Notice,
    Rewound,
    Started,
    Stats,
    Step,
    StepEnded,
    StepStarted,
    Text,
    ThoughtEnd,
    ThoughtEnded,
)
from glimp_local.routing import Model
from glimp_local.text import harmless, one_line

# Blue and orange are told apart by nearly everybody; the letters by everybody.
_LETTERS = {"small": "S", "large": "L"}
COLOURS = {"small": "dodger_blue2", "large": "dark_orange"}
_TAIL_LINES = 3
"""Lines of the step being written that are shown above the status line."""

_THOUGHT_ENDS: dict[ThoughtEnd, str] = {
    "budget": "the tokens for the thought are spent (--max-thought): the thought was closed and the answer written",
    "context_full": "the context is nearly full (--ctx): the thought was closed and the answer written",
    "loop": "the thought went in circles: it was closed and the answer written",
    "end_of_generation": "the model ended its text inside the thought: the thought was closed and the answer written",
}
_FINISHES: dict[FinishReason, str] = {
    "answer_budget": "the tokens for the answer are spent before it was finished: raise --max-answer",
    "context_full": "the context is full before the answer was finished: raise --ctx",
    "loop": "the answer went in circles and was stopped",
    "failed": "the run could not continue; what was written so far is kept",
    "cancelled": "interrupted; what was written so far is kept",
}


class Display:
    """Shows a run on stderr, or on a console given."""

    def __init__(self, *, thoughts: bool, quiet: bool, console: Console | None = None) -> None:
        # A terminal gets lines wrapped between words; a file gets them whole.
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self._thoughts = thoughts
        self._quiet = quiet
        self._live: Live | None = None
        self._what = "loading"
        self._step: StepStarted | None = None
        self._text = ""
        self._steps = self._large = self._tokens = self._tokens_before = 0
        self._began = monotonic()
        self._seed = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the status line inside the block, where stderr is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        try:
            yield
        finally:
            self.pause()

    def pause(self) -> None:
        """Take the status line away for good: the answer needs the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def loading(self, model: Model, path: Path, fraction: float) -> None:
        """Tell how much of a model is loaded."""
        self._what = f"loading {model} {one_line(path.name)} {units.share(fraction)}"

    def loaded(self, descriptions: dict[Model, str], plan: str) -> None:
        """Tell what was loaded, where it runs, and what memory it takes."""
        if self._thoughts and not self._quiet:
            for line in filter(None, (*(f"{model}: {found}" for model, found in descriptions.items()), plan)):
                self._console.print(Line(one_line(line), style="dim"))
        self._what = "reading the problem"

    def show(self, event: AnyEvent) -> None:  # noqa: C901 - one short case an event
        """Take note of an event and show what there is to show of it."""
        match event:
            case Started():
                self._began = monotonic()
                self._seed = event.seed
            case StepStarted():
                self._step, self._text = event, ""
                self._what = {"thought": "thinking", "reply": "writing", "answer": "answering"}[event.part]
            case Text(text=text):
                self._tokens += 1  # as good as one a token; put right when the step ends
                self._text += text
            case StepEnded(step):
                self._tokens_before += step.tokens
                self._tokens = self._tokens_before
                self._steps += step.part != "answer"
                self._large += step.part != "answer" and step.model == "large"
                if self._thoughts and step.part != "answer" and self._step is not None:
                    self._print_step(self._step, step)
                self._step = None
            case Rewound(index):
                self._steps = index
            case ThoughtEnded(reason) if reason in _THOUGHT_ENDS:
                self.say(_THOUGHT_ENDS[reason])
            case Notice(message):
                self.say(message)
            case Finished(finish_reason, _, stats):
                self.pause()
                if finish_reason in _FINISHES:
                    self.say(_FINISHES[finish_reason])
                if not self._quiet:
                    self._console.print(Line(f"{summary(stats)} · seed {self._seed}", style="dim"))
            case _:
                pass

    def say(self, message: str) -> None:
        """Show a sentence of our own."""
        self._console.print(Line(harmless(f"glimp: {message}")))

    def _print_step(self, started: StepStarted, step: Step) -> None:
        # Dedented: the first line keeps its place beside the others.
        text = dedent(step.text.strip("\r\n")).rstrip()
        self._console.print(self._row(started, text, "repeats" if step.end == "repetition" else ""))

    def _draw(self) -> RenderableType:
        status = Line(self._status(), style="dim", no_wrap=True, overflow="ellipsis")
        if not (self._thoughts and self._step is not None and self._step.part != "answer"):
            return status
        tail = "\n".join(self._text.strip().splitlines()[-_TAIL_LINES:])
        return Group(self._row(self._step, tail), status)

    def _row(self, step: StepStarted, text: str, remark: str = "") -> RenderableType:
        """Put a step's text beside its heading; in a file, where nothing is wrapped, behind it."""
        text = harmless(text)
        if not self._console.is_terminal:
            heading = _heading(step, remark)
            return heading.append(text.replace("\n", f"\n{'│ ':>{heading.cell_len}}"))
        row = Table.grid()
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_row(_heading(step, remark), Line(text))
        return row

    def _status(self) -> str:
        parts = [self._what]
        if self._tokens:
            seconds = max(monotonic() - self._began, 1e-3)
            share = self._large / self._steps if self._steps else 0
            parts += [
                f"{self._steps} steps",
                f"{units.share(share)} large",
                f"{self._tokens:,} tokens",
                units.speed(self._tokens / seconds),
            ]
            if self._step is not None:
                parts[0] += f" ({_LETTERS[self._step.model]})"
        return " · ".join(parts)


def _heading(step: StepStarted, remark: str) -> Line:
    entropy = "" if step.entropy_nats is None else f"{step.entropy_nats:.2f}"
    why = "" if step.reason in {"confident", "uncertain", "policy"} else step.reason
    heading = " ".join(filter(None, (_LETTERS[step.model], entropy, why, remark)))
    colour = COLOURS[step.model]
    return Line.assemble((f"{heading} ", f"bold {colour}"), ("│ ", colour))


def summary(stats: Stats) -> str:
    """Put the figures of a run into one line."""
    parts = [
        f"{stats.steps} step{'s' if stats.steps != 1 else ''}, {units.share(stats.share_steps)} large",
        f"{stats.tokens:,} tokens, {units.share(stats.share_tokens)} large",
        *(_speed(name, model) for name, model in (("small", stats.small), ("large", stats.large)) if model),
        units.duration(stats.seconds),
    ]
    return " · ".join(parts)


def _speed(name: str, model: ModelStats) -> str:
    if not model.tokens:
        return f"{name} wrote nothing"
    speed = f"{name} {units.speed(model.tokens_per_second)}"
    if not model.is_drafted:
        return speed
    return f"{speed} ({model.draft_speedup:.2f}x by drafts, {model.draft_accepted:,} of {model.drafted:,} came true)"
