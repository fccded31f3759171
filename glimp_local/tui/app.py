"""The chat: a conversation, the panel beside it, the box below it, and the keys.

Consumes what the driver tells; every key that steers calls the driver or the session and returns at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Markdown, Static
from textual.widgets.markdown import MarkdownStream

from glimp_local.config import load_catalogue
from glimp_local.events import (
    Answer,
    Finished,
    FinishReason,
    Notice,
    Rewound,
    Started,
    Stats,
    Step,
    StepEnded,
    StepStarted,
    TakenBack,
    Text,
    ThoughtEnd,
    ThoughtEnded,
)
from glimp_local.routing import Alone, Model, Share, Threshold
from glimp_local.saved import SavedSession, SavedTurn
from glimp_local.tui.composer import Composer
from glimp_local.tui.driver import Driver, Failed, Loaded, Loading, NotSaved, Told
from glimp_local.tui.maths import readable
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.steps import StepBlock, Thought, parser

NARROW = 90
"""Below so many columns there is no side panel."""
FRAME_SECONDS = 1 / 30
_THRESHOLD_STEP, _SHARE_STEP = 0.05, 0.05

THOUGHT_ENDS: dict[ThoughtEnd, str] = {
    "budget": "The tokens for the thought are spent (max_thought): it was closed and the answer written.",
    "context_full": "The context is nearly full: the thought was closed and the answer written.",
    "loop": "The thought went in circles: it was closed and the answer written.",
    "user": "You asked for the answer now.",
}
FINISHES: dict[FinishReason, str] = {
    "answer_budget": "The tokens for the answer are spent before it was finished (max_answer).",
    "context_full": "The context is full before the answer was finished.",
    "loop": "The reply went in circles and was stopped.",
    "failed": "The run could not go on; what was written so far is kept.",
    "cancelled": "Stopped; what was written so far is kept. g goes on.",
}


class Conversation(VerticalScroll, can_focus=True):
    """All turns. Its keys work on the chosen step, or on the last turn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "Step up", show=False),
        Binding("down,j", "step(1)", "Step down", show=False),
        Binding("enter,space", "fold", "Fold"),
        Binding("r", "redo", "Other model"),
        Binding("s", "app.force('small')", "Next: S"),
        Binding("l", "app.force('large')", "Next: L"),
        Binding("a", "app.answer_now", "Answer now"),
        Binding("g", "app.go_on", "Go on/again"),
        Binding("e", "app.edit", "Edit"),
        Binding("y", "copy", "Copy"),
        Binding("Y", "app.copy_all", "Copy all", show=False),
    ]

    def action_step(self, way: int) -> None:
        """Choose the step above or below."""
        blocks = [block for block in self.query(StepBlock) if block.region.height or block.display]
        if not blocks:
            return
        focused = self.screen.focused
        at = blocks.index(focused) + way if isinstance(focused, StepBlock) and focused in blocks else len(blocks) - 1
        if 0 <= at < len(blocks):
            blocks[at].focus()

    @property
    def chosen(self) -> StepBlock | None:
        """The step that has the focus."""
        return self.screen.focused if isinstance(self.screen.focused, StepBlock) else None

    def action_fold(self) -> None:
        """Fold the chosen step, or all thoughts."""
        if self.chosen is not None:
            self.chosen.action_fold()
        else:
            self.app.action_toggle_thoughts()  # type: ignore[attr-defined]  # the one app there is

    def action_redo(self) -> None:
        """Have the chosen step written again by the other model."""
        self.app.redo(self.chosen)  # type: ignore[attr-defined]  # the one app there is

    def action_copy(self) -> None:
        """Copy the chosen step, or the last answer."""
        self.app.copy(self.chosen)  # type: ignore[attr-defined]  # the one app there is


