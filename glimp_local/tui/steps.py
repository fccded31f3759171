"""One step on the screen, and the thought that is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from glimp_local import units
from glimp_local.events import Step, StepStarted
from glimp_local.text import Pieces, harmless
from glimp_local.tui.markdown import parser
from glimp_local.tui.maths import readable

LETTERS = {"small": "S", "large": "L"}
_LETTERS = 200
"""No line is longer."""
WINDOW = 100
"""So many steps of a thought are shown at once, at least; twice as many before the first ones are taken away."""
_USUAL = frozenset({"confident", "uncertain", "policy"})


def _shown(step: Step) -> str:
    return readable(harmless(step.text).strip("\n"))


class StepBlock(Markdown, can_focus=True):
    """A step: its writer's letter and colour, its entropy and pace, and its text as it comes."""

    FOCUS_ON_CLICK = False

    folded = reactive(False, toggle_class="folded", init=False)

    def __init__(self, started: StepStarted | Step) -> None:
        finished = started if isinstance(started, Step) else None
        text = _shown(finished) if finished else None
        classes = started.model if started.reason in _USUAL else f"{started.model} steered"
        super().__init__(text, parser_factory=parser, classes=classes, open_links=False)
        self.started = started
        self.index = started.index
        self.step = finished
        self.display = not self.is_empty
        self._stream: MarkdownStream | None = None
        self._pieces = Pieces()

    async def write(self, text: str) -> None:
        """Append text."""
        if self._stream is None:
            text = text.lstrip("\r\n")
            if not text:
                return
            self._stream, self._pieces = Markdown.get_stream(self), Pieces()
        await self._stream.write(self._pieces.take(text))

    async def finish(self, step: Step) -> None:
        """Show the finished step: its figures, and its formulas readable."""
        self.step = step
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        self.display = not self.is_empty
        if (shown := _shown(step)) != self.source.rstrip("\n"):
            await self.update(shown)
        self.refresh()

    @property
    def is_empty(self) -> bool:
        """Is there nothing to see? A step may do nothing but close the thought."""
        return self.step is not None and not self.step.text.strip()

    @property
    def text(self) -> str:
        """The step's own text."""
        return self.step.text if self.step else self.source

    def render(self) -> Content:
        """Give what stands beside the text: the letter and the entropy before it, the figures behind it."""
        started, step = self.started, self.step
        entropy = "" if started.entropy_nats is None else f" {started.entropy_nats:.2f}"
        heading = f"{LETTERS[started.model]}{entropy}"
        width = self.size.width
        reason = "" if started.reason in _USUAL else started.reason
        lines = [Content(heading).stylize("bold")]
        if reason:
            lines.append(Content(reason).stylize("dim"))
        if step is not None and step.end == "repetition":
            lines.append(Content("repeats").stylize("dim"))
        if step is not None and step.seconds > 0:
            figures = f"{step.tokens} tok {units.speed_figure(step.tokens / step.seconds)}/s"
            room = width - len(heading) - len(figures)
            if self.has_figures and room > 0:
                lines[0] = lines[0] + " " * room + Content(figures).stylize("dim")
        return Content("\n").join(lines)

    @property
    def has_figures(self) -> bool:
        """Is there room for figures behind the text?"""
        return not self.app.has_class("narrow")


def _letters(steps: Sequence[Step]) -> Content:
    """Return a letter a step in its writer's colour: what a folded thought looks like from afar."""
    written = [step for step in steps if step.text.strip()]
    letters = [Content(LETTERS[step.model]).stylize(f"bold ${step.model}") for step in written[:_LETTERS]]
    return Content("").join([*letters, Content("…" if len(written) > _LETTERS else "")])


class Line(Static):
    """A line of a thought that can be clicked."""

    class Pressed(Message):
        """The line was clicked."""

        def __init__(self, line: Line) -> None:
            super().__init__()
            self.line = line

    def on_click(self, event: events.Click) -> None:
        """Tell it."""
        event.stop()
        self.post_message(self.Pressed(self))


