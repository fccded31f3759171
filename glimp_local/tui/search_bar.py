"""The line below the conversation that finds words in it, opens what is folded around them, and shows them."""

from __future__ import annotations

import re
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from glimp_local.tui.conversation import Conversation
from glimp_local.tui.places import Place, pattern, places
from glimp_local.tui.steps import StepBlock, Thought
from glimp_local.tui.turn import AnswerBlock

_LEAST = 2
"""Letters from which on words are searched as they are typed; Enter searches fewer, too."""


class SearchBar(Horizontal):
    """Searches a conversation. Leaves it as it was with Esc, and at the place that was found with Tab.

    What changes the conversation is done by the application in its turn, as all that the models write is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "go(1)", "Next"),
        Binding("up", "go(-1)", "Previous"),
        Binding("shift+enter", "go(-1)", "Previous", show=False),
        Binding("tab", "stay", "Stay here"),
        Binding("escape", "back", "Return"),
        Binding("pageup", "app.scroll(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll(1)", "Scroll down", show=False),
    ]

    def __init__(self, conversation: Conversation, before: Widget | None) -> None:
        super().__init__()
        self._conversation = conversation
        self._focus_before = before
        self._scroll_before = None if conversation.is_vertical_scroll_end else conversation.scroll_offset.y
        """None at the end, where the conversation follows what is written."""
        self._place: Place | None = None
        self._block: Widget | None = None
        self._opened: Thought | StepBlock | None = None
        """What was folded before it was searched."""
        self._marked: list[tuple[Static, Content, Content]] = []
        """What is shown with its words marked, as it was before, and as it is."""

    def compose(self) -> ComposeResult:
        """Lay the line out."""
        yield Input(placeholder="Find in the conversation…", compact=True)
        yield Static(id="count")

    def begin(self) -> None:
        """Take words, or other ones; the next key is the first of them."""
        words = self.query_one(Input)
        self.screen.set_focus(words)
        words.action_select_all()

    @on(Input.Changed)
    def _change(self, event: Input.Changed) -> None:
        event.stop()
        if len(event.value.strip()) >= _LEAST or not event.value.strip():
            self.app.call_later(self._go, 0)

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_go(1)

    def action_go(self, way: int) -> None:
        """Go to the next (1) or the previous (-1) place."""
        self.app.call_later(self._go, way)

    def action_stay(self) -> None:
        """Close, and choose what was found."""
        self.app.call_later(self._stay)

    def action_back(self) -> None:
        """Close, and leave the conversation as it was."""
        self.app.call_later(self._back)

    # In the application's turn.

    async def _go(self, way: int) -> None:
        """Show the next or previous place, or, for 0, the one there is if the words are still in it, else the next."""
        if not self.is_attached:
            return
        words = self.query_one(Input).value
        found = places([turn.run for turn in self._conversation.turns], words)
        await self._leave_place(self._next(found, way))
        count = f"{found.index(self._place) + 1:,} of {len(found):,}" if self._place in found else "not found"
        self.query_one("#count", Static).update(count if words.strip() else "")
        if self._place is not None:
            self._block = await self._reveal(self._place)
            # Only then is it laid out, and known where it is.
            self.call_after_refresh(self._point, words)

    def _next(self, found: list[Place], way: int) -> Place | None:
        if not found:
            return None
        if self._place in found:
            return found[(found.index(self._place) + way) % len(found)]
        behind = [place for place in found if self._place is not None and _order(place) > _order(self._place)]
        return (behind or found)[0] if way >= 0 else found[-1]

    async def _leave_place(self, to: Place | None) -> None:
        """Take the marks away, and fold again what was opened, unless the next place is in it, too."""
        self._unmark()
        before, self._place, self._block = self._place, to, None
        if self._opened is None or (before is not None and to is not None and to[:3] == before[:3]):
            return
        if isinstance(self._opened, Thought) and before and to and (to.turn, to.part) == (before.turn, "step"):
            return
        await self._fold()

    async def _fold(self) -> None:
        opened, self._opened = self._opened, None
        if isinstance(opened, Thought):
            if opened.heading.is_attached:
                await opened.fold(True)
        elif opened is not None:
            opened.folded = True

    async def _reveal(self, place: Place) -> Widget | None:
        """Open what hides a place; return its widget, None if it has none any more."""
        turn = self._conversation.turns[place.turn]
        if place.part == "question":
            return turn.heading
        thought = turn.thought
        if place.part == "answer" or thought is None:
            return turn.answer
        if thought.folded:
            self._opened = thought
            await thought.fold(False)
        while not (blocks := [block for block in thought.blocks if block.index == place.step]):
            if not await thought.show_earlier():
                return None
        if blocks[0].folded:
            blocks[0].folded, self._opened = False, self._opened or blocks[0]
        return blocks[0]

    def _point(self, words: str) -> None:
        """Mark the words in the paragraph, and bring it into sight."""
        block, place = self._block, self._place
        if block is None or place is None or not block.is_attached or self._marked:
            return
        wanted = pattern(words)
        texts = [block] if isinstance(block, Static) else list(block.query(Static))
        having = [each for each in texts if isinstance(each.content, Content) and wanted.search(each.content.plain)]
        target = having[min(place.nth, len(having) - 1)] if having else block
        if having:
            self._mark(target, wanted)
        self._conversation.release_anchor()
        self._conversation.scroll_to_widget(target, animate=False, center=True, force=True)

    def _mark(self, text: Widget, wanted: re.Pattern[str]) -> None:
        if isinstance(text, Static) and isinstance(text.content, Content):
            marked = text.content.highlight_regex(wanted, style="reverse")
            self._marked.append((text, text.content, marked))
            text.update(marked, layout=False)

    def _unmark(self) -> None:
        for text, before, marked in self._marked:
            if text.content is marked:  # and not what has been written there since
                text.update(before, layout=False)
        self._marked.clear()

    async def _stay(self) -> None:
        self._unmark()
        block = self._block
        chosen = block if isinstance(block, StepBlock | AnswerBlock) and block.is_attached else self._conversation
        self.screen.set_focus(chosen, scroll_visible=False)  # first: removing what has it would give it to another one
        await self.remove()

    async def _back(self) -> None:
        self._unmark()
        await self._fold()
        if self._scroll_before is None:
            self._conversation.anchor()
        else:
            self._conversation.scroll_to(y=self._scroll_before, animate=False)
        if self._focus_before is not None and self._focus_before.is_attached:
            self.screen.set_focus(self._focus_before, scroll_visible=False)
        await self.remove()


def _order(place: Place) -> tuple[int, int, int, int]:
    return place.turn, ("question", "step", "answer").index(place.part), place.step, place.nth
