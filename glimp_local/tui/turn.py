"""One turn on the screen: the question, the thought, the answer and how it ended, fed with the session's events."""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    FinishReason,
    Notice,
    Step,
    StepEnded,
    StepStarted,
    Text,
    ThoughtEnd,
    ThoughtEnded,
)
from glimp_local.records.attached import with_chips
from glimp_local.runs import Decided, Run
from glimp_local.text import Pieces, harmless
from glimp_local.tui.markdown import parser
from glimp_local.tui.maths import readable
from glimp_local.tui.steps import LETTERS, StepBlock, Thought

_THOUGHT_ENDS: dict[ThoughtEnd, str] = {
    "budget": "The tokens for the thought are spent (max_thought): it was closed and the answer written.",
    "context_full": "The context is nearly full: the thought was closed and the answer written.",
    "loop": "The thought went in circles: it was closed and the answer written.",
    "end_of_generation": "The model ended its text inside the thought: it was closed and the answer written.",
    "user": "You asked for the answer: the thought was closed.",
}
_FINISHES: dict[FinishReason, str] = {
    "answer_budget": "The tokens for the answer are spent before it was finished (max_answer).",
    "context_full": "The context is full before the answer was finished.",
    "loop": "The answer went in circles and was stopped.",
    "failed": "The run could not continue; what was written so far is kept.",
    "cancelled": "Stopped; what was written so far is kept.",
}


class AnswerBlock(Markdown, can_focus=True):
    """An answer, with the letter and the colour of the model that begins it."""

    FOCUS_ON_CLICK = False

    def __init__(self, turn: TurnView, decided: Decided) -> None:
        super().__init__(parser_factory=parser, classes=f"answer {decided.model}", open_links=False)
        self.turn = turn
        self.decided = decided
        """How its first step began."""
        self.index = decided.index

    def render(self) -> Content:
        """Return the letter beside the text."""
        return Content(LETTERS[self.decided.model]).stylize("bold")


class QuestionBlock(Static, can_focus=True):
    """A question, and which version of the turn it begins is shown, if there are several."""

    FOCUS_ON_CLICK = False

    def __init__(self, turn: TurnView) -> None:
        super().__init__(classes="question")
        self.turn = turn
        self._place = 1, 1

    def on_mount(self) -> None:
        """Show the question."""
        self._draw()

    def place(self, number: int, count: int) -> None:
        """Show that this is version `number` of `count`, with the keys that lead to the others."""
        if self._place != (number, count):
            self._place = number, count
            self._draw()

    def _draw(self) -> None:
        number, count = self._place
        text = Content(harmless(with_chips(self.turn.question)))
        if count > 1:
            # Without a blank in it, so that it stays on one line.
            sign = f"{'←' if number > 1 else ''}{number}/{count}{'→' if number < count else ''}"
            text = Content.assemble(text, "  ", (sign, "not bold dim"))
        self.update(text)


