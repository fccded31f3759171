"""Brings onto the screen what the driver reports: a frame at a time, so that keys never wait for long.

The driver reports as fast as the models write; the pump decides when the next frame is due, shows what there is time
for, and keeps the rest for the frame after. As all reports pass through it, it also knows whether the models are at
work, whether a pair is being loaded, and which message is on its way to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING

from textual.timer import Timer

from glimp_local.errors import DeclinedError, GlimpError
from glimp_local.events import Finished, Rewound, Selected, Started, StepStarted, TakenBack, Text
from glimp_local.tui import status
from glimp_local.tui.driver import Driver
from glimp_local.tui.frames import Frames
from glimp_local.tui.layout import ChatLayout
from glimp_local.tui.told import CachesLost, Failed, Loaded, Loading, MovingCaches, Opened, Saving, TakenUp, Task, Told

if TYPE_CHECKING:
    from glimp_local.pair import Pair
    from glimp_local.records.saved import SavedSession
    from glimp_local.tui.composer import Composer

_BUSY_SECONDS = 1 / 30
"""Keys wait this long for a frame, at most."""
_PANEL_SECONDS = 1.0
"""How often the figures beside the conversation are drawn; after a step they are, with the next frame."""


class Pump:
    """Shows what the driver reports. Works in the interface's thread.

    `choose_pair` has the user choose another pair, since the one there was could not be loaded.
    """

    def __init__(self, app: ChatLayout, driver: Driver, choose_pair: Callable[[GlimpError], Awaitable[None]]) -> None:
        self._app = app
        self._driver = driver
        self._choose_pair = choose_pair
        self._backlog: deque[Told] = deque()
        self._due = False
        self._frames = Frames()
        self._panel_due = 0.0
        self._doing = ""
        """What is being loaded, in words."""
        self._pulse: Timer | None = None
        """Draws the figures of a step while it is written."""
        self._asked: Composer.Sent | None = None
        """The message on its way to the models."""
        self.loading = False
        self.busy = False
        """Are the models at work?"""

    @property
    def is_idle(self) -> bool:
        """Is everything shown that was reported?"""
        return not (self._due or self._backlog)

    def wake(self) -> None:
        """Fetch what there is with the next frame."""
        if not self._due:
            self._due = True
            wait = self._frames.wait_seconds(behind=bool(self._backlog))
            # A timer's callback runs beside the handlers of keys, and what both change would get mixed up: by way of
            # the queue they take turns.
            self._app.set_timer(wait, lambda: self._app.call_later(self._fetch))

    def begin_loading(self) -> None:
        """Note that a pair is being loaded."""
        self.loading = True
        self._doing = "loading"
        self._work()

    def _work(self, *, stops: bool = True) -> None:
        self._app.status.work(lambda: self._doing, every_seconds=self._frames.pulse_seconds, stops=stops)

    def begin(self, asked: Composer.Sent | None = None) -> None:
        """Note that the models are set to work; a message that comes to nothing is given back to the box."""
        self._asked = asked
        self._is_busy(True)

    def show_panel(self) -> None:
        """Draw the figures beside the conversation."""
        self._panel_due = monotonic() + _PANEL_SECONDS
        turn, session = self._app.conversation.last, self._driver.session
        if session is not None:
            steps, stats = (turn.run.steps, turn.run.stats) if turn else ([], None)
            self._app.panel.show(
                steps,
                stats,
                session,
                self._driver.memory_bytes,
                activity=session.activity() if self.busy else None,
                chosen=self._app.conversation.decided,
            )

    async def complain(self, error: GlimpError) -> None:
        """Show an error and what can be done about it, below the last turn."""
        await self._app.conversation.note(status.failed(error), error=True)

    async def _fetch(self) -> None:
        """Show what was reported since the last frame: what there is time for."""
        self._due = False
        self._backlog.extend(self._driver.drain())
        until = monotonic() + _BUSY_SECONDS
        conversation = self._app.conversation
        with self._app.batch_update():
            while self._backlog and monotonic() < until and conversation.is_attached:
                told = self._backlog.popleft()
                await self._show(told)
                if not isinstance(told, Text | StepStarted):
                    self._panel_due = 0.0
            if monotonic() >= self._panel_due:
                self.show_panel()
        if self._backlog and conversation.is_attached:
            self.wake()

    async def _show(self, told: Told) -> None:  # noqa: C901 - one short case a report
        conversation = self._app.conversation
        turn = conversation.last
        match told:
            case Loading(model, path, fraction):
                self._doing = status.loading(model, path, fraction)
                self._app.status.show_now()
            case Loaded():
                await self._welcome(told.pair, is_new=told.is_new)
            case Opened(saved):
                await self._open(saved)
            case Failed(error, task):
                await self._fail(error, task)
            case Saving() | MovingCaches() | TakenUp() | CachesLost():
                await self._show_files(told)
            case Started():
                self._asked = None
                self._is_busy(True)
                await conversation.show(told)
            case TakenBack() | Selected():
                await conversation.show(told)
                self._say_figures()
            case _ if turn is not None:
                if isinstance(told, Rewound):
                    self._is_busy(True)
                await conversation.show(told)
                if isinstance(told, Finished):
                    self._is_busy(False)
                    self._say_figures()
            case _:
                pass

    async def _show_files(self, told: Saving | MovingCaches | TakenUp | CachesLost) -> None:
        conversation = self._app.conversation
        match told:
            case Saving(path, error):
                await conversation.note(status.saving(path, error), error=error is not None)
            case MovingCaches(size, to_disk):
                self._doing = status.moving(size, to_disk=to_disk)
                if not self._app.status.is_working:
                    self._work(stops=False)
                self._app.status.show_now()
            case TakenUp(tokens):
                await conversation.note(status.taken_up(tokens))
            case CachesLost(lost):
                await self.complain(lost)

    async def _welcome(self, pair: Pair, *, is_new: bool) -> None:
        """Show what is loaded and, if the conversation has not begun, what can be asked."""
        conversation = self._app.conversation
        if is_new:
            self._app.composer.stop_revising()
            await conversation.clear()
        self.loading = False
        self._frames.make_room(pair)
        self._app.status.rest(status.loaded(pair))
        self._app.refresh_bindings()
        if not conversation.turns:
            await conversation.welcome(pair)
            if pair.config.example:
                self._app.composer.remember(pair.config.example)
        self._app.composer.send_held()

    async def _open(self, saved: SavedSession) -> None:
        """Show a saved conversation in the place of the one on the screen; what is in the box stays there."""
        composer = self._app.composer
        composer.stop_revising()
        await self._app.conversation.restore(saved)
        self.recall(saved)

    def recall(self, saved: SavedSession) -> None:
        """Let the arrows bring back what was asked in a conversation."""
        for turn in saved.turns:
            if turn.question is not None:
                self._app.composer.remember(turn.question)

    async def _fail(self, error: GlimpError, task: Task) -> None:
        asked = None
        if task == "run":
            self._is_busy(False)
            asked, self._asked = self._asked, None
        elif task == "load":
            self.loading = False
        if not (self.busy or self.loading):
            self._app.status.rest("" if self._driver.session else "no pair is loaded: /pair shows them")
        if asked is not None:
            self._app.composer.take_back(asked)
        if asked is not None and isinstance(error, DeclinedError):
            self._app.composer.select_declined()
            await self._app.conversation.decline(asked.text, str(error))
        elif task == "load" and self._driver.session is None:
            await self._choose_pair(error)
        else:
            await self.complain(error)

    def _is_busy(self, busy: bool) -> None:
        self.busy = busy
        self._app.composer.cursor_blink = not busy  # each blink is a frame
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        if busy:
            self._pulse = self._app.set_interval(_PANEL_SECONDS, self.show_panel)
            self._app.status.work(self._working, every_seconds=self._frames.pulse_seconds)
        self._app.refresh_bindings()

    def _working(self) -> str:
        session = self._driver.session
        return "" if session is None else status.working(session.activity(), thinks=session.pair.markers is not None)

    def _say_figures(self) -> None:
        """Say what the last turn took, if it is over."""
        turn = self._app.conversation.last
        stats = None if turn is None else turn.run.stats
        self._app.status.rest("" if stats is None else status.finished(stats))
