"""A chat without a terminal: the real application, its keys pressed by Textual's pilot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from glimp_local.load import LoadRequest
from glimp_local.records.saved import SavedSession
from glimp_local.records.session_log import SessionLog
from glimp_local.session.session import Session
from glimp_local.tui.app import ChatApp
from glimp_local.tui.driver import Driver
from glimp_local.tui.told import Told
from glimp_local.tui.turn import TurnView
from tests.support.sessions import GREEDY

SECONDS = 30
DRAWN = {"temperature": 1.0, "top_k": 9, "top_p": 1.0, "min_p": 0.0}
PACE = 0.003
EXAMPLE = (Path(__file__).parents[2] / "examples" / "marbles.txt").read_text(encoding="utf-8").strip()


async def come_true(condition: Callable[[], Any]) -> None:
    for _ in range(SECONDS * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {SECONDS} s")


class Chat:
    """A chat and the hands on its keys."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something to come true, and for the screen."""
        await come_true(condition)
        await self._rest()

    async def _rest(self) -> None:
        """Wait until the screen is at rest; while the models write it never is."""
        if self.app.busy:
            await asyncio.sleep(0.05)
        else:
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            if self.app.busy:
                await self._press_beside_the_models(key)
            else:
                await self.pilot.press(key)
            await self._rest()

    async def _press_beside_the_models(self, key: str) -> None:
        """Press a key and wait until it is handled, without waiting for a screen that never rests.

        A key goes to the application, from there to what has the focus, and from that up again; each keeps its own
        queue, so a mark sent the same way, one queue after the other, arrives behind the key.
        """
        way = [self.app, *(self.app.focused or self.app.screen).ancestors_with_self]
        self.app.simulate_key(key)
        for pump in way:
            passed = asyncio.Event()
            if pump.post_message(events.Callback(callback=passed.set)):
                await come_true(lambda: passed.is_set() or not pump.is_running)  # noqa: B023  # awaited right here

    async def go_to_steps(self) -> None:
        await self.press("tab")
        await self.until(lambda: self.app.conversation.has_focus)

    async def type(self, text: str) -> None:
        self.app.composer.focus()
        await self.until(lambda: self.app.composer.has_focus)
        self.app.composer.insert(text)
        await self._rest()

    async def switch(self, pair: dict[str, Any]) -> Session:
        """Load another pair; give its session."""
        before = self.app.session
        self.app._engines.load(_request(pair))
        await self.until(lambda: self.app.session not in {None, before})
        assert self.app.session is not None
        return self.app.session

    async def ask(self, question: str = "How many?") -> TurnView:
        """Send a question and wait for the end of its turn."""
        await self.begin(question)
        await self.until(lambda: not self.app.busy)
        return self.turn

    async def insist(self, question: str) -> TurnView:
        """Send a question that is declined at first, and send it again."""
        await self.type(question)
        await self.press("enter")
        await self.until(lambda: not self.app.busy and self.app.composer.text == question)
        turns = len(self.turns)
        await self.press("enter")
        await self.until(lambda: len(self.turns) > turns and not self.app.busy)
        return self.turn

    async def begin(self, question: str = "How many?") -> None:
        """Send a question and wait for its first step."""
        turns = len(self.turns)
        await self.type(question)
        await self.press("enter")
        await self.until(lambda: len(self.turns) > turns and self.turn.run.steps)

    @property
    def turns(self) -> list[TurnView]:
        return self.app.conversation.turns

    @property
    def turn(self) -> TurnView:
        return self.turns[-1]

    @property
    def letters(self) -> str:
        """Who wrote the finished steps of the last turn's thought."""
        return "".join(step.model[0].upper() for step in self.turn.run.steps if step.part != "answer")

    @property
    def status(self) -> str:
        return str(self.app.query_one("#status").render())

    @property
    def notices(self) -> list[str]:
        return [str(widget.render()) for widget in self.app.query(".notice")]

    @property
    def screen(self) -> str:
        """What the terminal shows, as text."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()[:height]
        return "\n".join("".join(segment.text for segment in strip)[:width].rstrip() for strip in lines)


def _request(pair: dict[str, Any]) -> LoadRequest:
    """Make the request that `load_pair` would make of the same arguments."""
    own = {key: pair[key] for key in LoadRequest.__struct_fields__ if key in pair}
    return LoadRequest(**own, settings={key: value for key, value in pair.items() if key not in own})


@asynccontextmanager
async def chatting(
    small: Path | None = None,
    large: Path | None = None,
    *,
    pair: dict[str, Any] | None = None,
    size: tuple[int, int] = (120, 40),
    going_on: SavedSession | None = None,
    system: str | None = None,
    question: str | None = None,
    loads: bool = True,
    anyway: bool = False,
    theme: str | None = None,
    pace_seconds: float = 0.0,
    **settings: Any,
) -> AsyncIterator[Chat]:
    pair = pair or {"small": small, "large": large or small, "sampling": GREEDY} | settings

    class Paced(Driver):
        """As fast as a larger model."""

        def _tell(self, what: Told) -> None:
            time.sleep(pace_seconds)
            super()._tell(what)

    app = ChatApp(
        _request(pair),
        SessionLog(going_on),
        seed=1,
        theme=theme,
        system=system,
        question=question,
        anyway=anyway,
        driver=Paced,
    )
    try:
        async with app.run_test(size=size) as pilot:
            chat = Chat(app, pilot)
            if loads:
                await chat.until(lambda: app.session is not None and not app._pump.loading)
            yield chat
            # Ended from within, as by a key: the pilot would take the screen away while the application draws on it.
            app.exit(return_code=app.return_code or 0)
            await come_true(lambda: not app.is_running)
    finally:
        app.close()


def played(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Let pytest run a test that waits."""

    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))  # type: ignore[arg-type]  # a coroutine function's result

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = __import__("inspect").signature(test)  # type: ignore[attr-defined]  # pytest reads the fixtures
    marked: Callable[..., None] = pytest.mark.screen(run)
    return marked
