"""The choice of a pair: what is here, what would fit this machine, and the download of what is not here."""

from __future__ import annotations

import threading
from contextlib import suppress

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import OptionList, ProgressBar, Static
from textual.widgets.option_list import Option

from glimp_local import hardware, units
from glimp_local.errors import BindingError, CancelledError, GlimpError
from glimp_local.load import LoadRequest, configured
from glimp_local.machine.addresses import in_words, places_of
from glimp_local.machine.forecast import Forecast, Forecaster, PairFiles, pair_files
from glimp_local.machine.survey import Machine, survey
from glimp_local.models.catalogue import Catalogue
from glimp_local.pair import Pair
from glimp_local.settings import PairConfig
from glimp_local.text import harmless, one_line
from glimp_local.tui.download import Download
from glimp_local.tui.screens.dialog import Dialog

_LOOK_SECONDS = 0.5
"""How often the bar moves."""


class PairRow(msgspec.Struct):
    """What is known of one pair."""

    name: str
    config: PairConfig
    files: PairFiles
    is_loaded: bool = False
    expected: Forecast | None = None
    """None until it is computed."""

    def facts(self) -> str:
        """Return in one line what decides about a pair: is it here, does it fit, how fast, under which licence."""
        expected = "looking whether it fits" if self.expected is None else self.expected.in_words()
        return " · ".join(filter(None, [self._state(), expected, one_line(self.config.licence)]))

    def _state(self) -> str:
        files = self.files
        size = "size not listed" if files.size_bytes is None else units.file_size(files.size_bytes)
        if self.is_loaded:
            return "loaded"
        if files.is_here:
            return self._where()
        if files.problem is not None:
            return "cannot be used"
        if files.here_bytes:
            return f"{units.file_size(files.here_bytes)} of {size} here"
        return f"{size} to download" if files.size_bytes is not None else f"not here, {size}"

    def _where(self) -> str:
        """Return where a pair is whose files are all here. No server is asked: it is connected to when it is chosen."""
        places = places_of(self.config)
        if not places:
            return "here"
        if not self.config.local_models:
            return in_words(places, alone=True)
        return f"here, {in_words(places)}"

    def advice(self) -> str:
        """Return what to know before it is chosen, and what Enter does."""
        if self.files.problem is not None:
            return f"{self.files.problem}."
        said: list[str | None] = []
        if (expected := self.expected) is not None:
            said = [expected.problem, expected.plan.shortage() if expected.plan else None, expected.cut]
            if expected.plan is not None and not any(said):
                where = expected.plan.where()
                if expected.places and where.startswith("on "):
                    where = f"the {min(expected.plan.models)} model {where}"
                said = [where[:1].upper() + where[1:]]
        return " ".join(f"{sentence}." for sentence in (*filter(None, said), self._enter()))

    def _enter(self) -> str:
        places = " and ".join(dict.fromkeys(places_of(self.config).values()))
        if self.files.is_here and places:
            again = " again" if self.is_loaded else ""
            loads = " and loads the rest" if self.config.local_models else ""
            return f"Enter connects to {places}{again}{loads}"
        if self.files.is_here:
            return "Enter loads it again" if self.is_loaded else "Enter loads it"
        missing = self.files.missing_bytes
        what = "it" if missing is None else units.file_size(missing)
        if self.files.here_bytes:
            what = "the rest" if missing is None else f"the rest ({what})"
        return f"Enter downloads {what} and loads it"

    @property
    def is_hopeless(self) -> bool:
        """Is it known that it cannot be loaded into the memory that is free?"""
        return self.expected is not None and self.expected.plan is not None and not self.expected.plan.runs

    def prompt(self) -> Content:
        """Return the two lines of the list."""
        first = Content.assemble((one_line(self.name), "bold"), "  ", one_line(self.config.description))
        text = Content("\n").join([first, Content(f"  {self.facts()}")])
        return text if self.files.is_here else text.stylize("dim")


