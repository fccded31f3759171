"""Pictures of the chat's screens, drawn from a saved run; `python -m tests.support.pictures` draws those in docs/."""

from __future__ import annotations

import asyncio
import html
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from textual.pilot import Pilot

from glimp_local.errors import ModelMissingError
from glimp_local.events import Text, decode_events
from glimp_local.load import LoadRequest
from glimp_local.machine.choice import Offer
from glimp_local.machine.survey import Machine
from glimp_local.models.catalogue import load_catalogue
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import MODELS, Threshold
from glimp_local.tui import status_line
from glimp_local.tui.app import ChatApp
from glimp_local.tui.driver import Driver
from glimp_local.tui.screens import pairs
from glimp_local.tui.screens.settings import SettingsScreen
from glimp_local.tui.told import Loaded, Told
from tests.support import rated
from tests.support.damaged import HEADER, turn_lines, write

DOCS = Path(__file__).parents[2] / "docs"
RUN = Path(__file__).with_name("run.jsonl")
_STILL = 4
_WIDE, _NARROW = (112, 42), (72, 30)

_MACHINE = Machine(20 * 2**30)
"""For the list of pairs: what it says of another machine is another picture."""

Pressing = Callable[["Pilot[None]"], Awaitable[None]]


class Replay(Driver):
    """Tells what was told before, all at once, and computes nothing."""

    told: tuple[Told, ...] = ()

    def start(self) -> None:
        backends = {
            model: SimpleNamespace(name=f"glimp built-in {model}", where="CPU, 1 thread", cpu_threads=1)
            for model in MODELS
        }
        pair = SimpleNamespace(
            name="builtin",
            backends=backends,
            entropies=lambda: None,
            markers=("<think>", "</think>"),
            config=load_catalogue().pairs["builtin"],
            offer=Offer("qwen3-0.6b-4b", 3_136_726_944, 7_581_000_000),
            plan=SimpleNamespace(parts=()),
            placement="both models on the CPU, context 2,048; 64 MiB of 14.3 GiB on the CPU",
        )
        self.session = SimpleNamespace(  # type: ignore[assignment]  # all that is read
            policy=Threshold(0.3),
            pair=pair,
            contexts=lambda: {"small": (309, 2048), "large": (324, 2048)},
            activity=lambda: None,
            speeds=lambda: {"small": 1540.0, "large": 230.0},
        )
        for told in (Loaded(pair), *self.told):  # type: ignore[arg-type]  # the same
            self._tell(told)

    def load(self, *_arguments: Any, **_more: Any) -> None:
        pass

    @property
    def memory_bytes(self) -> int:
        return 123 * 2**20


async def _steps(pilot: Pilot[None]) -> None:
    await pilot.press("tab", "up", "up", "up", "up", "up")


async def _conversations(pilot: Pilot[None]) -> None:
    sums = turn_lines(0, "what is 12*7?"), turn_lines(1, "and half of that?")
    for hours, lines in (
        (1, (RUN.read_bytes().splitlines(keepends=True),)),
        (26, sums),
        (24 * 12, (turn_lines(2, "40 birds sit in a tree…"),)),
    ):
        path = write(f"picture-{hours}", HEADER, *(line for turn in lines for line in turn))
        os.utime(path, (1, time.time() - hours * 3600 - 60))
    await pilot.press("ctrl+o")


async def _settings(pilot: Pilot[None]) -> None:
    assert isinstance(pilot.app, ChatApp)
    pair = pilot.app.session.pair  # type: ignore[union-attr]  # there is one
    await pilot.app.push_screen(
        SettingsScreen(pair.config.run, pair, system="", has_begun=False, drafting_obstacle=None, keeping_obstacle=None)
    )


async def _help(pilot: Pilot[None]) -> None:
    await pilot.press("f1")


async def _pairs(pilot: Pilot[None]) -> None:
    assert isinstance(pilot.app, ChatApp)
    await pilot.app.action_choose_pair(ModelMissingError("big.gguf: no such file", hint="check the path"))


async def _nothing(_pilot: Pilot[None]) -> None:
    pass


def _run() -> tuple[Told, ...]:
    return tuple(decode_events(RUN.read_bytes().splitlines()))


def _half() -> tuple[Told, ...]:
    events = _run()
    ended = next(i for i, event in enumerate(events) if getattr(event, "index", 0) == 8)
    return (*events[: ended + 1], Text(8, "thought", "> It is raining"))


SCREENS: dict[str, tuple[Callable[[], tuple[Told, ...]], tuple[int, int], dict[str, Any], Pressing]] = {
    "chat": (_run, _WIDE, {}, _nothing),
    "chat-light": (_run, _WIDE, {"theme": "textual-light"}, _steps),
    "chat-no-color": (_run, _WIDE, {"no_color": True}, _nothing),
    "chat-narrow": (_half, _NARROW, {}, _nothing),
    "chat-welcome": (tuple, _NARROW, {}, _nothing),
    "chat-help": (tuple, _WIDE, {}, _help),
    "chat-pairs": (tuple, _WIDE, {}, _pairs),
    "chat-conversations": (tuple, _WIDE, {}, _conversations),
    "chat-settings": (tuple, _WIDE, {}, _settings),
}


async def _rest(pilot: Pilot[None]) -> None:
    """Wait until nothing moves any more."""
    app, before, same = pilot.app, "", 0
    assert isinstance(app, ChatApp)
    app.composer.cursor_blink = False
    while same < _STILL and app.is_running:
        await pilot.pause(0.05)
        drawn = app.export_screenshot()
        same = same + 1 if drawn == before and app._pump.is_idle else 0
        before = drawn


def draw(name: str, monkeypatch: Any = None) -> str:
    """Draw one screen as SVG."""
    events, size, options, press = SCREENS[name]
    driver = type("Played", (Replay,), {"told": events()})
    if options.get("no_color"):
        monkeypatch.setenv("NO_COLOR", "1")
    theme = options.get("theme")

    async def play() -> str:
        app = ChatApp(LoadRequest(), SessionLog(), theme=theme, driver=driver)
        async with app.run_test(size=size) as pilot:
            await _rest(pilot)
            await press(pilot)
            await _rest(pilot)
            drawn = app.export_screenshot(title="glimp chat")
            # Without the fonts it would fetch from elsewhere: any monospaced one will do.
            return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)

    still = patch.multiple(status_line, monotonic=lambda: 0.0, _SIGNS="⠋")  # what moves would never be at rest
    with still, patch.object(pairs, "survey", lambda: _MACHINE):
        return asyncio.run(play())


def seen(svg: str) -> list[tuple[str, str]]:
    """Give what a picture shows: its stretches of text, each with its style's colours."""
    styles = dict(re.findall(r"\.terminal-\d+-(r\d+) \{ ([^}]*) \}", svg))
    spans = re.findall(r'<text class="terminal-\d+-(r\d+)"[^>]*>([^<]*)</text>', svg)
    return [(html.unescape(text).replace("\xa0", " "), styles[style]) for style, text in spans]


def main() -> None:
    """Draw all pictures into docs/."""
    import pytest  # noqa: PLC0415 - only to set environment variables

    for name in SCREENS:
        with pytest.MonkeyPatch.context() as monkeypatch, TemporaryDirectory() as data:
            monkeypatch.setenv("XDG_DATA_HOME", data)  # the offer is shown once a day
            rated.make_up(monkeypatch)
            (DOCS / f"{name}.svg").write_text(draw(name, monkeypatch), encoding="utf-8")


if __name__ == "__main__":
    main()
