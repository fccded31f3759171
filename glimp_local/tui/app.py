"""The chat: a conversation, the panel beside it, the box below it, and the keys.

Shows what the driver tells; every key that steers calls the driver or the session and returns at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar

from textual import events, on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from glimp_local.errors import GlimpError, UsageError
from glimp_local.events import Finished, Rewound, Started, StepStarted, TakenBack, Text
from glimp_local.load import LoadRequest
from glimp_local.models.catalogue import load_catalogue
from glimp_local.pair import Pair
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import Model, Policy, Share, Threshold
from glimp_local.session.session import Session
from glimp_local.tui import status
from glimp_local.tui.clipboard import copy
from glimp_local.tui.commands import commands
from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import Conversation
from glimp_local.tui.dialogs import HelpScreen, PairScreen
from glimp_local.tui.driver import CachesLost, Driver, Failed, Loaded, Loading, MovingCaches, Saving, TakenUp, Told
from glimp_local.tui.filter import Harmless
from glimp_local.tui.frames import Frames
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.steps import Line

NARROW = 90
"""Below so many columns there is no side panel."""
_BUSY_SECONDS = 1 / 30
"""So long at most the keys wait for a frame."""
_PANEL_SECONDS = 1.0
"""The figures beside the conversation are drawn anew so often; after a step, with the next frame."""
_HARMLESS = Harmless()
_HUNG_UP = 129
"""Exit code, as if SIGHUP had come."""
_TERMINAL_SECONDS = 2.0
"""How often it is looked whether the terminal is still there."""
_MOVE = 0.05
"""A key moves the threshold by so many nats, or the share by so much."""


class ChatApp(App[None]):
    """`glimp chat`. `request` is for the first pair; `log` may have a conversation, `system` is for a new one."""

    CSS_PATH = "app.tcss"
    TITLE = "glimp"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop"),
        Binding("tab,shift+tab", "switch", "Steps/box", priority=True),
        Binding("ctrl+t", "fold_thoughts", "Thoughts"),
        Binding("ctrl+b", "toggle_panel", "Panel"),
        Binding("ctrl+up", "move(1)", "More S"),
        Binding("ctrl+down", "move(-1)", "More L"),
        Binding("f1", "help", "Keys"),
        Binding("ctrl+p", "command_palette", "All"),
    ]

    class Woken(Message):
        """The driver has something to tell."""

    def __init__(
        self,
        request: LoadRequest,
        log: SessionLog,
        *,
        seed: int | None = None,
        theme: str | None = None,
        system: str | None = None,
        driver: Callable[[Callable[[], object], SessionLog, str | None], Driver] = Driver,
    ) -> None:
        super().__init__()
        self._request = request
        self._seed = seed
        self._going_on = log.going_on
        self.theme = theme or "textual-dark"
        self._engines = driver(lambda: self.post_message(self.Woken()), log, system)
        self._backlog: deque[Told] = deque()
        self._due = False
        self._frames = Frames()
        self._panel_due = 0.0
        self._asked: Composer.Sent | None = None
        """The message on its way to the models."""
        self._loading = False
        self.busy = False
        """Are the models at work?"""

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        self.conversation = Conversation()
        self.composer = Composer()
        self._panel = SidePanel()
        self._status = Static(id="status")
        with Horizontal(id="main"):
            yield self.conversation
            yield self._panel
        yield self._status
        yield self.composer
        yield Footer(compact=True, show_command_palette=False)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give the two models' colours, which a theme may replace: blue and orange, told apart by nearly everybody."""
        if self.current_theme.dark:
            return {"small": "#4aa3ff", "large": "#ff9d2e"}
        return {"small": "#0060c0", "large": "#b85c00"}

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Let nothing but Textual's own escapes reach the terminal, whatever widget it is in."""
        return [*super().get_line_filters(), _HARMLESS]

    @property
    def saved(self) -> SessionLog:
        """Where the conversation is saved."""
        return self._engines.log

    @property
    def session(self) -> Session | None:
        """The session; None until a pair is loaded."""
        return self._engines.session

    async def on_mount(self) -> None:
        """Begin to load, with the screen there already."""
        self.conversation.anchor()
        self.composer.focus()
        for name in ("SIGTERM", "SIGHUP"):
            # Like a quit: the terminal is left as it was found. Not every system has both.
            with suppress(AttributeError, NotImplementedError, RuntimeError):
                number = getattr(signal, name)
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        if os.isatty(0) and not self.is_headless:
            self.set_interval(_TERMINAL_SECONDS, self._check_terminal)
        self._engines.start()
        self._load()
        await self.conversation.welcome()
        for saved in self._going_on.turns if self._going_on else []:
            turn = await self.conversation.begin(saved.asked)
            await turn.show_saved(saved)
            self.composer.remember(saved.asked)
        if self._going_on is not None and self._going_on.damage is not None:
            await self.conversation.note(f"This conversation is damaged: {self._going_on.damage}", error=True)

    def _check_terminal(self) -> None:
        """Leave when the terminal is gone: not every one that goes says so by a signal."""
        if not os.isatty(0):
            self.exit(None, _HUNG_UP)

    def _load(self) -> None:
        self._loading = True
        self._say("loading")
        self._engines.load(self._request, seed=self._seed)

    def on_unmount(self) -> None:
        """Stop the models."""
        self._engines.cancel()

    def close(self, hear: Callable[[Told], object] = lambda _: None) -> None:
        """Free the models, once the screen is gone; `hear` gets what is told of that."""
        self._engines.close(hear)

    def on_resize(self, event: events.Resize) -> None:
        """Hide the panel where there is no room for it."""
        self.set_class(event.size.width < NARROW, "narrow")

    # What the driver tells.

    def on_chat_app_woken(self) -> None:
        """Fetch it with the next frame."""
        if not self._due:
            self._due = True
            wait = self._frames.wait_seconds(behind=bool(self._backlog))
            # A timer's callback runs beside the handlers of keys, and what both change would get mixed up: by way of
            # the queue they take turns.
            self.set_timer(wait, lambda: self.call_later(self._fetch))

    async def _fetch(self) -> None:
        """Show what was told since the last frame: what there is time for, so that keys never wait for long."""
        self._due = False
        self._backlog.extend(self._engines.drain())
        until = monotonic() + _BUSY_SECONDS
        with self.batch_update():
            while self._backlog and monotonic() < until and self.conversation.is_attached:
                told = self._backlog.popleft()
                await self._show(told)
                if not isinstance(told, Text | StepStarted):
                    self._panel_due = 0.0
            if monotonic() >= self._panel_due:
                self._show_panel()
        if self._backlog and self.conversation.is_attached:
            self.on_chat_app_woken()

    async def _show(self, told: Told) -> None:
        turn = self.conversation.last
        match told:
            case Loading(model, path, fraction):
                self._say(status.loading(model, path, fraction))
            case Loaded():
                await self._welcome(told.pair, anew=told.anew)
            case Failed(error):
                await self._fail(error)
            case Saving() | MovingCaches() | TakenUp() | CachesLost():
                await self._show_files(told)
            case Started(question=question):
                self._is_busy(True)
                self._asked = None
                await self.conversation.begin(question)
            case TakenBack():
                await self.conversation.take_back()
            case _ if turn is not None:
                if isinstance(told, Rewound):
                    self._is_busy(True)
                await turn.show(told)
                if isinstance(told, Finished):
                    self._is_busy(False)
                    self._say(status.finished(told.stats))
            case _:
                pass

    async def _show_files(self, told: Saving | MovingCaches | TakenUp | CachesLost) -> None:
        match told:
            case Saving(path, error):
                await self.conversation.note(status.saving(path, error), error=error is not None)
            case MovingCaches(size, to_disk):
                self._say(status.moving(size, to_disk=to_disk))
            case TakenUp(tokens):
                await self.conversation.note(status.taken_up(tokens))
            case CachesLost(lost):
                await self._note(lost)

    async def _welcome(self, pair: Pair, *, anew: bool) -> None:
        """Say what is loaded, and where the conversation has not begun, what can be asked."""
        if anew:
            await self.conversation.clear()
        self._loading = False
        self._frames.make_room(pair)
        self._say(status.loaded(pair))
        self.refresh_bindings()
        if not self.conversation.turns:
            await self.conversation.welcome(pair)
            if pair.config.example:
                self.composer.remember(pair.config.example)

    def _is_busy(self, busy: bool) -> None:
        self.busy = busy
        self.composer.cursor_blink = not busy  # each blink is a frame
        if busy:
            self._say("thinking · Esc stops")
        self.refresh_bindings()

    async def _fail(self, error: GlimpError) -> None:
        self._is_busy(False)
        self._loading = False
        self._say("" if self.session else "no pair is loaded: Ctrl+P, Pair")
        if self._asked is not None:
            self.composer.give_back(self._asked.text, instead=self._asked.instead)
            self._asked = None
        if self.session is None:
            await self.action_choose_pair(error)
        else:
            await self._note(error)

    async def _note(self, error: GlimpError) -> None:
        await self.conversation.note(f"{error}. {error.hint}" if error.hint else str(error), error=True)

    # What the user asks for.

    def _can_ask(self) -> bool:
        """Can the models be asked for something? Say it where not."""
        if self.busy:
            self.notify("The models are still writing: Esc stops them.")
        elif self.session is None:
            self.notify("No pair is loaded yet." if self._loading else "No pair is loaded: Ctrl+P, Pair.")
        return not self.busy and self.session is not None

    @on(Composer.Sent)
    def send(self, message: Composer.Sent) -> None:
        """Ask what was written, where that can be done now; else it stays in the box."""
        if self._can_ask():
            self._asked = message
            self.composer.taken(message.text)
            self._is_busy(True)
            self._engines.ask(message.text, instead=message.instead)

    def action_stop(self) -> None:
        """Stop the models; where none is at work, go back to the message box, and there to a new message."""
        if self.busy or self._loading:
            self._engines.cancel()
        elif self.composer.has_focus:
            self.composer.stop_revising()
        else:
            self.composer.focus()

    def action_switch(self) -> None:
        """Go from the message box to the steps, and back."""
        (self.conversation if self.composer.has_focus else self.composer).focus()

    def action_scroll(self, way: int) -> None:
        """Scroll the conversation by a page."""
        if way < 0:
            self.conversation.scroll_page_up()
        else:
            self.conversation.scroll_page_down()

    async def action_fold_thoughts(self) -> None:
        """Fold or unfold all thoughts."""
        await self.conversation.fold_thoughts()

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel."""
        if self.has_class("narrow"):
            self.notify(f"The panel needs {NARROW} columns.")
        else:
            self.toggle_class("without-panel")

    def action_move(self, way: int) -> None:
        """Move the threshold (or the share) so that the small (1) or the large model (-1) writes more."""
        if self.session is None:
            return
        match self.session.policy:
            case Threshold(threshold_nats=nats):
                self.session.policy = Threshold(max(0.0, round(nats + way * _MOVE, 2)))
            case Share() as policy:
                policy.share = min(1.0, max(0.0, round(policy.share - way * _MOVE, 2)))
            case policy:
                self.notify(f"The policy {policy.name!r} has nothing to move.")
        self._show_panel()

    def action_policy(self, policy: Policy) -> None:
        """Let another policy decide from the next step on."""
        try:
            if self.session is not None:
                self.session.policy = policy
        except UsageError as error:
            self.notify(str(error), severity="warning")
        self._show_panel()

    def action_force(self, model: Model) -> None:
        """Let a model write the next step, whatever the policy says."""
        turn = self.conversation.last
        if self.session is None or turn is None or not self.busy:
            return
        if turn.answer is not None and self.session.pair.config.answer_by != "route":
            self.notify("The thought is over. When the answer is there, r has the other model write it.")
            return
        try:
            self.session.force(model)
        except UsageError as error:
            self.notify(str(error), severity="warning")
        else:
            self.notify(f"The {model} model writes the next step.")

    def action_answer_now(self) -> None:
        """End the thought and have the answer written."""
        if self.session is not None and self.busy:
            self.session.answer_now()

    def action_go_on(self) -> None:
        """Go on with a turn that was stopped; ask the last question again where it is over."""
        turn = self.conversation.last
        if turn is None or not self._can_ask():
            return
        self._is_busy(True)
        if self.session is not None and self.session.can_resume:
            self._engines.resume()
        else:
            self._engines.ask(turn.question, instead=True)

    def action_new(self) -> None:
        """Begin a new conversation; this one stays saved."""
        if self._can_ask():
            self._engines.begin_anew()

    def action_edit(self) -> None:
        """Put the last question back into the box; sent, it takes that question's place."""
        turn = self.conversation.last
        if turn is not None and self._can_ask():
            self.composer.revise(turn.question)

    @on(Line.Pressed)
    async def press_line(self, message: Line.Pressed) -> None:
        """Fold or unfold the thought below a heading, or bring back its earlier steps."""
        await self.conversation.press(message.line)

    @on(Conversation.Redo)
    def redo(self, message: Conversation.Redo) -> None:
        """Have a step, or the answer, of the last turn written again by the other model."""
        if not self._can_ask():
            return
        if message.turn is not self.conversation.last:
            self.notify("Only steps of the last turn can be written again.")
        else:
            self._is_busy(True)
            self._engines.redo(message.index)

    @on(Conversation.Copy)
    def copy(self, message: Conversation.Copy) -> None:
        """Copy a step or an answer."""
        self._copy(message.what, message.text)

    def action_copy_all(self) -> None:
        """Copy all questions and answers."""
        turns = self.conversation.turns
        self._copy("The conversation", "\n\n".join(f"{turn.question}\n\n{turn.text}".rstrip() for turn in turns))

    def _copy(self, what: str, text: str) -> None:
        if text:
            self.notify(f"{what} is on the clipboard ({copy(text, self)}).")
        else:
            self.notify("There is nothing to copy yet.")

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(HelpScreen())

    async def action_choose_pair(self, problem: GlimpError | None = None) -> None:
        """Show the pairs and load the chosen one; the conversation goes on with it."""

        def load(name: str | None) -> None:
            if name is not None:
                self._request = self._request.named(name)
                self._load()

        if self.busy or self._loading:
            self.notify("The models are at work: Esc stops them.")
            return
        try:
            await self.push_screen(PairScreen(load_catalogue(self._request.models_file), problem), load)
        except GlimpError as error:
            await self._note(error)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Offer a key where it does something now."""
        if action == "switch":
            return not isinstance(self.screen, ModalScreen)
        if action in {"force", "answer_now"}:
            return self.busy
        if action in {"go_on", "edit"}:
            return not self.busy and self.conversation.last is not None
        return True

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer in the palette what the keys do, policies and pairs."""
        yield from super().get_system_commands(screen)
        yield from commands(self)

    # The rest of the screen.

    def _say(self, text: str) -> None:
        self._status.update(Content(text), layout=False)

    def _show_panel(self) -> None:
        self._panel_due = monotonic() + _PANEL_SECONDS
        turn = self.conversation.last
        if self.session is not None:
            steps, stats = (turn.steps, turn.stats) if turn else ([], None)
            self._panel.show(steps, stats, self.session, self._engines.memory_bytes)
