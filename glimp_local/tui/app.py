"""The chat: a conversation, the panel beside it, the box below it, and the keys.

Shows what the driver tells; every key that steers calls the driver or the session and returns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen, Screen

from glimp_local.errors import GlimpError
from glimp_local.load import LoadRequest
from glimp_local.models.catalogue import load_catalogue
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import Model, Policy
from glimp_local.session.session import Session
from glimp_local.tui import steering
from glimp_local.tui.clipboard import copy
from glimp_local.tui.commands import commands
from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import Conversation
from glimp_local.tui.dialogs import HelpScreen, PairScreen
from glimp_local.tui.driver import Driver
from glimp_local.tui.layout import ChatLayout
from glimp_local.tui.pump import Pump
from glimp_local.tui.steps import Line
from glimp_local.tui.told import Told


class ChatApp(ChatLayout):
    """`glimp chat`. `request` is for the first pair; `log` may have a conversation, `system` is for a new one.

    `anyway` asks the models also what the pair would decline.
    """

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
        question: str | None = None,
        anyway: bool = False,
        driver: Callable[[Callable[[], object], SessionLog, str | None], Driver] = Driver,
    ) -> None:
        super().__init__()
        self._request = request
        self._seed = seed
        self._anyway = anyway
        self._going_on = log.going_on
        self._question = question
        self.theme = theme or "textual-dark"
        self._engines = driver(lambda: self.post_message(self.Woken()), log, system)
        self._pump = Pump(self, self._engines, self.action_choose_pair)

    @property
    def saved(self) -> SessionLog:
        """Where the conversation is saved."""
        return self._engines.log

    @property
    def busy(self) -> bool:
        """Are the models at work?"""
        return self._pump.busy

    @property
    def session(self) -> Session | None:
        """The session; None until a pair is loaded."""
        return self._engines.session

    async def on_mount(self) -> None:
        """Begin to load, with the screen there already."""
        self.conversation.anchor()
        self.composer.focus()
        if self._question is not None:
            self.composer.hold(self._question)
        self.watch_terminal()
        self._engines.start()
        self._load()
        await self.conversation.welcome()
        if self._going_on is not None:
            await self.conversation.show_system(self._going_on.system)
            await self.conversation.restore(self._going_on.tree)
            for turn in self.conversation.turns:
                self.composer.remember(turn.question)
        if self._going_on is not None and self._going_on.damage is not None:
            await self.conversation.note(f"This conversation is damaged: {self._going_on.damage}", error=True)

    def _load(self) -> None:
        self._pump.begin_loading()
        self._engines.load(self._request, seed=self._seed)

    def on_unmount(self) -> None:
        """Stop the models."""
        self._engines.cancel()

    def close(self, hear: Callable[[Told], object] = lambda _: None) -> None:
        """Free the models, once the screen is gone; `hear` gets what is told of that."""
        self._engines.close(hear)

    def on_chat_app_woken(self) -> None:
        """Show what the driver tells."""
        self._pump.wake()

    # What the user asks for.

    def _can_ask(self) -> bool:
        """Can the models be asked for something? Say it where not."""
        if self.busy:
            self.notify("The models are still writing: Esc stops them.")
        elif self.session is None:
            self.notify("No pair is loaded yet." if self._pump.loading else "No pair is loaded: Ctrl+P, Pair.")
        return not self.busy and self.session is not None

    @on(Composer.Sent)
    def send(self, message: Composer.Sent) -> None:
        """Ask what was written, where that can be done now; else it stays in the box."""
        if self._can_ask():
            self.composer.taken(message.text)
            self._pump.begin(message)
            self._engines.ask(message.text, instead=message.instead, anyway=self._anyway)

    def action_stop(self) -> None:
        """Stop the models; where none is at work, go back to the message box, and there to a new message."""
        if self.busy or self._pump.loading:
            self._engines.cancel()
        elif self.composer.has_focus:
            self.composer.stop_revising()
        else:
            self.composer.focus()

    def action_move(self, way: int) -> None:
        """Move the threshold (or the share) so that the small (1) or the large model (-1) writes more."""
        if self.session is None:
            return
        if (problem := steering.move(self.session, way)) is not None:
            self.notify(problem)
        self._pump.show_panel()

    def action_policy(self, policy: Policy) -> None:
        """Let another policy decide from the next step on."""
        if self.session is not None and (problem := steering.use(self.session, policy)) is not None:
            self.notify(problem, severity="warning")
        self._pump.show_panel()

    def action_force(self, model: Model) -> None:
        """Let a model write the next step, whatever the policy says."""
        turn = self.conversation.last
        if self.session is None or turn is None or not self.busy:
            return
        said, severity = steering.force(self.session, model, answering=turn.answer is not None)
        self.notify(said, severity=severity)

    def action_answer_now(self) -> None:
        """End the thought and have the answer written."""
        if self.session is not None and self.busy:
            self.session.answer_now()

    def action_go_on(self) -> None:
        """Go on with a turn that was stopped; ask the last question again where it is over."""
        turn = self.conversation.last
        if turn is None or not self._can_ask():
            return
        self._pump.begin()
        if self.session is not None and self.session.can_resume:
            self._engines.resume()
        else:
            self._engines.ask(turn.question, instead=turn.run.turn, anyway=True)  # it was asked before

    def action_new(self) -> None:
        """Begin a new conversation; this one stays saved."""
        if self._can_ask():
            self._engines.begin_new()

    def action_edit(self) -> None:
        """Put the chosen turn's question, or the last one, into the box; sent, it takes that question's place."""
        turn = self.conversation.chosen_turn
        if turn is not None and self._can_ask():
            self.composer.revise(turn.question, turn.run.turn)

    @on(Line.Pressed)
    async def press_line(self, message: Line.Pressed) -> None:
        """Fold or unfold the thought below a heading, or bring back its earlier steps."""
        await self.conversation.press(message.line)

    @on(Conversation.Redo)
    def redo(self, message: Conversation.Redo) -> None:
        """Have a step, or the answer, of a turn written again by the other model."""
        if self._can_ask():
            self._pump.begin()
            self._engines.redo(message.turn.run.turn, message.index)

    @on(Conversation.Select)
    def select(self, message: Conversation.Select) -> None:
        """Go to another version of a turn."""
        if self._can_ask():
            self._engines.select(message.run.turn)

    def action_version(self, way: int) -> None:
        """Go to the version before (-1) or after the one that is shown of the chosen turn, or of the last one."""
        self.conversation.action_version(way)

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

        if self.busy or self._pump.loading:
            self.notify("The models are at work: Esc stops them.")
            return
        try:
            await self.push_screen(PairScreen(load_catalogue(self._request.models_file), problem), load)
        except GlimpError as error:
            await self._pump.complain(error)

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
