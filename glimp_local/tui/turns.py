"""The turns of a conversation on the screen, one below the other, in the versions that it consists of."""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from glimp_local.events import AnyEvent, Fold, Rewound, Selected, Started, TakenBack
from glimp_local.pair import Pair
from glimp_local.records.daily import first_today
from glimp_local.records.saved import SavedSession
from glimp_local.runs import Run
from glimp_local.text import harmless, one_line
from glimp_local.tree import Tree
from glimp_local.tui.system_message import SystemBlock
from glimp_local.tui.turn import TurnView


class Turns(VerticalScroll):
    """All turns, and what stands around them: the welcome, the system message, sentences of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[TurnView] = []
        self._fold = Fold()
        """What is shown, and the versions that are not."""
        self.system: SystemBlock | None = None
        """What stands above the first question; None if the models are told nothing before it."""

    def release_anchor(self) -> None:
        """Leave the end of the conversation, where there is anything to scroll.

        Textual puts a short anchored text at the bottom by scrolling beyond its top; released there, it would stay
        where it is while it changes, out of sight, and could not be scrolled back.
        """
        if self.max_scroll_y > 0:
            super().release_anchor()

    def scroll_on(self) -> None:
        """Scroll down by a page; at the end, follow what comes."""
        if self.max_scroll_y - self.scroll_y <= self.size.height:
            self.anchor()
        else:
            self.scroll_page_down()

    def watch_virtual_size(self) -> None:
        """Go back to the end when everything is in sight again."""
        if self.max_scroll_y == 0:
            self.call_after_refresh(self.anchor)

    @property
    def versions(self) -> Tree:
        """The conversation in all its versions."""
        return self._fold.tree

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
            Content("Esc stops them · F1 shows all keys · Ctrl+P all commands · / lists them here"),
        ]
        if pair is not None and pair.config.only:
            lines += [
                Content(),
                Content(one_line(f"This pair, {pair.name}, can do {pair.config.only} and nothing else.")),
            ]
            if pair.offer is not None and first_today("offer"):
                lines.append(Content(one_line(f"One that reasons about anything: {pair.offer}")))
        if pair is not None and pair.config.example:
            lines.append(Content("↑ puts an example into the box, Enter asks it."))
        if pair is not None and pair.plan is not None:
            lines += [Content(), Content(one_line(pair.placement)).stylize("dim")]
        await self.mount(Static(Content("\n").join(lines), classes="welcome"))

    async def show_system(self, text: str | None) -> None:
        """Show the conversation's system message above everything else."""
        if text == (None if self.system is None else self.system.text):
            return
        if self.system is not None:
            await self.system.remove()
            self.system = None
        if text is not None:
            self.system = SystemBlock(text)
            await self.mount(self.system, before=0 if self.children else None)

    async def show(self, event: AnyEvent) -> None:
        """Show an event; whatever its turn, it is the last one then."""
        named = event.of if isinstance(event, Rewound) else event.turn if isinstance(event, TakenBack) else None
        if named is not None and named != self._fold.tree.at:
            await self.show(Selected(named))
        self._fold.take(event)
        match event:
            case Started():
                await self.show_system(event.system)
                await self._begin(self._fold.runs[-1])
                self._count()
                self.anchor()  # what was asked is to be seen, wherever one was
            case Rewound(index):
                await self.turns[-1].rewind(self._fold.runs[-1], index)
                self._count()
            case TakenBack() | Selected():
                await self._show_versions()
            case _:
                await self.turns[-1].show(event)

    async def _show_versions(self) -> int:
        """Show the turns of the conversation in the versions that it consists of; return how many stay as they were."""
        runs, same = self._fold.runs, 0
        for turn, run in zip(self.turns, runs, strict=False):
            if turn.run is not run:
                break
            same += 1
        for turn in reversed(self.turns[same:]):
            await turn.remove()
        del self.turns[same:]
        for run in runs[same:]:
            await (await self._begin(run, is_new=False)).show_saved()
        self._count()
        return same

    def _count(self) -> None:
        """Show on each turn how many versions of it there are."""
        for turn in self.turns:
            versions = self._fold.tree.siblings(turn.run)
            turn.heading.place(versions.index(turn.run) + 1, len(versions))

    async def _begin(self, run: Run, *, is_new: bool = True) -> TurnView:
        """Add a turn: at the end if it is new, else behind the turn before it."""
        await self.remove_children(".welcome")
        turn = TurnView(self, run, keeps_open=not self.turns)  # the first one shows how it is done
        before = self.last
        self.turns.append(turn)
        if is_new or not self.children:
            await turn.open()
        elif before is not None:
            await turn.open(after=before.end)
        elif self.system is not None:
            await turn.open(after=self.system)
        else:
            await turn.open(before=0)
        return turn

    async def restore(self, saved: SavedSession) -> None:
        """Show a saved conversation in the place of what is there."""
        await self.clear()
        await self.show_system(saved.system)
        self._fold = Fold(saved.tree.copy())
        await self._show_versions()
        if not self.turns:
            await self.welcome()
        if saved.damage is not None:
            await self.note(f"This conversation is damaged: {saved.damage}", error=True)
        self.anchor()

    async def clear(self) -> None:
        """Take everything away."""
        self.turns.clear()
        self._fold = Fold()
        self.system = None
        await self.remove_children()

    async def note(self, message: str, *, error: bool = False) -> None:
        """Show a sentence of our own below the last turn."""
        await self.mount(Static(Content(harmless(message)), classes="notice error" if error else "notice"))

    async def decline(self, question: str, reason: str) -> None:
        """Show a question that was not asked, and why."""
        await self.mount(Static(Content(harmless(question)), classes="question"))
        await self.note(reason)