class TurnView:
    """One question and what is written to it: widgets one behind the other in the conversation."""

    def __init__(self, conversation: VerticalScroll, run: Run, *, keeps_open: bool = False) -> None:
        self._conversation = conversation
        self._widgets: list[Widget] = []
        self.run = run
        """The version of the turn that is shown: what was written so far."""
        self.heading = QuestionBlock(self)
        self.thought: Thought | None = None
        """The steps, if there are any."""
        self.keeps_open = keeps_open
        """Does the thought stay unfolded when the answer begins?"""
        self.answer: AnswerBlock | None = None
        self._block: StepBlock | None = None
        self._ending: Widget | None = None
        """The note on how the turn ended."""
        self._stream: MarkdownStream | None = None
        self._pieces = Pieces()

    async def open(self, *, before: Widget | int | None = None, after: Widget | None = None) -> None:
        """Begin with the question, at the end of the conversation or beside one of its widgets."""
        self._widgets.append(self.heading)
        await self._conversation.mount(self.heading, before=before, after=after)

    @property
    def end(self) -> Widget:
        """The last of its widgets."""
        steps = [] if self.thought is None else [self.thought.earlier, *self.thought.blocks]
        return max([*self._widgets, *steps], key=self._conversation.children.index)

    async def remove(self) -> None:
        """Take all of it away."""
        if self.thought is not None:
            await self.thought.remove()
        await self._conversation.remove_children(self._widgets)

    async def _add(self, widget: Widget) -> None:
        after = self.end  # what is not of any turn may stand behind
        self._widgets.append(widget)
        await self._conversation.mount(widget, after=after)

    @property
    def question(self) -> str:
        """The question."""
        return self.run.asked

    @property
    def text(self) -> str:
        """The text of the answer, or of the reply of a pair that does not think."""
        return self.run.answer

    @property
    def blocks(self) -> list[QuestionBlock | StepBlock | AnswerBlock]:
        """What can be chosen: the question, the steps in sight, and the answer."""
        steps = [block for block in self.thought.blocks if block.display] if self.thought else []
        return [self.heading, *steps, *([self.answer] if self.answer else [])]

    async def show(self, event: AnyEvent) -> None:  # noqa: C901, PLR0912 - one short case an event
        """Show an event that is part of the run already."""
        match event:
            case StepStarted():
                await self._begin_step(event)
            case Text(part=part, text=text):
                if part == "answer" and self.answer is not None:
                    if self._stream is None:
                        self._stream, self._pieces = Markdown.get_stream(self.answer), Pieces()
                    await self._stream.write(self._pieces.take(text))
                elif self._block is not None:
                    await self._block.write(text)
            case StepEnded(step):
                await self._end_step(step)
            case ThoughtEnded(reason):
                if self.thought is not None and not self.keeps_open:
                    await self.thought.fold(True)
                if reason in _THOUGHT_ENDS:
                    await self.note(_THOUGHT_ENDS[reason])
            case Notice(message):
                await self.note(message)
            case Answer(text):
                await self._end_answer(text)
            case Finished(reason):
                if reason in _FINISHES:
                    self._ending = await self.note(_FINISHES[reason])
            case _:
                pass

    async def note(self, message: str) -> Widget:
        """Show a sentence of our own."""
        widget = Static(Content(harmless(message)), classes="notice")
        await self._add(widget)
        return widget

    async def _go_on(self) -> None:
        """Remove the note that the turn was over."""
        if self._ending is not None:
            self._widgets.remove(self._ending)
            await self._ending.remove()
            self._ending = None

    async def show_saved(self) -> None:
        """Show what was written before."""
        turn = self.run
        thought = [step for step in turn.steps if step.part != "answer"]
        if thought:
            end, self.thought = self.end, Thought(self._conversation, thought[0].part)
            await self.thought.open(end)
            await self.thought.restore(thought, folded=turn.thought_end is not None and not self.keeps_open)
        if len(thought) < len(turn.steps):
            await self._begin_answer(turn.steps[len(thought)])
            await self._end_answer(turn.answer)
        ending = _FINISHES.get(turn.finish) if turn.finish else "The program ended here; its finished steps are kept."
        if ending:
            self._ending = await self.note(ending)

    async def _begin_step(self, started: StepStarted) -> None:
        await self._go_on()
        if started.part != "answer":
            if self.thought is None:
                end, self.thought = self.end, Thought(self._conversation, started.part)
                await self.thought.open(end)
            self._block = await self.thought.begin(started)
        elif self.answer is None:
            await self._begin_answer(started)

    async def _begin_answer(self, decided: Decided) -> None:
        self.answer = AnswerBlock(self, decided)
        await self._add(self.answer)

    async def _end_step(self, step: Step) -> None:
        if self._block is not None and self.thought is not None and step.part != "answer":
            await self.thought.finish(step, trim=self._conversation.is_vertical_scroll_end)
            self._block = None

    async def _end_answer(self, text: str) -> None:
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if self.answer is not None and (shown := readable(harmless(text))) != self.answer.source:
            await self.answer.update(shown)

    async def rewind(self, run: Run, index: int) -> None:
        """Show another version of the turn: one that has the same steps before `index`, and none from there on."""
        self.run = run
        await self._go_on()
        self.keeps_open = True  # what is written instead is to be seen
        if self.thought is not None:
            await self.thought.rewind(index)
        if any(step.part == "answer" for step in self.run.steps):
            return
        if self.thought is not None and (self.answer is None or index < self.answer.index):
            await self.thought.fold(False)
        void = [widget for widget in self._widgets if {"notice", "answer"} & widget.classes]
        self._widgets = [widget for widget in self._widgets if widget not in void]
        await self._conversation.remove_children(void)
        self.answer = self._stream = None