class PairScreen(Dialog[str | None]):
    """The pairs: those that can be loaded now, and what the others take. Returns the chosen one's name.

    `problem` is why another pair is needed; `loaded` is the pair whose memory will be free again.
    """

    class Expected(Message):
        """What to expect of a pair is known now."""

        def __init__(self, name: str, expected: Forecast) -> None:
            super().__init__()
            self.name = name
            self.expected = expected

    def __init__(
        self,
        request: LoadRequest,
        catalogue: Catalogue,
        problem: GlimpError | None = None,
        loaded: Pair | None = None,
    ) -> None:
        super().__init__()
        self._problem = problem
        self._loaded = loaded
        rows = [_row(name, request, catalogue, loaded) for name in catalogue.pairs]
        self._rows = {row.name: row for row in sorted(rows, key=lambda row: not row.files.is_here)}
        self._download: Download | None = None
        self._left = threading.Event()
        self._coming: str | None = None
        """The pair that is being downloaded."""
        self._insisted: str | None = None
        """The pair of which it was said that it does not fit."""
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """List them."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Pairs of models"
            box.border_subtitle = "Enter takes one, Esc closes"
            if self._problem is not None:
                hint = f"\n{self._problem.hint}" if self._problem.hint else ""
                yield Static(Content(harmless(f"{self._problem}{hint}")), classes="notice error")
            yield OptionList(*(Option(row.prompt(), id=name) for name, row in self._rows.items()), compact=True)
            yield Static("", id="advice")
            yield ProgressBar(id="coming", show_eta=False)
            yield Static("", id="rate")

    def on_mount(self) -> None:
        """Begin to look what to expect of each."""
        self._show_bar(shown=False)
        self._look()

    def on_unmount(self) -> None:
        """Leave what is being downloaded as it is, and measure nothing more."""
        self._left.set()
        if self._download is not None:
            self._download.stop()

    @work(thread=True)
    def _look(self) -> None:
        try:
            machine = survey()
        except BindingError:  # whoever loads a pair is told; without llama.cpp there is no GPU
            machine = Machine(hardware.memory().free_bytes)
        loaded = None if self._loaded is None else self._loaded.plan
        for measures in (False, True):  # measuring takes some seconds the first time
            forecaster = Forecaster(machine, self._left, loaded=loaded, measures=measures)
            for name, row in self._rows.items():
                with suppress(CancelledError, BindingError):
                    self.post_message(self.Expected(name, forecaster.forecast(row.config)))

    @on(Expected)
    def _show_expected(self, message: Expected) -> None:
        self._rows[message.name].expected = message.expected
        self._show_row(message.name)

    def _show_row(self, name: str) -> None:
        options = self.query_one(OptionList)
        options.replace_option_prompt(name, self._rows[name].prompt())
        highlighted = options.highlighted_option
        if highlighted is not None and highlighted.id == name and self._coming is None:
            self._advise(self._rows[name].advice())

    def _advise(self, text: str, *, error: bool = False) -> None:
        advice = self.query_one("#advice", Static)
        advice.set_class(error, "error")
        advice.update(Content(harmless(text)))
        self.call_after_refresh(self.query_one(OptionList).scroll_to_highlight)  # the list may be shorter now

    @on(OptionList.OptionHighlighted)
    def _highlight(self, event: OptionList.OptionHighlighted) -> None:
        """Say what to know of the pair under the cursor."""
        self._insisted = None
        if self._coming is None and event.option.id is not None:
            self._advise(self._rows[event.option.id].advice())

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        """Take a pair that is here; download one that is not."""
        row = self._rows[event.option.id or ""]
        if self._coming is not None:
            self.notify(f"{self._coming} is being downloaded: Esc stops that.", markup=False)
        elif row.files.problem is not None:
            self.notify("It cannot be used: the reason is below the list.", severity="warning")
        elif row.is_hopeless and self._insisted != row.name:
            self._insisted = row.name
            self._advise(f"{row.advice()} It will not fit: press Enter again to do it all the same.", error=True)
        elif row.files.is_here:
            self.dismiss(row.name)
        else:
            self._begin(row)

    # The download.

    def _begin(self, row: PairRow) -> None:
        self._coming = row.name
        self._download = Download(row.files.missing, self._download)
        self._download.start()
        self._advise(f"{row.name} is coming. Esc stops, and keeps what is here by then.")
        self.query_one("#coming", ProgressBar).update(total=None, progress=0)
        self._show_bar(shown=True)
        self._follow()
        self._timer = self.set_interval(_LOOK_SECONDS, self._follow)

    def _follow(self) -> None:
        """Move the bar, or end the download."""
        if self._download is None or self._coming is None:
            return
        if self._download.is_whole:
            self.dismiss(self._coming)
        elif (error := self._download.error) is not None:
            hint = f" {error.hint[:1].upper()}{error.hint[1:]}." if error.hint else ""
            self._end(f"{error}.{hint} Enter tries again.", error=True)
        else:
            if total := self._download.total_bytes:
                self.query_one("#coming", ProgressBar).update(total=total, progress=self._download.done_bytes)
            self.query_one("#rate", Static).update(Content(harmless(self._download.line())))

    def _end(self, text: str, *, error: bool = False) -> None:
        """Go back to the choice, with what has come meanwhile."""
        name, self._coming = self._coming, None
        if self._timer is not None:
            self._timer.stop()
        self._show_bar(shown=False)
        if name is not None:
            row = self._rows[name]
            row.files = pair_files(row.config)
            self._show_row(name)
        self._advise(text, error=error)

    def _show_bar(self, *, shown: bool) -> None:
        for widget in ("#coming", "#rate"):
            self.query_one(widget).display = shown

    def action_leave(self) -> None:
        """Stop the download; without one, close."""
        if self._download is None or self._coming is None:
            self.dismiss(None)
            return
        self._download.stop()
        here = units.file_size(self._download.done_bytes)
        self._end(f"Stopped: {here} are here and are kept. Enter continues from there, Esc closes.")


def _row(name: str, request: LoadRequest, catalogue: Catalogue, loaded: Pair | None) -> PairRow:
    """Look at a pair the way it would be loaded."""
    is_loaded = loaded is not None and loaded.name == name and not (request.files or request.urls)
    try:
        _, config = configured(request.named(name), catalogue)
    except GlimpError as error:  # a flag that this pair cannot be loaded with
        config = catalogue.pairs[name]
        return PairRow(name, config, msgspec.structs.replace(pair_files(config), problem=str(error)), is_loaded)
    return PairRow(name, config, pair_files(config), is_loaded)
