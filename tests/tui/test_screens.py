"""The chat: its screens, its messages, its pairs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from glimp_local.errors import CancelledError
from glimp_local.load import LoadRequest
from glimp_local.records import conversations
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.screens.help import HelpScreen
from glimp_local.tui.screens.pairs import PairScreen
from tests.support.chatting import chatting, played
from tests.support.sessions import exchanges_of

# The screens.


@played
async def test_the_panel_plots_entropies_and_can_be_hidden(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        assert "large above 1.0 nats" in chat.screen
        assert "25% of 4 steps" in chat.screen
        assert "SSLS" in chat.screen
        await chat.press("ctrl+b")
        assert not chat.app.query_one(SidePanel).display
        assert "large above" not in chat.screen
        await chat.press("ctrl+b")
        assert "large above" in chat.screen
        await chat.pilot.resize_terminal(70, 30)
        assert not chat.app.query_one(SidePanel).display


@played
async def test_help_shows_the_keys_and_what_the_words_mean(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("f1")
        assert isinstance(chat.app.screen, HelpScreen)
        await chat.until(lambda: "Ctrl+T" in chat.screen)
        await chat.press("end")
        for word in ("nats", "entropy", "threshold", "share", "catch-up", "drafts", "context"):
            assert f"  {word} " in chat.screen, word
        await chat.press("escape")
        assert not isinstance(chat.app.screen, HelpScreen)


@played
async def test_keys_are_offered_only_where_they_work(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab")
        footer = chat.screen.splitlines()[-1]
        assert "Edit" in footer
        assert "Answer now" not in footer


@played
async def test_a_missing_pair_leads_to_those_that_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a longer path would be broken into two lines
    async with chatting(Path("none.gguf"), loads=False) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        await chat.until(lambda: "none.gguf: no such file" in chat.screen)
        await chat.press("enter")
        await chat.until(lambda: chat.status.startswith("builtin"))


@played
async def test_a_models_file_that_cannot_be_read_is_said_and_no_pair_asked_for(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("default = 3", encoding="utf-8")
    async with chatting(pair={"name": "builtin", "models_file": tmp_path / "models.toml"}, loads=False) as chat:
        await chat.until(lambda: chat.notices)
        assert "models.toml" in chat.notices[0]
        assert chat.status == "no pair is loaded: /pair shows them"


@played
async def test_an_unknown_pair_leads_to_those_there_are() -> None:
    async with chatting(pair={"name": "bultin"}, loads=False) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        assert "bultin" in chat.screen


@played
async def test_a_pair_that_is_loading_can_be_stopped(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_request: LoadRequest, *, cancel: threading.Event, **_more: object) -> None:
        cancel.wait(30)
        raise CancelledError("cancelled while loading big.gguf")

    with monkeypatch.context() as patch:
        patch.setattr("glimp_local.tui.driver.load", load)
        async with chatting(small, loads=False) as chat:
            await chat.press("escape")
            await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
            assert "cancelled while loading big.gguf" in chat.screen


@played
async def test_an_error_in_the_thread_is_shown_and_the_conversation_is_kept(small: Path, large: Path) -> None:
    async with chatting(small, large, context=96) as chat:
        await chat.ask("first")
        for keys in (), ("tab", "e"):  # a new question, and another in the place of the last one
            await chat.press(*keys)
            await chat.type("too long " * 100)
            await chat.press("enter")
            await chat.until(lambda: not chat.app.busy)
            assert "more than the context of" in chat.notices[-1]
            assert chat.app.composer.text.endswith("too long " * 100)
            assert bool(chat.app.composer.border_title) == bool(keys)
            assert [turn.question for turn in chat.turns] == ["first"]
            assert chat.app.session is not None
            assert exchanges_of(chat.app.session) == [("first", "Answer \\boxed{3}")]
            chat.app.composer.clear()
            await chat.press("escape")
        await chat.ask("short")
        assert chat.turn.text


@played
async def test_a_mistake_of_ours_is_a_message_too_and_the_conversation_goes_on(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        with monkeypatch.context() as patch:
            patch.setattr("glimp_local.engines.glimpse.glimpse", lambda *_arguments, **_more: 1 / 0)
            await chat.type("second")
            await chat.press("enter")
            await chat.until(lambda: chat.notices and not chat.app.busy)
        assert "unexpected error (ZeroDivisionError: division by zero)" in chat.notices[-1]
        await chat.press("tab", "g")
        await chat.until(lambda: chat.turn.text and not chat.app.busy)
        assert [turn.question for turn in chat.turns] == ["first", "second"]


@played
async def test_a_pair_of_another_kind_takes_over_the_answer_without_the_thought(small: Path, large: Path) -> None:
    exchanges = [("first", "Answer \\boxed{3}")]
    async with chatting(small, large) as chat:
        await chat.ask("first")
        thinking = {"small": small, "large": large}
        for pair in {**thinking, "thinking": "none"}, thinking:
            assert exchanges_of(await chat.switch(pair)) == exchanges
    async with chatting(small, large, thinking="none") as chat:
        reply = (await chat.ask("first")).text
        assert exchanges_of(await chat.switch(thinking)) == [("first", reply)]
        await chat.ask("second")
    assert [turn.answer for turn in conversations.find().turns] == [reply, "Answer \\boxed{3}"]


@played
async def test_another_pair_takes_the_conversation_over(small: Path, large: Path, tiny: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        session = await chat.switch({"small": tiny / "looping.gguf", "large": large})
        assert exchanges_of(session) == [("first", "Answer \\boxed{3}")]
