"""The chat: a conversation, the panel beside it, the box below it, and the keys.

Shows what the driver tells; every key that steers calls the driver or the session and returns at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import ClassVar

from msgspec.structs import replace
from textual import on
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from glimp_local.errors import GlimpError, UsageError
from glimp_local.routing import Model, PolicyName
from glimp_local.session.session import Session
from glimp_local.settings import RunSettings
from glimp_local.tui import status, steering
from glimp_local.tui.attachments import file_at
from glimp_local.tui.chat_screens import ChatScreens
from glimp_local.tui.clipboard import copy
from glimp_local.tui.commands import Command, completions, typed
from glimp_local.tui.composer import Composer
from glimp_local.tui.conversation import Conversation
from glimp_local.tui.look import WITHOUT_PANEL
from glimp_local.tui.palette import Palette
from glimp_local.tui.reasons import deciding, why
from glimp_local.tui.screens.confirm import ConfirmScreen
from glimp_local.tui.screens.dialog import Dialog
from glimp_local.tui.steps import Line
from glimp_local.tui.turn import TurnView

_TWICE_SECONDS = 3.0
"""Within this time a second Ctrl+C quits."""
_HINT_SECONDS = 4.0


class ChatApp(ChatScreens):
    """`glimp chat`. `request` is for the first pair; `log` may have a conversation, `system` is for a new one.

    `theme` is for this run; without one it is the theme that was chosen last. `anyway` asks the models also what the
    pair would decline.
    """

    CSS_PATH = "app.tcss"
    TITLE = "glimp"
    COMMANDS = {Palette}  # noqa: RUF012 - Textual's way
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop"),
        Binding("tab,shift+tab", "switch", "Steps/box", priority=True),
        Binding("ctrl+t", "fold_thoughts", "Thoughts"),
        Binding("ctrl+b", "toggle_panel", "Panel"),
        Binding("ctrl+o", "conversations", "Open"),
        # In its turn before the words that are typed behind it.
        Binding("ctrl+f", "find", "Find", show=False, priority=True),
        Binding("ctrl+up", "move(1)", "More S"),
        Binding("ctrl+down", "move(-1)", "More L"),
        Binding("ctrl+s", "settings", "Settings", show=False),
        Binding("f1", "help", "Keys"),
        Binding("ctrl+p", "command_palette", "All"),
        Binding("ctrl+c", "interrupt", show=False),
    ]

    _interrupted = -_TWICE_SECONDS
    """When Ctrl+C was pressed last at rest."""

    async def on_mount(self) -> None:
        """Begin to load, with the screen there already."""
        self.conversation.anchor()
        self.composer.completes = partial(completions, self)
        self.composer.measure = lambda text: status.size(text, self._engines.measure(text))
        self.composer.focus()
        if self._question is not None:
            self.composer.hold(self._question)
        self.watch_terminal()
        self._look.follow()
        self._engines.start()
        self._load()
        if self._going_on is None:
            await self.conversation.welcome()
            return
        await self.conversation.restore(self._going_on)
        self._pump.recall(self._going_on)

    # What the user asks for.

    @on(Composer.Sent)
    async def send(self, message: Composer.Sent) -> None:
        """Do what was written, or ask it, if that can be done now; else it stays in the box."""
        try:
            if message.text.startswith("/"):
                await self._obey(message)
            elif self._can_ask():
                question = message.question
                self.composer.taken(message.text)
                self._pump.begin(message)
                self._engines.ask(question, instead=message.instead, anyway=self._anyway)
        except GlimpError as error:
            self._warn(error)

    def _warn(self, error: GlimpError) -> None:
        self.notify(status.failed(error), severity="warning", markup=False)

    async def _obey(self, message: Composer.Sent) -> None:
        """Do a command that was typed; one that cannot be done stands in the box again."""
        command, argument = typed(self, message.text)
        self.composer.taken(message.text)
        try:
            if (doing := command.run(argument)) is not None:
                await doing
        except GlimpError:
            self.composer.take_back(message)
            raise

    def attach(self, path: str) -> None:
        """Mention a file in the message, so that its text is sent with it. Raises UsageError if there is none."""
        if file_at(path) is None:
            raise UsageError(f"there is no file {path}" if path else "/file needs a path", hint="Tab completes it")
        self.composer.mention(path)

    def set_share(self, typed: str) -> None:
        """Let the large model write this share of the steps. Raises UsageError."""
        self._steer(lambda settings: steering.share(settings, typed))

    def set_threshold(self, typed: str) -> None:
        """Let the large model write above this entropy. Raises UsageError."""
        self._steer(lambda settings: steering.threshold(settings, typed))

    def _steer(self, change: Callable[[RunSettings], RunSettings]) -> None:
        if self.session is None or self.settings is None:
            raise UsageError("no pair is loaded yet", hint="it can be set once one is")
        steering.use(self.session, change(self.settings))
        self._show_policy(self.session)

    @property
    def settings(self) -> RunSettings | None:
        """The settings of the next question; None until a pair is loaded."""
        return self._engines.settings

    async def action_interrupt(self) -> None:
        """Stop the models; at rest, close a dialog or empty the box (its text can be recalled); twice, quit."""
        if self.busy or self._pump.loading:
            self._engines.cancel()
        elif isinstance(self.screen, Dialog):
            self.screen.action_leave()
        elif isinstance(self.screen, ModalScreen):  # the palette
            self.screen.dismiss(None)
        elif self.composer.text:
            self.composer.put_aside()
        elif monotonic() - self._interrupted < _TWICE_SECONDS:
            await self.action_quit()
        else:
            self._interrupted = monotonic()
            is_saved = "" if self.saved.error else "; the conversation is saved"
            self.status.hint(f"Ctrl+C again quits{is_saved}.", seconds=_TWICE_SECONDS)

    async def action_quit(self) -> None:
        """Leave the chat; if the end of the conversation is not on the disk, only if that is meant."""
        if (error := self.saved.error) is None:
            self.exit()
            return
        what = f"The end of the conversation is not saved ({error.strerror or error})."
        await self.push_screen(
            ConfirmScreen(f"{what} Quit all the same?", "Quit", "Stay"), lambda agreed: self.exit() if agreed else None
        )

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
        self._show_policy(self.session)

    def _show_policy(self, session: Session) -> None:
        """Show who decides from now on: in the panel, or in the status line where there is none."""
        self._pump.show_panel()
        if not self._has_panel:
            self.status.hint(f"From the next step: {deciding(session.policy)}.", seconds=_HINT_SECONDS)

    @property
    def _has_panel(self) -> bool:
        return not (self.has_class("narrow") or self.has_class(WITHOUT_PANEL))

    def action_policy(self, name: PolicyName) -> None:
        """Let another policy decide from the next step on."""
        try:
            self._steer(lambda settings: replace(settings, policy=name))
        except UsageError as error:
            self._warn(error)

    def action_force(self, model: Model) -> None:
        """Let a model write the next step, whatever the policy says."""
        turn = self.conversation.last
        if self.session is None or turn is None or not (self.busy and self.session.is_running):
            return  # it is over already, though that is not on the screen yet
        said, severity = steering.force(self.session, model, answering=turn.answer is not None)
        self.notify(said, severity=severity)

    def action_answer_now(self) -> None:
        """End the thought and have the answer written."""
        if self.session is not None and self.busy:
            self.session.answer_now()
        else:
            self.notify("No thought is being written.")

    def action_go_on(self) -> None:
        """Go on with a turn that was stopped; ask the last question again where it is over."""
        turn = self.conversation.last
        is_stopped = self.session is not None and self.session.can_resume
        if not self._can_ask() or not (is_stopped or self._has_question(turn)):
            return
        assert turn is not None
        self._pump.begin()
        if is_stopped:
            self._engines.resume()
        else:
            self._engines.ask(turn.question, instead=turn.run.turn, anyway=True)  # it was asked before

    def action_new(self) -> None:
        """Begin a new conversation; this one stays saved."""
        if self.busy or not self._engines.has_pair:
            self._can_ask()  # it says why not
            return
        self._engines.begin_new()
        self.composer.focus()

    def action_edit(self) -> None:
        """Put the chosen turn's question, or the last one, into the box; sent, it takes that question's place."""
        turn = self.conversation.chosen_turn
        if self._can_ask() and self._has_question(turn):
            assert turn is not None
            self.composer.revise(turn.question, turn.run.turn)

    def _has_question(self, turn: TurnView | None) -> bool:
        """Is there a question that could be asked again? Say it where not."""
        if turn is None:
            self.notify("Nothing was asked yet.")
        elif turn.run.question is None:
            self.notify("The question of this turn is lost: it stood in a damaged line of the file.")
        return turn is not None and turn.run.question is not None

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

    @on(Composer.Copy)
    async def copy_selected(self, message: Composer.Copy) -> None:
        """Copy a part of the message; Ctrl+C stops the models all the same, and empties the box of a declined one."""
        if self.busy or message.is_ours:
            await self.action_interrupt()
        else:
            self._copy("The selection", message.text)

    def action_copy_all(self) -> None:
        """Copy all questions and answers, as Markdown."""
        from glimp_local.records.exports import turns_as_markdown  # noqa: PLC0415 - most chats do without

        self._copy("The conversation", turns_as_markdown(self.conversation.versions))

    def _copy(self, what: str, text: str) -> None:
        if text:
            self.notify(f"{what} is on the clipboard ({copy(text, self)}).")
        else:
            self.notify("There is nothing to copy yet.")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Offer a key where it does something now."""
        if action in {"switch", "find"} and isinstance(self.screen, ModalScreen):
            return False
        if isinstance(self.screen, Dialog) and action == self.screen.SHOWN_BY:
            return False  # the key was pressed twice
        if action == "switch":
            return self.completions.chosen is None and not isinstance(self.focused, Input)
        if action in {"force", "answer_now"}:
            return self.busy
        if action in {"go_on", "edit"}:
            return not self.busy and self.conversation.last is not None
        return True

    async def run_command(self, command: Command) -> None:
        """Do a command that needs nothing more to be known; begin to type the others into the box."""
        if command.name == "file":
            self.composer.begin_mention()
        elif command.argument and not command.argument.startswith("["):
            self.composer.begin_command(f"/{command.name} ")
        elif (doing := command.run("")) is not None:
            await doing

    @on(Conversation.Chosen)
    def explain(self) -> None:
        """Show why its model wrote the chosen step: in the panel, or in the status line where there is none."""
        self._pump.show_panel()
        decided = self.conversation.decided if self.conversation.chosen is not None else None
        self.status.aside("" if self._has_panel or decided is None else why(decided))