class Thought:
    """The steps of one thought, or of a reply written step by step, below a heading. Folds to the heading.

    No widget of its own, and only the last steps are widgets: the screen is laid out again for each one, and a thousand
    of them would hold the models up. A line stands for those before and brings them back.
    """

    def __init__(self, parent: Widget, what: str) -> None:
        self._parent = parent
        self._what = what
        self._steps: list[Step] = []
        self.folded = False
        self.heading = Line(classes="heading")
        self.earlier = Line(classes="earlier")
        self.blocks: list[StepBlock] = []
        """The steps that are widgets: the last ones."""

    async def open(self, after: Widget) -> None:
        """Begin."""
        self.earlier.display = False
        await self._parent.mount(self.heading, self.earlier, after=after)
        self._describe()

    async def begin(self, started: StepStarted) -> StepBlock:
        """Add a step."""
        block = StepBlock(started)
        block.display = not self.folded
        await self._parent.mount(block, after=self.blocks[-1] if self.blocks else self.earlier)
        self.blocks.append(block)
        return block

    async def finish(self, step: Step, *, trim: bool) -> None:
        """End the step that was begun last; `trim` allows to take away the first widgets where they are too many."""
        self._steps.append(step)
        await self.blocks[-1].finish(step)
        if self.folded:
            await self._drop(self.blocks)
        elif trim and len(self.blocks) > 2 * WINDOW:
            await self._drop(self.blocks[:-WINDOW])
        self._describe()

    async def restore(self, steps: list[Step], *, folded: bool) -> None:
        """Show steps that are finished already."""
        self._steps, self.folded = steps, folded
        await self.show_earlier()
        self._describe()

    async def show_earlier(self) -> bool:
        """Bring back steps before those that are shown; tells whether there were any."""
        first = self._first
        if self.folded or not first:
            return False
        steps = self._steps[max(0, first - WINDOW) : first]
        blocks = [StepBlock(step) for step in steps]
        await self._parent.mount(*blocks, after=self.earlier)
        self.blocks[:0] = blocks
        self._describe()
        return True

    async def rewind(self, index: int) -> None:
        """Take the steps from `index` on away."""
        self._steps = [step for step in self._steps if step.index < index]
        await self._drop([block for block in self.blocks if block.index >= index])
        if not self.blocks:
            await self.show_earlier()
        self._describe()

    async def remove(self) -> None:
        """Take all of it away."""
        await self._parent.remove_children([self.heading, self.earlier, *self.blocks])

    async def fold(self, folded: bool) -> None:
        """Fold to the heading, or unfold the last steps."""
        if folded == self.folded:
            return
        self.folded = folded
        if folded:
            await self._drop([block for block in self.blocks if block.step is not None])
        for block in self.blocks:  # the one that is being written
            block.display = not folded
        await self.show_earlier()
        self._describe()

    async def _drop(self, blocks: list[StepBlock]) -> None:
        self.blocks = [block for block in self.blocks if block not in blocks]
        await self._parent.remove_children(blocks)

    @property
    def _first(self) -> int:
        """How many steps stand before those that are shown."""
        return len(self._steps) - sum(block.step is not None for block in self.blocks)

    def _describe(self) -> None:
        """Say in the heading what there is."""
        steps = self._steps
        large = sum(step.model == "large" for step in steps)
        share = f", {units.share(large / len(steps))} large" if steps else ""
        count = f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
        seconds = sum(step.seconds for step in steps)
        sign = "▶" if self.folded else "▼"
        said = Content(f"{sign} {self._what}: {count}{share}, {units.duration(seconds)}")
        if self.folded:
            said = Content.assemble(said, "  ", _letters(steps))
        # One line each, whatever stands in it: nothing else has to move.
        self.heading.update(said, layout=False)
        self.earlier.display = not self.folded and self._first > 0
        self.earlier.update(Content(f"▲ {self._first} earlier steps"), layout=False)
