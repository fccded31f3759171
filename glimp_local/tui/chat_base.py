"""What stands behind the chat's screen: the driver with the models, the pump that shows what it reports, the pair."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message

from glimp_local.errors import GlimpError
from glimp_local.load import LoadRequest
from glimp_local.models.catalogue import load_catalogue
from glimp_local.records.session_log import SessionLog
from glimp_local.session.session import Session
from glimp_local.tui.driver import Driver
from glimp_local.tui.layout import ChatLayout
from glimp_local.tui.look import Look
from glimp_local.tui.pump import Pump
from glimp_local.tui.told import Told


class ChatBase(ChatLayout):
    """The chat, without the keys. See `ChatApp`."""

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
        self.request = request
        """For the pair."""
        self._seed = seed
        self._anyway = anyway
        self._going_on = log.going_on
        self._question = question
        self._look = Look(self, theme)
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

    def _load(self) -> None:
        self._pump.begin_loading()
        self._engines.load(self.request, seed=self._seed)

    def on_unmount(self) -> None:
        """Stop the models."""
        self._engines.cancel()

    def close(self, hear: Callable[[Told], object] = lambda _: None) -> None:
        """Free the models, once the screen is gone; `hear` gets what is told of that."""
        self._engines.close(hear)

    def on_chat_base_woken(self) -> None:
        """Show what the driver tells."""
        self._pump.wake()

    def _can_ask(self) -> bool:
        """Can the models be asked for something? Say it where not."""
        if self.busy:
            self.notify("The models are still writing: Esc stops them.")
        elif self.session is None:
            self.notify("No pair is loaded yet." if self._pump.loading else "No pair is loaded: /pair shows them.")
        return not self.busy and self.session is not None

    def _can_load(self) -> bool:
        """Can another pair be loaded now? Say so if not."""
        if self.busy or self._pump.loading:
            self.notify("The models are at work: Esc stops them.")
        return not (self.busy or self._pump.loading)

    async def choose_pair(self, name: str = "") -> None:
        """Load a pair by its name; show all pairs without one. Raises UsageError or ConfigError if it is not listed."""
        if not name:
            await self.action_choose_pair()
            return
        load_catalogue(self.request.models_file).pair(name)  # before the one that is loaded is closed
        if self._can_load():
            self.request = self.request.named(name)
            self._load()

    async def action_choose_pair(self, problem: GlimpError | None = None) -> None:
        """Show the pairs and load the chosen one; the conversation continues with it."""
        from glimp_local.tui.screens.pairs import PairScreen  # noqa: PLC0415 - not before it is wanted

        def load(name: str | None) -> None:
            if name is not None:
                self.request = self.request.named(name)
                self._load()

        if not self._can_load():
            return
        try:
            catalogue = load_catalogue(self.request.models_file)
            loaded = None if self.session is None else self.session.pair
            await self.push_screen(PairScreen(self.request, catalogue, problem, loaded), load)
        except GlimpError as error:
            await self._pump.complain(error)