class ChatApp(App[None]):
    """`glimp chat`."""

    CSS_PATH = "app.tcss"
    TITLE = "glimp"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop / switch", priority=True),
        Binding("ctrl+t", "toggle_thoughts", "Thoughts", priority=True),
        Binding("ctrl+b", "toggle_panel", "Panel", priority=True),
        Binding("ctrl+up", "move(1)", "More S", priority=True),
        Binding("ctrl+down", "move(-1)", "More L", priority=True),
    ]

    class Woken(Message):
        """The driver has something to tell."""

    def __init__(
        self,
        pair: dict[str, Any] | None = None,
        *,
        seed: int | None = None,
        going_on: SavedSession | None = None,
        theme: str | None = None,
    ) -> None:
        super().__init__()
        self._pair = pair or {}
        self._seed = seed
        self._going_on = going_on
        self.theme = theme or "textual-dark"
        self._engines: Driver | None = None
        self._busy = False
        self._due = False
        self._steps: list[Step] = []
        self._stats: Stats | None = None
        self._question: Static | None = None
        self._thought: Thought | None = None
        self._block: StepBlock | None = None
        self._answer: Markdown | None = None
        self._answer_text = ""
        self._stream: MarkdownStream | None = None
        self._last: list[Static | Thought | Markdown] = []
        """The widgets of the last turn."""
        self._exchanges: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        with Horizontal(id="main"):
            yield Conversation(id="conversation")
            yield SidePanel()
        yield Static("", id="status")
        yield Composer()
        yield Footer()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give the two models' colours, which a theme may replace: blue and orange are told apart by nearly everybody."""
        if self.current_theme.dark:
            return {"small": "#4aa3ff", "large": "#ff9d2e"}
        return {"small": "#0060c0", "large": "#b85c00"}

    @property
    def conversation(self) -> Conversation:
        """The conversation's widget."""
        return self.query_one(Conversation)

    @property
    def composer(self) -> Composer:
        """The message box."""
        return self.query_one(Composer)

    async def on_mount(self) -> None:
        """Begin to load, with the screen there already."""
        self.conversation.anchor()
        self.composer.focus()
        self._engines = Driver(lambda: self.post_message(self.Woken()))
        if self._going_on is not None:
            for turn in self._going_on.turns:
                await self._show_saved(turn)
        self._say_status("loading")
        self._engines.load(self._pair, seed=self._seed, going_on=self._going_on)

    def on_unmount(self) -> None:
        """Stop the engines."""
        if self._engines is not None:
            self._engines.close()

    def on_resize(self, event: Any) -> None:
        """Hide the panel where there is no room for it."""
        self.set_class(event.size.width < NARROW, "narrow")

    # What the driver tells.

    def on_chat_app_woken(self) -> None:
        """Fetch it with the next frame."""
        if not self._due:
            self._due = True
            self.set_timer(FRAME_SECONDS, self._fetch)

    async def _fetch(self) -> None:
        """Show what was told since the last frame."""
        self._due = False
        assert self._engines is not None
        for told in self._engines.drain():
            await self._show(told)
        if self._steps or self._stats:
            self._show_panel()

    async def _show(self, told: Told) -> None:  # noqa: C901, PLR0912 - one short case each
        match told:
            case Loading(model, path, fraction):
                size = path.stat().st_size / 1e6
                self._say_status(f"loading {model}: {path.name}, {size:,.0f} MB, {fraction:.0%}")
            case Loaded(_, pair):
                where = " · ".join(f"{model}: {engine.name} ({engine.device})" for model, engine in pair.engines.items())
                self._say_status(f"{pair.name} · {where}")
            case Failed(error, loading):
                await self._fail(error, loading=loading)
            case NotSaved(path, error):
                await self._note(f"{path} cannot be written ({error.strerror}): the conversation goes on unsaved.", "error")
            case Started(question=question):
                await self._begin(question)
            case StepStarted(part=part):
                if part != "answer":
                    thought = await self._open_thought("thought" if part == "thought" else "reply")
                    self._block = await thought.begin(told)
                elif self._answer is None:
                    self._answer = Markdown(parser_factory=parser, classes=f"answer {told.model}", open_links=False)
                    await self._add(self._answer)
                    self._stream = Markdown.get_stream(self._answer)
            case Text(part=part, text=text):
                if part == "answer" and self._stream is not None:
                    self._answer_text += text
                    await self._stream.write(text)
                elif self._block is not None:
                    await self._block.write(text)
            case StepEnded(step):
                self._steps.append(step)
                if self._block is not None and step.part != "answer":
                    await self._block.finish(step)
                    self._block = None
                    assert self._thought is not None
                    self._thought.ended(step)
            case ThoughtEnded(reason):
                if self._thought is not None:
                    self._thought.folded = True
                if reason in THOUGHT_ENDS:
                    await self._note(THOUGHT_ENDS[reason])
            case Rewound(index):
                await self._rewind(index)
            case TakenBack():
                await self._remove_last()
            case Notice(message):
                await self._note(message)
            case Answer(text):
                await self._end_answer(text)
            case Finished(reason, _, stats):
                self._stats, self._busy = stats, False
                if reason in FINISHES:
                    await self._note(FINISHES[reason])
                self._say_status(_summary(stats))
                self.refresh_bindings()

    async def _add(self, widget: Static | Thought | Markdown) -> None:
        self._last.append(widget)
        await self.conversation.mount(widget)

    async def _begin(self, question: str) -> None:
        self._busy = True
        self._last, self._steps, self._stats = [], [], None
        self._thought = self._block = self._answer = self._stream = None
        self._answer_text = ""
        self._question = Static(Content(question), classes="question")
        await self._add(self._question)
        self._say_status("thinking")
        self.refresh_bindings()

    async def _open_thought(self, what: str) -> Thought:
        if self._thought is None:
            self._thought = Thought(what)
            await self._add(self._thought)
        return self._thought

    async def _rewind(self, index: int) -> None:
        self._busy = True
        del self._steps[index:]
        if self._thought is not None:
            await self._thought.rewind(index)
            self._thought.folded = False
        if self._answer is not None and not any(step.part == "answer" for step in self._steps):
            await self._answer.remove()
            self._last.remove(self._answer)
            self._answer = self._stream = None
            self._answer_text = ""

    async def _remove_last(self) -> None:
        for widget in self._last:
            await widget.remove()
        self._last = []

    async def _end_answer(self, text: str) -> None:
        if self._stream is not None and self._answer is not None:
            await self._stream.stop()
            self._stream = None
            if (shown := readable(text)) != text:
                await self._answer.update(shown)
        self._answer_text = text

    async def _note(self, message: str, kind: str = "") -> None:
        await self._add(Static(Content(message), classes=f"notice {kind}"))

    async def _fail(self, error: Exception, *, loading: bool) -> None:
        hint = getattr(error, "hint", None)
        await self._note(f"{error}{f' — {hint}' if hint else ''}", "error")
        self._busy = False
        self._say_status("no pair is loaded: choose one with Ctrl+P, Pair" if loading else "")

    async def _show_saved(self, turn: SavedTurn) -> None:
        await self._begin(turn.question)
        for step in turn.steps:
            if step.part == "answer":
                continue
            thought = await self._open_thought("thought" if step.part == "thought" else "reply")
            fields = {name: getattr(step, name) for name in StepStarted.__struct_fields__}
            block = await thought.begin(StepStarted(**fields))
            await block.finish(step)
            thought.ended(step)
        if self._thought is not None:
            self._thought.folded = bool(turn.answer)
        if turn.answer and any(step.part == "answer" for step in turn.steps):
            writer = next(step.model for step in turn.steps if step.part == "answer")
            answer = Markdown(readable(turn.answer), parser_factory=parser, classes=f"answer {writer}", open_links=False)
            await self._add(answer)
            self._answer_text = turn.answer
        if turn.finish is None:
            await self._note("The program ended here; the steps before are kept.")
        self._busy = False

    # What the user asks for.

    @on(Composer.Sent)
    def send(self, message: Composer.Sent) -> None:
        """Ask what was written, where that can be done now; else it stays in the box."""
        if self._busy:
            self.notify("The models are still writing: Esc stops them.")
        elif self._engines is None or self._engines.session is None:
            self.notify("The models are still loading.")
        else:
            self._busy = True
            self._engines.ask(message.text)
            self.composer.taken()

    def action_stop(self) -> None:
        """Stop the models; where none is at work, go from the message box to the steps and back."""
        if self._busy and self._engines is not None:
            self._engines.cancel()
        elif self.screen.focused is self.composer:
            self.conversation.focus()
        else:
            self.composer.focus()

    def action_toggle_thoughts(self) -> None:
        """Fold all thoughts, or unfold them if all are folded."""
        thoughts = list(self.query(Thought))
        fold = not all(thought.folded for thought in thoughts)
        for thought in thoughts:
            thought.folded = fold

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel."""
        panel = self.query_one(SidePanel)
        panel.display = not panel.display

    def action_move(self, way: int) -> None:
        """Move the threshold (or the share) so that the small (1) or the large model (-1) writes more."""
        session = self._engines.session if self._engines else None
        if session is None:
            return
        match session.policy:
            case Threshold(threshold_nats=nats):
                session.policy = Threshold(max(0.0, round(nats + way * _THRESHOLD_STEP, 2)))
            case Share(share=share) as policy:
                policy.share = min(1.0, max(0.0, round(share - way * _SHARE_STEP, 2)))
            case _:
                self.notify(f"The policy {session.policy.name!r} has nothing to move.")
        self._show_panel()

    def action_force(self, model: Model) -> None:
        """Let a model write the next step, whatever the policy says."""
        session = self._engines.session if self._engines else None
        if session is not None and self._busy:
            session.force(model)
            self.notify(f"The {model} model writes the next step.")

    def action_answer_now(self) -> None:
        """End the thought and have the answer written."""
        session = self._engines.session if self._engines else None
        if session is not None and self._busy:
            session.answer_now()

    def action_go_on(self) -> None:
        """Go on with a stopped turn; ask the last question again where it is over."""
        if self._engines is None or self._busy or self._question is None:
            return
        self._busy = True
        if self._stats is not None and not self._answer_text:
            self._engines.resume()
        else:
            self._engines.ask_again(str(self._question.content))

    def action_edit(self) -> None:
        """Put the last question back into the box."""
        if self._question is not None and not self._busy:
            self.composer.load_text(str(self._question.content))
            self.composer.focus()

    def redo(self, block: StepBlock | None) -> None:
        """Have a step of the last turn written again by the other model."""
        if self._engines is None or self._busy or block is None or self._thought is None:
            self.notify("Choose a finished step of the last turn with the arrow keys first.")
            return
        if block not in self._thought.blocks:
            self.notify("Only a step of the last turn can be written again.")
            return
        self._busy = True
        self._engines.redo(block.started.index)

    def copy(self, block: StepBlock | None) -> None:
        """Copy a step, or the last answer."""
        self._copy(block.text.strip() if block is not None else self._answer_text, "The step" if block else "The answer")

    def action_copy_all(self) -> None:
        """Copy all questions and answers."""
        session = self._engines.session if self._engines else None
        exchanges = session.exchanges if session else []
        self._copy("\n\n".join(f"{question}\n\n{answer}" for question, answer in exchanges), "The conversation")

    def _copy(self, text: str, what: str) -> None:
        from glimp_local.tui.clipboard import copy  # noqa: PLC0415 - looks for the system's tools

        if not text:
            self.notify("There is nothing to copy yet.")
            return
        self.notify(f"{what} is on the clipboard ({copy(text, self)}).")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer what the keys do, and the pairs, in the palette."""
        yield from super().get_system_commands(screen)
        yield SystemCommand("Thoughts", "Fold or unfold all thoughts", self.action_toggle_thoughts)
        yield SystemCommand("Panel", "Show or hide the side panel", self.action_toggle_panel)
        yield SystemCommand("Answer now", "End the thought and write the answer", self.action_answer_now)
        yield SystemCommand("Threshold up", "More steps to the small model", lambda: self.action_move(1))
        yield SystemCommand("Threshold down", "More steps to the large model", lambda: self.action_move(-1))
        for model in ("small", "large"):
            yield SystemCommand(f"Next step: {model}", "Whatever the policy says", lambda m=model: self.action_force(m))
            yield SystemCommand(f"Policy: {model}", f"The {model} model alone", lambda m=model: self._set(Alone(m)))
        yield SystemCommand("Policy: threshold", "Large above the pair's threshold", self._set_threshold)
        yield SystemCommand("Copy all", "The conversation to the clipboard", self.action_copy_all)
        for name in load_catalogue().pairs:
            yield SystemCommand(f"Pair: {name}", "Go on with this pair", lambda n=name: self._load(n))

    def _set(self, policy: Any) -> None:
        if self._engines is not None:
            self._engines.set_policy(policy)
            self._show_panel()

    def _set_threshold(self) -> None:
        session = self._engines.session if self._engines else None
        if session is not None:
            self._set(Threshold(session.pair.config.threshold))

    def _load(self, name: str) -> None:
        if self._engines is not None and not self._busy:
            self._engines.load({"name": name})

    # The rest of the screen.

    def _say_status(self, text: str) -> None:
        self.query_one("#status", Static).update(Content(text))

    def _show_panel(self) -> None:
        session = self._engines.session if self._engines else None
        if session is None:
            return
        policy = session.policy
        threshold = getattr(policy, "threshold_nats", None)
        deciding = {
            "threshold": f"large above {threshold} nats",
            "share": f"large for {getattr(policy, 'share', 0):.0%} of the steps",
        }.get(policy.name, f"policy {policy.name}")
        context = {model: (len(engine.ids), engine.context) for model, engine in session.pair.engines.items()}
        self.query_one(SidePanel).show(
            self._steps, self._stats, deciding=deciding, threshold=threshold, context=dict(context)
        )


def _summary(stats: Stats) -> str:
    return (
        f"{stats.steps} steps, {stats.share_steps:.0%} large · {stats.tokens:,} tokens, "
        f"{stats.share_tokens:.0%} large · {stats.seconds:.1f} s"
    )
