"""One step on the screen, and the thought that is made of them."""

from __future__ import annotations

from markdown_it import MarkdownIt
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from glimp_local.events import Step, StepStarted
from glimp_local.tui.maths import readable

_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(127, 160), 0xFFFD
)
"""Control characters, as pictures of themselves: what a model writes must not steer the terminal."""

LETTERS = {"small": "S", "large": "L"}
_PARSER = MarkdownIt("gfm-like", {"linkify": False})
_USUAL = frozenset({"confident", "uncertain", "policy"})


def harmless(text: str) -> str:
    """Show control characters instead of obeying them."""
    return text.translate(_CONTROLS)


def parser() -> MarkdownIt:
    """Give the one Markdown parser: making one takes longer than parsing a step."""
    return _PARSER


class StepBlock(Markdown, can_focus=True):
    """A step: its writer's letter and colour, its entropy and pace, and its text as it comes."""

    folded = reactive(False, toggle_class="folded", init=False)

    def __init__(self, started: StepStarted) -> None:
        super().__init__(parser_factory=parser, classes=started.model, open_links=False)
        self.started = started
        self.step: Step | None = None
        self._stream: MarkdownStream | None = None

    async def write(self, text: str) -> None:
        """Append text."""
        if self._stream is None:
            text = text.lstrip("\n")
            if not text:
                return
            self._stream = Markdown.get_stream(self)
        await self._stream.write(harmless(text))

    async def finish(self, step: Step) -> None:
        """Show the finished step: its figures, and its formulas readable."""
        self.step = step
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        text = step.text.strip("\n")
        self.display = self.display and not self.is_empty
        if (shown := readable(harmless(text))) != self.source.rstrip("\n"):
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
        if step is not None and step.seconds > 0:
            figures = f"{step.tokens} tok {step.tokens / step.seconds:,.0f}/s"
            room = width - len(heading) - len(figures)
            if self.has_figures and room > 0:
                lines[0] = lines[0] + " " * room + Content(figures).stylize("dim")
        return Content("\n").join(lines)

    @property
    def has_figures(self) -> bool:
        """Is there room for figures behind the text?"""
        return not self.app.has_class("narrow")

    def action_fold(self) -> None:
        """Fold or unfold this step."""
        self.folded = not self.folded


class ThoughtHeading(Static):
    """The line above a thought; a click folds or unfolds it."""

    class Pressed(Message):
        """The heading was clicked."""

        def __init__(self, heading: ThoughtHeading) -> None:
            super().__init__()
            self.heading = heading

    def on_click(self, event: events.Click) -> None:
        """Tell it."""
        event.stop()
        self.post_message(self.Pressed(self))


class Thought:
    """The steps of one thought, or of a reply written step by step, below a heading. Folds to the heading.

    No widget of its own: the steps stand in the conversation itself, so that of thousands of them only those in sight
    are laid out and drawn.
    """

    def __init__(self, parent: Widget, what: str) -> None:
        self._parent = parent
        self._what = what
        self._folded = False
        self.heading = ThoughtHeading()
        self.blocks: list[StepBlock] = []

    async def open(self) -> None:
        """Begin."""
        await self._parent.mount(self.heading)
        self.describe()

    async def begin(self, started: StepStarted) -> StepBlock:
        """Add a step."""
        block = StepBlock(started)
        block.display = not self._folded
        self.blocks.append(block)
        await self._parent.mount(block)
        return block

    async def rewind(self, index: int) -> None:
        """Take the steps from `index` on away."""
        void = [block for block in self.blocks if block.started.index >= index]
        self.blocks = [block for block in self.blocks if block.started.index < index]
        await self._parent.remove_children(void)
        self.describe()

    async def remove(self) -> None:
        """Take all of it away."""
        await self._parent.remove_children([self.heading, *self.blocks])

    @property
    def folded(self) -> bool:
        """Is only the heading shown?"""
        return self._folded

    @folded.setter
    def folded(self, folded: bool) -> None:
        self._folded = folded
        with self._parent.app.batch_update():
            for block in self.blocks:
                block.display = not (folded or block.is_empty)
        self.describe()

    def describe(self) -> None:
        """Say in the heading what there is."""
        steps = [block.step for block in self.blocks if block.step is not None]
        large = sum(step.model == "large" for step in steps)
        share = f", {large / len(steps):.0%} large" if steps else ""
        count = f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
        seconds = sum(step.seconds for step in steps)
        self.heading.update(Content(f"{'▶' if self._folded else '▼'} {self._what}: {count}{share}, {seconds:.1f} s"))
