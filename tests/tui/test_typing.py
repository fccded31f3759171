"""What is typed and pasted, wherever the focus is; commands behind a slash; Ctrl+C."""

from __future__ import annotations

from pathlib import Path

from textual import events

from glimp_local.routing import Share, Threshold
from tests.support.chatting import DRAWN, PACE, Chat, chatting, played


def _policy(chat: Chat) -> tuple[str, float]:
    assert chat.app.session is not None
    match chat.app.session.policy:
        case Share(share=share):
            return "share", share
        case Threshold(threshold_nats=nats):
            return "threshold", nats
        case other:
            raise AssertionError(other)


@played
async def test_keys_that_are_no_command_and_every_paste_go_to_the_box(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.go_to_steps()
        await chat.press("H", "i")
        assert chat.app.composer.text == "Hi"
        await chat.press("tab")
        await chat.until(lambda: chat.app.conversation.has_focus)
        chat.app.post_message(events.Paste(" there\nyou"))
        await chat.until(lambda: chat.app.composer.text == "Hi there\nyou")
        chat.app.post_message(events.Paste("!"))
        await chat.until(lambda: chat.app.composer.text == "Hi there\nyou!")


@played
async def test_a_command_is_completed_and_obeyed_and_an_unknown_one_is_not_sent(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("/", "s", "h")
        assert "/share" in chat.screen
        await chat.press("tab", "0", ".", "4", "enter")
        assert _policy(chat) == ("share", 0.4)
        assert chat.app.composer.text == ""
        await chat.type("/threshold 0.7")
        await chat.press("enter")
        assert _policy(chat) == ("threshold", 0.7)
        for wrong in ("/threshold much", "/nothing at all", "/new now"):
            await chat.type(wrong)
            await chat.press("enter")
            assert chat.app.composer.text == wrong
            assert not chat.turns
            await chat.press("ctrl+c")


@played
async def test_a_line_with_a_blank_before_the_slash_is_a_question(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask(" /etc?")
        assert turn.question == " /etc?"


@played
async def test_a_file_is_attached_and_shown_as_a_chip(small: Path, large: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("How many?", encoding="utf-8")
    async with chatting(small, large) as chat:
        await chat.type(f"/file {tmp_path}/notes.txt")
        await chat.press("enter")
        await chat.until(lambda: chat.app.composer.text.startswith("@"))
        await chat.press("enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert "How many?\n</file>" in chat.turn.question
        assert "notes.txt, 1 line, 9 bytes" in chat.screen


@played
async def test_ctrl_c_stops_a_run_then_clears_the_box_and_quits_when_pressed_twice_at_rest(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.press("ctrl+c")
        await chat.until(lambda: not chat.app.busy)
        assert chat.turn.run.finish == "cancelled"
        await chat.type("half a question")
        await chat.press("ctrl+c")
        assert chat.app.composer.text == ""
        await chat.press("up")
        assert chat.app.composer.text == "half a question"
        await chat.press("ctrl+c", "ctrl+c")
        assert "again quits" in chat.status
        await chat.press("ctrl+c")
        await chat.until(lambda: not chat.app.is_running)


@played
async def test_eighty_columns_have_help_and_palette_and_forty_as_well(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 24)) as chat:
        for width in (80, 40):
            await chat.pilot.resize_terminal(width, 24)
            await chat.pilot.pause()
            await chat.pilot.pause()
            last = chat.screen.splitlines()[-1]
            assert "f1" in last.lower()
            assert "^p" in last
        await chat.pilot.resize_terminal(80, 24)
        await chat.pilot.pause()
        await chat.ask()
        assert "tokens/s" in chat.status
