"""The conversation on the screen: one widget a turn, fed with the session's events."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    FinishReason,
    Notice,
    Rewound,
    Stats,
    Step,
    StepEnded,
    StepStarted,
    Text,
    ThoughtEnd,
    ThoughtEnded,
    answer_of,
)
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.runs import Run
from glimp_local.text import Pieces, harmless, one_line
from glimp_local.tui.maths import readable
from glimp_local.tui.steps import LETTERS, Line, StepBlock, Thought, parser

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
    "loop": "The reply went in circles and was stopped.",
    "failed": "The run could not go on; what was written so far is kept.",
    "cancelled": "Stopped; what was written so far is kept.",
}


class AnswerBlock(Markdown, can_focus=True):
    """An answer, with the letter and the colour of the model that begins it."""

    def __init__(self, turn: TurnView, model: Model, index: int) -> None:
        super().__init__(parser_factory=parser, classes=f"answer {model}", open_links=False)
        self.turn = turn
        self.index = index
        """Of the answer's first step."""
        self._model = model

    def render(self) -> Content:
        """Give the letter beside the text."""
        return Content(LETTERS[self._model]).stylize("bold")


class TurnView:
    """One question and what is written to it: widgets at the end of the conversation."""

    def __init__(self, conversation: Conversation, question: str) -> None:
        self._conversation = conversation
        self._widgets: list[Widget] = []
        self.question = question
        self.steps: list[Step] = []
        self.stats: Stats | None = None
        self.finish: FinishReason | None = None
        self.thought: Thought | None = None
        """The steps, if there are any."""
        self.answer: AnswerBlock | None = None
        self._block: StepBlock | None = None
        self._ending: Widget | None = None
        """What says how the turn ended."""
        self._stream: MarkdownStream | None = None
        self._pieces = Pieces()

    async def open(self) -> None:
        """Begin with the question."""
        await self._add(Static(Content(harmless(self.question)), classes="question"))

    async def remove(self) -> None:
        """Take all of it away."""
        if self.thought is not None:
            await self.thought.remove()
        await self._conversation.remove_children(self._widgets)

    async def _add(self, widget: Widget) -> None:
        self._widgets.append(widget)
        await self._conversation.mount(widget)

    @property
    def text(self) -> str:
        """The text of the answer, or of the reply of a pair that does not think."""
        return answer_of(self.steps)

    @property
    def blocks(self) -> list[StepBlock | AnswerBlock]:
        """What can be chosen: the steps in sight, and the answer."""
        steps = [block for block in self.thought.blocks if block.display] if self.thought else []
        return [*steps, *([self.answer] if self.answer else [])]

    async def show(self, event: AnyEvent) -> None:  # noqa: C901, PLR0912 - one short case an event
        """Show what an event tells."""
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
                if self.thought is not None:
                    await self.thought.fold(True)
                if reason in _THOUGHT_ENDS:
                    await self.note(_THOUGHT_ENDS[reason])
            case Rewound(index):
                await self._rewind(index)
            case Notice(message):
                await self.note(message)
            case Answer(text):
                await self._end_answer(text)
            case Finished(reason, _, stats):
                self.stats, self.finish = stats, reason
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
        """Take away what said that the turn was over."""
        if self._ending is not None:
            self._widgets.remove(self._ending)
            await self._ending.remove()
            self._ending = None

    async def show_saved(self, turn: Run) -> None:
        """Show a turn that was read from the disk."""
        self.steps = list(turn.steps)
        thought = [step for step in turn.steps if step.part != "answer"]
        if thought:
            self.thought = Thought(self._conversation, thought[0].part)
            await self.thought.open()
            await self.thought.restore(thought, folded=turn.thought_end is not None)
        if len(thought) < len(turn.steps):
            first = turn.steps[len(thought)]
            await self._begin_answer(first.model, first.index)
            await self._end_answer(turn.answer)
        self.finish = turn.finish
        ending = _FINISHES.get(turn.finish) if turn.finish else "The program ended here; its finished steps are kept."
        if ending:
            self._ending = await self.note(ending)

    async def _begin_step(self, started: StepStarted) -> None:
        await self._go_on()
        if started.part != "answer":
            if self.thought is None:
                self.thought = Thought(self._conversation, started.part)
                await self.thought.open()
            self._block = await self.thought.begin(started)
        elif self.answer is None:
            await self._begin_answer(started.model, started.index)

    async def _begin_answer(self, model: Model, index: int) -> None:
        self.answer = AnswerBlock(self, model, index)
        await self._add(self.answer)

    async def _end_step(self, step: Step) -> None:
        self.steps.append(step)
        if self._block is not None and self.thought is not None and step.part != "answer":
            await self.thought.finish(step, trim=self._conversation.is_vertical_scroll_end)
            self._block = None

    async def _end_answer(self, text: str) -> None:
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if self.answer is not None and (shown := readable(harmless(text))) != self.answer.source:
            await self.answer.update(shown)

    async def _rewind(self, index: int) -> None:
        del self.steps[index:]
        self.finish = None
        await self._go_on()
        if self.thought is not None:
            await self.thought.rewind(index)
        if any(step.part == "answer" for step in self.steps):
            return
        if self.thought is not None and (self.answer is None or index < self.answer.index):
            await self.thought.fold(False)
        void = [widget for widget in self._widgets if {"notice", "answer"} & widget.classes]
        self._widgets = [widget for widget in self._widgets if widget not in void]
        await self._conversation.remove_children(void)
        self.answer = self._stream = None


