"""The conversation on the screen: what of it is chosen, and the keys that work on that."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from glimp_local.events import AnyEvent, Started
from glimp_local.runs import Decided, Run
from glimp_local.tui.steps import Line, StepBlock
from glimp_local.tui.system_message import SystemBlock
from glimp_local.tui.turn import AnswerBlock, QuestionBlock, TurnView
from glimp_local.tui.turns import Turns

_Block = QuestionBlock | StepBlock | AnswerBlock | SystemBlock
"""What can be chosen."""

STEERING = frozenset("sla")
"""Keys that do something only while the models write."""


class Conversation(Turns, can_focus=True):
    """All turns. Its keys work on the chosen step, or on the last turn; it tells the application what is wanted.

    A step is chosen by the focus, or by a click. A click leaves the focus in the message box.
    """

    FOCUS_ON_CLICK = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)", "Step above", show=False),
        Binding("down,j", "choose(1)", "Step below", show=False),
        Binding("enter,space", "fold", "Fold"),
        Binding("r", "redo", "Other model"),
        Binding("s", "app.force('small')", "Next: S"),
        Binding("l", "app.force('large')", "Next: L"),
        Binding("a", "app.answer_now", "Answer now"),
        Binding("g", "app.go_on", "Continue/again"),
        Binding("e", "app.edit", "Edit"),
        Binding("left", "version(-1)", "Version before", show=False),
        Binding("right", "version(1)", "Version after", show=False),
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

    class Select(Message):
        """The conversation is to continue behind this version of a turn."""

        def __init__(self, run: Run) -> None:
            super().__init__()
            self.run = run

    class Chosen(Message):
        """Another step, or none, is chosen."""

    class Copy(Message):
        """A text is to be copied."""

        def __init__(self, what: str, text: str) -> None:
            super().__init__()
            self.what = what
            self.text = text

    def __init__(self) -> None:
        super().__init__()
        self._clicked: _Block | None = None

    async def show(self, event: AnyEvent) -> None:
        """Show an event; with another question nothing is chosen any more."""
        if isinstance(event, Started):
            self._click(None)
        await super().show(event)

    async def _show_versions(self) -> int:
        """Show the versions; if the chosen turn gives way to another version, choose that one's question."""
        block = self.block
        chosen = next((at for at, turn in enumerate(self.turns) if block in turn.blocks), -1)
        same = await super()._show_versions()
        if same <= chosen < len(self.turns):
            heading = self.turns[chosen].heading
            self._choose(heading, scroll_visible=False)
            self.call_after_refresh(heading.scroll_visible, animate=False)  # it has no place yet
        return same

    @property
    def block(self) -> _Block | None:
        """What is chosen."""
        focused = self.screen.focused
        if isinstance(focused, _Block):
            return focused
        return self._clicked if self._clicked is not None and self._clicked.is_attached else None

    @property
    def chosen(self) -> StepBlock | AnswerBlock | None:
        """The step, or answer, that is chosen."""
        return block if isinstance(block := self.block, StepBlock | AnswerBlock) else None

    @property
    def decided(self) -> Decided | None:
        """What is known of how the chosen step, or answer, began; of the last step if none is chosen."""
        match self.chosen:
            case StepBlock(step=step, started=started):
                return step or started
            case AnswerBlock(decided=decided):
                return decided
        turn = self.chosen_turn
        return turn.run.steps[-1] if turn is not None and turn.run.steps else None

    @property
    def chosen_turn(self) -> TurnView | None:
        """The turn that what is chosen belongs to, else the last one."""
        block = self.block
        return next((turn for turn in self.turns if block in turn.blocks), self.last)

    def on_click(self, event: events.Click) -> None:
        """Choose what is clicked."""
        around = (event.widget, *event.widget.ancestors) if event.widget is not None else ()
        if block := next((widget for widget in around if isinstance(widget, _Block)), None):
            self._choose(block)

    def _choose(self, block: _Block, *, scroll_visible: bool = True) -> None:
        """Choose a block: by the focus if the keys are for the steps, else as a click does."""
        if self.has_focus or isinstance(self.screen.focused, _Block):
            self.screen.set_focus(block, scroll_visible=scroll_visible)
        else:
            self._click(block)

    def _click(self, block: _Block | None) -> None:
        if self._clicked is not None:
            self._clicked.remove_class("chosen")
        self._clicked = block
        if block is not None:
            block.add_class("chosen")
        self.post_message(self.Chosen())

    def take_focus(self) -> None:
        """Let the keys be for the steps, for the chosen one if there is one."""
        self.screen.set_focus(self.block or self)

    def on_descendant_focus(self) -> None:
        """Tell that another block is chosen."""
        self._click(None)

    def on_descendant_blur(self) -> None:
        """Tell that none is."""
        self.post_message(self.Chosen())

    async def action_choose(self, way: int) -> None:
        """Choose a question, step, answer or the system message, above or below; at first the last, else scroll."""
        for thought in [turn.thought for turn in self.turns if turn.thought is not None]:
            if way < 0 and thought.blocks and self.chosen is thought.blocks[0]:
                await thought.show_earlier()
        blocks: list[Widget] = [block for turn in self.turns for block in turn.blocks]
        if self.system is not None:
            blocks.insert(0, self.system)
        block = self.block
        place = blocks.index(block) + way if block in blocks else len(blocks) - 1
        if 0 <= place < len(blocks):
            self.screen.set_focus(blocks[place])  # at once: the next key may be here already
        elif way < 0:
            self.scroll_up()
        else:
            self.scroll_on()

    async def action_fold(self) -> None:
        """Fold or unfold what is chosen: the system message, a step, or the thought of a turn; else all thoughts."""
        match self.block:
            case SystemBlock() | StepBlock() as block:
                block.folded = not block.folded
            case QuestionBlock(turn=turn) | AnswerBlock(turn=turn):
                if turn.thought is not None:
                    await turn.thought.fold(not turn.thought.folded)
            case _:
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
        """Ask for the chosen step, or answer, to be written again."""
        for turn in self.turns:
            if self.chosen is not None and self.chosen in turn.blocks:
                self.post_message(self.Redo(turn, self.chosen.index))
                return
        self.notify("Choose a step first: click it, or Tab and the arrow keys.")

    def action_version(self, way: int) -> None:
        """Ask for the version before (-1) or after the one that is shown of the chosen turn, or of the last one."""
        turn, tree = self.chosen_turn, self._fold.tree
        if turn is None:
            return
        versions = tree.siblings(turn.run)
        at = versions.index(turn.run) + way
        if 0 <= at < len(versions):
            self.post_message(self.Select(tree.end_of(versions[at])))
        elif len(versions) == 1:
            self.notify("There is one version of this turn: r and e make others.")

    def action_copy(self) -> None:
        """Ask for a copy of what is chosen, or of the last answer."""
        match self.block:
            case SystemBlock(text=text):
                self.post_message(self.Copy("The system message", text))
            case StepBlock(text=text):
                self.post_message(self.Copy("The step", text.strip()))
            case QuestionBlock(turn=turn):
                self.post_message(self.Copy("The question", turn.question))
            case AnswerBlock(turn=turn):
                self.post_message(self.Copy("The answer", turn.text))
            case _:
                self.post_message(self.Copy("The answer", self.last.text if self.last else ""))
