"""One step on the screen, and the thought that is made of them."""

from __future__ import annotations

from markdown_it import MarkdownIt
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
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
        self.display = bool(text)  # a step may do nothing but close the thought
        if (shown := readable(harmless(text))) != self.source.rstrip("\n"):
            await self.update(shown)
        self.refresh()

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

    def on_click(self, event: events.Click) -> None:
        """Tell the thought."""
        event.stop()
        self.post_message(self.Pressed())


class Thought(Vertical):
    """The steps of one thought, or of a reply written step by step. Folds to one line."""

    folded = reactive(False, toggle_class="folded", init=False)

    def __init__(self, name: str = "thought") -> None:
        super().__init__()
        self._what = name
        self._heading = ThoughtHeading()
        self._steps = Vertical(classes="steps")
        self._count = self._large = 0
        self._seconds = 0.0

    def compose(self) -> ComposeResult:
        """Put the heading above the steps."""
        yield self._heading
        yield self._steps

    def on_mount(self) -> None:
        """Say what there is."""
        self._describe()

    async def begin(self, started: StepStarted) -> StepBlock:
        """Add a step."""
        block = StepBlock(started)
        await self._steps.mount(block)
        return block

    def ended(self, step: Step) -> None:
        """Count a finished step."""
        self._count += 1
        self._large += step.model == "large"
        self._seconds += step.seconds
        self._describe()

    async def rewind(self, index: int) -> None:
        """Take the steps from `index` on away."""
        void = [block for block in self._steps.query_children(StepBlock) if block.started.index >= index]
        for block in void:
            if block.step is not None:
                self._count -= 1
                self._large -= block.step.model == "large"
                self._seconds -= block.step.seconds
        if void:
            await self._steps.remove_children(void)
        self._describe()

    @property
    def blocks(self) -> list[StepBlock]:
        """The steps, in order."""
        return list(self._steps.query_children(StepBlock))

    def watch_folded(self) -> None:
        """Turn the arrow."""
        self._describe()

    def _describe(self) -> None:
        share = f", {self._large / self._count:.0%} large" if self._count else ""
        steps = f"{self._count} step{'' if self._count == 1 else 's'}"
        self._heading.update(
            Content(f"{'▶' if self.folded else '▼'} {self._what}: {steps}{share}, {self._seconds:.1f} s")
        )

    def on_thought_heading_pressed(self, event: ThoughtHeading.Pressed) -> None:
        """Fold or unfold."""
        event.stop()
        self.folded = not self.folded