class Conversation(VerticalScroll, can_focus=True):
    """All turns. Its keys work on the chosen step, or on the last turn; it tells the application what is wanted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)", "Step above", show=False),
        Binding("down,j", "choose(1)", "Step below", show=False),
        Binding("enter,space", "fold", "Fold"),
        Binding("r", "redo", "Other model"),
        Binding("s", "app.force('small')", "Next: S"),
        Binding("l", "app.force('large')", "Next: L"),
        Binding("a", "app.answer_now", "Answer now"),
        Binding("g", "app.go_on", "Go on/again"),
        Binding("e", "app.edit", "Edit"),
        Binding("y", "copy", "Copy"),
        Binding("Y,shift+y", "app.copy_all", "Copy all", show=False),
        Binding("pageup", "app.scroll(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll(1)", "Scroll down", show=False),
    ]

    class Redo(Message):
        """A step, or an answer, is to be written again by the other model."""

        def __init__(self, turn: TurnView, index: int) -> None:
            super().__init__()
            self.turn = turn
            self.index = index

    class Copy(Message):
        """A text is to be copied."""

        def __init__(self, what: str, text: str) -> None:
            super().__init__()
            self.what = what
            self.text = text

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[TurnView] = []

    def release_anchor(self) -> None:
        """Leave the end of the conversation, where there is anything to scroll.

        Textual puts a short anchored text at the bottom by scrolling beyond its top; released there, it would stay
        where it is while it changes, out of sight, and could not be scrolled back.
        """
        if self.max_scroll_y > 0:
            super().release_anchor()

    def watch_virtual_size(self) -> None:
        """Go back to the end when everything is in sight again."""
        if self.max_scroll_y == 0:
            self.call_after_refresh(self.anchor)

    @property
    def last(self) -> TurnView | None:
        """The last turn."""
        return self.turns[-1] if self.turns else None

    async def welcome(self, pair: Pair | None = None) -> None:
        """Say what there is to do, until the first question."""
        await self.remove_children(".welcome")
        lines = [
            Content("Ask something below and watch two models think, step by step."),
            Content.assemble(("S", "bold $small"), "  the small model writes the steps at whose start it is sure"),
            Content.assemble(
                ("L", "bold $large"), "  the large model writes those at whose start the small one is not"
            ),
            Content(),
            Content("Esc stops them · F1 shows all keys · Ctrl+P all commands"),
        ]
        if pair is not None and pair.config.only:
            lines += [
                Content(),
                Content(one_line(f"This pair, {pair.name}, can do {pair.config.only} and nothing else.")),
            ]
            if pair.offer is not None:
                lines.append(Content(one_line(f"One that reasons about anything: {pair.offer}")))
        if pair is not None and pair.config.example:
            lines.append(Content("↑ puts an example into the box, Enter asks it."))
        if pair is not None:
            lines += [Content(), Content(one_line(pair.plan.line())).stylize("dim")]
        await self.mount(Static(Content("\n").join(lines), classes="welcome"))

    async def begin(self, question: str) -> TurnView:
        """Add a turn."""
        await self.remove_children(".welcome")
        turn = TurnView(self, question)
        self.turns.append(turn)
        await turn.open()
        return turn

    async def clear(self) -> None:
        """Take everything away."""
        self.turns.clear()
        await self.remove_children()

    async def take_back(self) -> None:
        """Take the last turn away."""
        if self.turns:
            await self.turns.pop().remove()

    async def note(self, message: str, *, error: bool = False) -> None:
        """Show a sentence of our own below the last turn."""
        await self.mount(Static(Content(harmless(message)), classes="notice error" if error else "notice"))

    @property
    def chosen(self) -> StepBlock | AnswerBlock | None:
        """The step, or answer, that has the focus."""
        focused = self.screen.focused
        return focused if isinstance(focused, StepBlock | AnswerBlock) else None

    async def action_choose(self, way: int) -> None:
        """Choose the step or answer above or below, at first the last one; scroll where there is none."""
        for thought in [turn.thought for turn in self.turns if turn.thought is not None]:
            if way < 0 and thought.blocks and self.chosen is thought.blocks[0]:
                await thought.show_earlier()
        blocks = [block for turn in self.turns for block in turn.blocks]
        place = blocks.index(self.chosen) + way if self.chosen in blocks else len(blocks) - 1
        if 0 <= place < len(blocks):
            self.screen.set_focus(blocks[place])  # at once: the next key may be here already
        elif way < 0:
            self.scroll_up()
        else:
            self.scroll_down()

    async def action_fold(self) -> None:
        """Fold or unfold the chosen step, the chosen answer's thought, or all thoughts."""
        if isinstance(self.chosen, StepBlock):
            self.chosen.folded = not self.chosen.folded
        elif self.chosen is not None:
            if (thought := self.chosen.turn.thought) is not None:
                await thought.fold(not thought.folded)
        else:
            await self.fold_thoughts()

    async def fold_thoughts(self) -> None:
        """Fold all thoughts; unfold them where all are folded."""
        thoughts = [turn.thought for turn in self.turns if turn.thought is not None]
        fold = not all(thought.folded for thought in thoughts)
        for thought in thoughts:
            await thought.fold(fold)

    async def press(self, line: Line) -> None:
        """Fold or unfold the thought below a heading, or bring back its earlier steps."""
        for thought in [turn.thought for turn in self.turns if turn.thought is not None]:
            if line is thought.heading:
                await thought.fold(not thought.folded)
            elif line is thought.earlier:
                await thought.show_earlier()

    def action_redo(self) -> None:
        """Ask for the chosen step, or answer, anew."""
        for turn in self.turns:
            if self.chosen is not None and self.chosen in turn.blocks:
                self.post_message(self.Redo(turn, self.chosen.index))
                return
        self.notify("Choose a step first, with the arrow keys.")

    def action_copy(self) -> None:
        """Ask for a copy of the chosen step or answer, or of the last answer."""
        if isinstance(self.chosen, StepBlock):
            self.post_message(self.Copy("The step", self.chosen.text.strip()))
        else:
            turn = self.chosen.turn if self.chosen else self.last
            self.post_message(self.Copy("The answer", turn.text if turn else ""))
