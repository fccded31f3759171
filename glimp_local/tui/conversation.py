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
)
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.saved import SavedTurn
from glimp_local.tui.maths import readable
from glimp_local.tui.steps import Line, StepBlock, Thought, harmless, parser

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
_CAN_GO_ON: frozenset[FinishReason | None] = frozenset({None, "cancelled", "failed"})


class TurnView:
    """One question and what is written to it: widgets at the end of the conversation."""

    def __init__(self, conversation: Conversation, question: str) -> None:
        self._conversation = conversation
        self._widgets: list[Widget] = []
        self.question = question
        self.steps: list[Step] = []
        self.stats: Stats | None = None
        self.answer_text = ""
        self.finish: FinishReason | None = None
        self.thought: Thought | None = None
        """The steps, if there are any."""
        self._block: StepBlock | None = None
        self._answer: Markdown | None = None
        self._stream: MarkdownStream | None = None

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
    def can_go_on(self) -> bool:
        """Was the turn left before its end?"""
        return self.finish in _CAN_GO_ON

    async def show(self, event: AnyEvent) -> None:  # noqa: C901, PLR0912 - one short case an event
        """Show what an event tells."""
        match event:
            case StepStarted():
                await self._begin_step(event)
            case Text(part=part, text=text):
                if part == "answer" and self._answer is not None:
                    self.answer_text += text
                    if self._stream is None:
                        self._stream = Markdown.get_stream(self._answer)
                    await self._stream.write(harmless(text))
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
                    await self.note(_FINISHES[reason])
            case _:
                pass

    async def note(self, message: str, *, error: bool = False) -> None:
        """Show a sentence of our own."""
        await self._add(Static(Content(message), classes="notice error" if error else "notice"))

    async def show_saved(self, turn: SavedTurn) -> None:
        """Show a turn that was read from the disk."""
        self.steps = list(turn.steps)
        thought = [step for step in turn.steps if step.part != "answer"]
        if thought:
            self.thought = Thought(self._conversation, thought[0].part)
            await self.thought.open()
            await self.thought.restore(thought, folded=turn.thought_end is not None)
        if len(thought) < len(turn.steps):
            await self._begin_answer(turn.steps[-1].model)
            await self._end_answer(turn.answer)
        self.finish = turn.finish
        if turn.finish is None:
            await self.note("The program ended here. What was written before is kept.")

    async def _begin_step(self, started: StepStarted) -> None:
        if started.part != "answer":
            if self.thought is None:
                self.thought = Thought(self._conversation, started.part)
                await self.thought.open()
            self._block = await self.thought.begin(started)
        elif self._answer is None:
            await self._begin_answer(started.model)

    async def _begin_answer(self, model: Model) -> None:
        self._answer = Markdown(parser_factory=parser, classes=f"answer {model}", open_links=False)
        await self._add(self._answer)

    async def _end_step(self, step: Step) -> None:
        self.steps.append(step)
        if self._block is not None and self.thought is not None and step.part != "answer":
            await self.thought.finish(step, trim=self._conversation.is_vertical_scroll_end)
            self._block = None

    async def _end_answer(self, text: str) -> None:
        self.answer_text = text
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if self._answer is not None and (shown := readable(harmless(text))) != self._answer.source:
            await self._answer.update(shown)

    async def _rewind(self, index: int) -> None:
        del self.steps[index:]
        self.finish = None
        if self.thought is not None:
            await self.thought.rewind(index)
            await self.thought.fold(False)
        if any(step.part == "answer" for step in self.steps):
            return
        void = [widget for widget in self._widgets if {"notice", "answer"} & widget.classes]
        self._widgets = [widget for widget in self._widgets if widget not in void]
        await self._conversation.remove_children(void)
        if self._answer is not None:
            self._answer = self._stream = None
            self.answer_text = ""


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
    ]

    class Redo(Message):
        """A step is to be written again by the other model."""

        def __init__(self, block: StepBlock | None) -> None:
            super().__init__()
            self.block = block

    class Copy(Message):
        """A step, or without one the last answer, is to be copied."""

        def __init__(self, block: StepBlock | None) -> None:
            super().__init__()
            self.block = block

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[TurnView] = []

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
            lines += [Content(), Content(f"This pair, {pair.name}, can do {pair.config.only} and nothing else.")]
        if pair is not None and pair.config.example:
            lines.append(Content("↑ puts an example into the box, Enter asks it."))
        await self.mount(Static(Content("\n").join(lines), classes="welcome"))

    async def begin(self, question: str) -> TurnView:
        """Add a turn."""
        await self.remove_children(".welcome")
        turn = TurnView(self, question)
        self.turns.append(turn)
        await turn.open()
        return turn

    async def take_back(self) -> None:
        """Take the last turn away."""
        if self.turns:
            await self.turns.pop().remove()

    async def note(self, message: str, *, error: bool = False) -> None:
        """Show a sentence of our own below the last turn."""
        await self.mount(Static(Content(message), classes="notice error" if error else "notice"))

    @property
    def chosen(self) -> StepBlock | None:
        """The step that has the focus."""
        return self.screen.focused if isinstance(self.screen.focused, StepBlock) else None

    async def action_choose(self, way: int) -> None:
        """Choose the step above or below; at first the last one."""
        thoughts = [turn.thought for turn in self.turns if turn.thought is not None]
        at = next((thought for thought in thoughts if self.chosen in thought.blocks), None)
        if at is not None and way < 0 and self.chosen is at.blocks[0]:
            await at.show_earlier()
        blocks = [block for thought in thoughts for block in thought.blocks if block.display]
        place = blocks.index(self.chosen) + way if self.chosen in blocks else len(blocks) - 1
        if 0 <= place < len(blocks):
            blocks[place].focus()

    async def action_fold(self) -> None:
        """Fold the chosen step or unfold it, or all thoughts."""
        if self.chosen is not None:
            self.chosen.folded = not self.chosen.folded
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
        """Ask for the chosen step anew."""
        self.post_message(self.Redo(self.chosen))

    def action_copy(self) -> None:
        """Ask for a copy."""
        self.post_message(self.Copy(self.chosen))
