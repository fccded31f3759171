"""The box a message is written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from rich.text import Text
from textual import events, on
from textual.actions import SkipAction
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from glimp_local.errors import UsageError
from glimp_local.records.attached import size_of
from glimp_local.text import harmless, one_line
from glimp_local.tui import attachments
from glimp_local.tui.completions import Completion, Completions
from glimp_local.tui.recalled import Draft, Recalled

_COMPLETING = frozenset({"up", "down", "tab", "shift+tab", "escape"})
_LONG, _MANY_LINES = 1000, 10
"""Characters, and lines, from which on a text's size is shown."""
_PAUSE_SECONDS = 0.2


class Composer(TextArea):
    """Several lines; Enter sends, Shift+Enter (or Ctrl+J) begins a new line, the arrows at its ends recall messages."""

    BINDINGS = [  # noqa: RUF012 - Textual's way
        # For the footer; the keys are taken in their turn behind those typed before (`_on_key`).
        Binding("enter", "send", "Send"),
        Binding("shift+enter,ctrl+j", "newline", "New line", show=False),
        Binding("pageup", "app.scroll(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll(1)", "Scroll down", show=False),
    ]

    class Sent(Message):
        """A message is to be sent, perhaps in the place of the question of a turn: the id of its version.

        `attached` has the texts of files, by their names, that need not be read.
        """

        def __init__(self, text: str, *, instead: str | None, attached: Mapping[str, str]) -> None:
            super().__init__()
            self.text = text
            self.instead = instead
            self.attached = attached

        @property
        def question(self) -> str:
            """The text with those of its files. Raises UsageError if one cannot be read."""
            return attachments.expand(self.text, self.attached)

    class Copy(Message):
        """What is selected is to be copied; `is_ours`: not the user has selected it."""

        def __init__(self, text: str, *, is_ours: bool) -> None:
            super().__init__()
            self.text = text
            self.is_ours = is_ours

    class Measured(Message):
        """How long a text is, in words; empty if it is short."""

        def __init__(self, text: str, sizes: str) -> None:
            super().__init__()
            self.text = text
            self.sizes = sizes

    def __init__(self, completions: Completions) -> None:
        super().__init__(soft_wrap=True, show_line_numbers=False, compact=True, highlight_cursor_line=False)
        self.placeholder = "Ask something…"
        self._recalls = Recalled()
        self._instead: str | None = None
        self._held: str | None = None
        self._attached: Mapping[str, str] = {}
        self._recalled = ""
        """The text that was put here last: nothing is offered in its place before it is changed."""
        self.completions = completions
        self.completes: Callable[[str], Iterable[Completion]] = lambda _: ()
        """Gives what may be put in the place of a word that begins with a slash or an @."""
        self._completes: str | None = None
        """The word; None if nothing can be offered."""
        self.measure: Callable[[str], str] = size_of
        """Says how long a text is."""
        self._measuring: Timer | None = None
        self._declined = ""
        """The text that was selected for the user, and not by one."""

    # What may stand for what is being typed.

    @on(TextArea.Changed)
    @on(TextArea.SelectionChanged)
    def _complete(self) -> None:
        """Offer what may be put in the place of the word before the cursor."""
        row, column = self.cursor_location
        before = self.document.get_line(row)[:column]
        is_command = before.startswith("/") and before == self.text
        word = before if is_command else attachments.begun(before)
        if word == self._completes:
            return
        self._completes = word
        offered = self.completes(word) if word is not None and self.text != self._recalled else ()
        self.completions.offer([found for found in offered if found.text != word])

    def on_blur(self) -> None:
        """Offer nothing to another widget's keys."""
        self._offer_nothing()

    def _offer_nothing(self) -> None:
        self._completes = None
        self.completions.offer(())

    @on(TextArea.Changed)
    def _measure_soon(self) -> None:
        """Show the size of a long text and of what it attaches, once there is a pause."""
        if self._measuring is not None:
            self._measuring.stop()
        self._measuring = self.set_timer(_PAUSE_SECONDS, self._measure)

    def _measure(self) -> None:
        """Measure in a thread: the models' words of a long text take a while to count."""
        message = self.Sent(self.text, instead=None, attached=self._attached)
        measuring = partial(self._sizes, message)
        self.run_worker(measuring, thread=True, exclusive=True, group="measure", exit_on_error=False)

    def _sizes(self, message: Sent) -> None:
        parts = attachments.sizes(message.text, message.attached)
        try:
            text = message.question
        except UsageError:  # it is said when the message is sent
            text = message.text
        if len(text) > _LONG or text.count("\n") >= _MANY_LINES:
            parts.append(self.measure(text))
        self.post_message(self.Measured(message.text, " · ".join(parts)))

    @on(Measured)
    def _show_sizes(self, message: Measured) -> None:
        if message.text == self.text:
            self.border_subtitle = Content(one_line(message.sizes)) if message.sizes else None

    def _take_completion(self) -> None:
        chosen = self.completions.chosen
        if chosen is not None and self._completes is not None:
            row, column = self.cursor_location
            blank = " " if chosen.text.startswith("@") and not chosen.text.endswith("/") else ""
            self.replace(chosen.text + blank, (row, column - len(self._completes)), (row, column))

    def revise(self, question: str, instead: str) -> None:
        """Take up a question that was sent, to be sent in other words; what stands in the box can be recalled.

        `instead` is the id of the version of a turn that it takes the place of.
        """
        text, attached = attachments.collapse(question)
        self.take_back(self.Sent(text, instead=instead, attached=attached))

    def take_back(self, message: Sent) -> None:
        """Put a message that came to nothing back into the box; what stands in it can be recalled."""
        self._recalls.remember(self._draft)
        self._instead, self._attached = message.instead, message.attached
        self.border_title = None if message.instead is None else "in place of that question · Esc: as a new one"
        self._put(message.text)
        self.focus()

    def stop_revising(self) -> None:
        """Send what is written as a new message after all."""
        self._instead = None
        self.border_title = None

    @property
    def _draft(self) -> Draft:
        return Draft(self.text, self._attached)

    def remember(self, question: str) -> None:
        """Add a question that was asked to the messages that the arrows recall."""
        self._recalls.remember(Draft(*attachments.collapse(question)))

    def hold(self, text: str) -> None:
        """Write a message that waits in the box until it can be sent."""
        self._held = text
        self._put(text)

    def send_held(self) -> None:
        """Send the message that waits, unless it has been changed since."""
        held, self._held = self._held, None
        if held is not None and self.text == held:
            self.action_send()

    def taken(self, text: str) -> None:
        """Empty the box of a message that is on its way; keys pressed since then stay."""
        since = self.text.removeprefix(text)
        self._recalls.remember(Draft(text, self._attached))
        self._begin_another(since)

    def put_aside(self) -> None:
        """Empty the box; what stood in it can be recalled."""
        self._recalls.remember(self._draft)
        self._begin_another("")

    def _begin_another(self, text: str) -> None:
        self.stop_revising()
        self._attached = {}
        self._put(text)

    def mention(self, path: str) -> None:
        """Mention a file where the cursor is."""
        self.insert(f"{attachments.mention(path)} ")
        self.focus()

    def begin_mention(self) -> None:
        """Have a file chosen, to be mentioned where the cursor is."""
        row, column = self.cursor_location
        before = self.document.get_line(row)[:column]
        self.insert("@" if not before or before[-1].isspace() else " @")
        self.focus()

    def begin_command(self, text: str) -> None:
        """Have a command typed to its end; what stands in the box can be recalled."""
        self._recalls.remember(self._draft)
        self._put(text)
        self.focus()

    def get_line(self, line_index: int) -> Text:
        """Draw a line harmless; what is sent stays as it was written or pasted."""
        return Text(harmless(self.document.get_line(line_index)), end="", no_wrap=True)

    def action_send(self) -> None:
        """Send what is written; it stays until the application takes it."""
        if self.text.strip():
            self.post_message(self.Sent(self.text, instead=self._instead, attached=self._attached))

    def action_copy(self) -> None:
        """Have what is selected copied."""
        if not self.selected_text:
            raise SkipAction
        self.post_message(self.Copy(self.selected_text, is_ours=self.selected_text == self._declined))

    def select_declined(self) -> None:
        """Select the whole text: another question replaces it."""
        self._declined = self.text
        self.select_all()

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    async def _on_key(self, event: events.Key) -> None:
        if event.key in _COMPLETING:
            self._complete()  # for what was typed in the same moment
        if self.completions.chosen is not None and event.key in _COMPLETING:
            event.stop()
            event.prevent_default()
            match event.key:
                case "up" | "down" | "shift+tab":
                    self.completions.move(1 if event.key == "down" else -1)
                case "escape":
                    self.completions.offer(())
                case _:
                    self._take_completion()
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
            return
        _, row = self.wrapped_document.location_to_offset(self.cursor_location)
        edges = {"up": (0, -1), "down": (self.wrapped_document.height - 1, 1)}
        edge, way = edges.get(event.key, (None, 0))
        if row == edge and self._recalls.can_go(way):
            event.stop()
            event.prevent_default()
            self._recall(way)
            return
        await super()._on_key(event)

    def _recall(self, way: int) -> None:
        draft = self._recalls.go(way, self._draft)
        self._recalled, self._attached = draft.text, draft.attached
        self._offer_nothing()
        self._put(self._recalled)

    def _put(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)
