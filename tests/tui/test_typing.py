"""What is typed and pasted, wherever the focus is; commands behind a slash; Ctrl+C."""

from __future__ import annotations

from pathlib import Path

import msgspec
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
        for key in "Here":  # in one go: e would be a command
            chat.app.simulate_key(key)
        await chat.until(lambda: chat.app.composer.text == "Here")
        await chat.press("ctrl+c", "H", "i", "tab")
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
        for wrong in ("/threshold much", "/nothing at all", "/new now", "/pair nobody", "/file nowhere.txt"):
            await chat.type(wrong)
            await chat.press("enter")
            assert chat.app.composer.text == wrong
            assert not chat.turns
            await chat.press("ctrl+c")


@played
async def test_a_command_can_edit_a_question_and_a_file_that_is_damaged_ends_no_chat(
    small: Path, large: Path, tmp_path: Path
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("How many?")
        await chat.type("/edit")
        await chat.press("enter")
        await chat.until(lambda: chat.app.composer.text == "How many?")
        await chat.type(" Really")
        await chat.press("enter")
        await chat.until(lambda: chat.turn.question == "How many? Really" and not chat.app.busy)
        assert len(chat.turns) == 1
        (tmp_path / "models.toml").write_text("no table", encoding="utf-8")
        chat.app.request = msgspec.structs.replace(chat.app.request, models_file=tmp_path / "models.toml")
        await chat.type("/pair ")
        assert chat.app.composer.text == "/pair "
        assert chat.app.completions.chosen is None


@played
async def test_earlier_messages_are_recalled_past_a_command(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("first")
        await chat.press("ctrl+c")
        await chat.type("/pair nobody")
        await chat.press("ctrl+c", "up")
        assert chat.app.composer.text == "/pair nobody"
        await chat.press("up")
        assert chat.app.composer.text == "first"


@played
async def test_a_paste_into_a_dialog_goes_nowhere_else(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("ctrl+s")
        await chat.until(lambda: chat.app.screen.query("#system"))
        chat.app.screen.query_one("#system").focus()
        await chat.pilot.pause()
        chat.app.post_message(events.Paste("Be brief."))
        await chat.until(lambda: "Be brief." in chat.screen)
        assert chat.app.composer.text == ""


@played
async def test_all_commands_are_in_the_palette_and_found_by_what_they_do(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("ctrl+p")
        await chat.until(lambda: "Start a new conversation" in chat.screen)
        lines = chat.screen.splitlines()
        new, other = (next(at for at, line in enumerate(lines) if title in line) for title in ("Start a new", "Open a"))
        assert new < other
        await chat.press(*"temperature")
        await chat.until(lambda: "Change the settings" in chat.screen and "Start a new" not in chat.screen)


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
        assert chat.status.startswith("S ")
        assert "tokens/s" in chat.status[:40]


@played
async def test_a_click_chooses_a_step_and_the_keys_stay_in_the_box(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask()
        assert turn.thought is not None
        block = turn.thought.blocks[2]
        await chat.pilot.click(block)
        await chat.until(lambda: "Step 3 by the large model" in chat.screen)
        assert chat.app.conversation.chosen is block
        await chat.press("y", "e", "s")
        assert chat.app.composer.text == "yes"
        await chat.press("ctrl+c", "tab", "up")
        await chat.until(lambda: "Step 2 by the small model" in chat.screen)


@played
async def test_without_a_panel_the_status_line_says_why(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 24)) as chat:
        await chat.ask()
        finished = chat.status
        await chat.press("tab", "up", "up")
        await chat.until(lambda: chat.status.startswith("Step 3 by the large model"))
        await chat.press("tab")
        await chat.until(lambda: chat.status == finished)


@played
async def test_an_answer_can_be_chosen_while_it_is_written() -> None:
    async with chatting(pair={"name": "builtin"}, pace_seconds=20 * PACE) as chat:
        await chat.type("what is 12*7?")
        await chat.press("enter")
        await chat.until(lambda: chat.turns and chat.turn.answer is not None)
        assert chat.app.busy
        chat.app.conversation.take_focus()
        await chat.press("up")
        assert chat.app.conversation.chosen is chat.turn.answer
        chat.app._pump.show_panel()
        await chat.until(lambda: "The answer by the" in chat.screen)
        await chat.until(lambda: not chat.app.busy)
