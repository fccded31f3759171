"""Screens over the chat: the choice of a pair, and the help."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from glimp_local.errors import GlimpError, ModelMissingError
from glimp_local.models import files
from glimp_local.models.catalogue import Catalogue
from glimp_local.routing import Model
from glimp_local.settings import ModelSource, PairConfig
from glimp_local.text import harmless, one_line

_KEYS: dict[str, dict[str, str]] = {
    "While you write": {
        "Enter": "send",
        "Shift+Enter, Ctrl+J": "begin a new line",
        "↑ ↓": "earlier and later messages, at the first and the last line",
    },
    "On the steps (Tab: there and back)": {
        "↑ ↓, k j": "choose a step, or an answer",
        "Enter": "fold or unfold it, or an answer's thought; all thoughts, where none is chosen",
        "r": "have it written again by the other model, and continue from there; what stood there is kept",
        "← →": "the other versions of the chosen turn (2/3), with what stands behind each",
        "s, l": "the small, the large model writes the next step",
        "a": "end the thought, write the answer now",
        "g": "go on where you stopped; ask again, where the answer is complete",
        "e": "ask the chosen question, or the last one, in other words; what stood there is kept",
        "y, Y": "copy the step or answer, else the last answer; the whole conversation",
    },
    "Everywhere": {
        "Esc": "stop the models, or their loading; else back to the box",
        "Ctrl+↑, Ctrl+↓": "more steps for the small, for the large model: moves the threshold, or the share",
        "PgUp, PgDn": "scroll",
        "Ctrl+T": "fold or unfold all thoughts",
        "Ctrl+B": "show or hide the panel",
        "Ctrl+P": "all commands: a new conversation, policies, pairs, themes",
        "Ctrl+Q": "quit; the conversation is saved",
    },
}
_LEGEND = (
    "S and L are the small and the large model. The number beside a letter is the entropy, in nats, of the small "
    "model's distribution over the step's first token: above the threshold the large model writes the step."
)


class HelpScreen(ModalScreen[None]):
    """All keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Show the text."""
        with VerticalScroll(classes="dialog") as box:
            box.border_title = "glimp chat"
            box.border_subtitle = "Esc closes"
            yield Static(_help())
            yield Static(Content(_LEGEND))


def _help() -> Table:
    table = Table.grid(padding=(0, 2))
    for section, keys in _KEYS.items():
        table.add_row(Text(section, "bold"))
        for key, what in keys.items():
            table.add_row(Text(f"  {key}"), what)
        table.add_row()
    return table


class PairScreen(ModalScreen[str | None]):
    """The pairs: those that can be run now, and what the others take. Gives the chosen one's name."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close")]

    def __init__(self, catalogue: Catalogue, problem: GlimpError | None = None) -> None:
        super().__init__()
        self._pairs = catalogue.pairs
        self._problem = problem

    def compose(self) -> ComposeResult:
        """List them."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Pairs of models"
            box.border_subtitle = "Enter takes one, Esc closes"
            if self._problem is not None:
                hint = f"\n{self._problem.hint}" if self._problem.hint else ""
                yield Static(Content(harmless(f"{self._problem}{hint}")), classes="notice error")
            yield OptionList(*self._options())
            yield Static("", id="advice")

    def _options(self) -> list[Option]:
        self._advice: dict[str, str] = {}
        ready: list[Option] = []
        missing: list[Option] = []
        for name, pair in self._pairs.items():
            lack = _missing(name, pair)
            self._advice[name] = "" if lack is None else f"Not on this machine. To get it: {lack.hint}"
            text = Content.assemble((one_line(name), "bold"), " ", one_line(pair.description))
            away = Content.assemble(text, " (not here yet)").stylize("dim")
            (missing if lack else ready).append(Option(away if lack else text, id=name))
        return [*ready, *missing]

    @on(OptionList.OptionHighlighted)
    def advise(self, event: OptionList.OptionHighlighted) -> None:
        """Say how to get the pair under the cursor."""
        self.query_one("#advice", Static).update(Content(harmless(self._advice[event.option.id or ""])))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        """Take a pair that is there."""
        name = event.option.id or ""
        if self._advice[name]:
            self.notify("Not on this machine yet: the command below the list gets it.", severity="warning")
        else:
            self.dismiss(name)


def _missing(name: str, pair: PairConfig) -> ModelMissingError | None:
    models: dict[Model, ModelSource | None] = {"small": pair.small, "large": pair.large}
    try:
        files.find_all({model: source for model, source in models.items() if source is not None}, name)
    except ModelMissingError as error:
        return error
    return None
