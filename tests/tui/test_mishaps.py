"""Keys pressed too often or too early, odd names of files, a full disk: the chat stays, and nothing written is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from glimp_local.records.session_log import SessionLog
from glimp_local.tui.recalled import Draft, Recalled
from glimp_local.tui.screens.confirm import ConfirmScreen
from glimp_local.tui.screens.conversations import ConversationsScreen
from glimp_local.tui.screens.help import HelpScreen
from glimp_local.tui.screens.rename import RenameScreen
from glimp_local.tui.screens.settings import SettingsScreen
from tests.support.chatting import Chat, chatting, played


def at_once(chat: Chat, *keys: str) -> None:
    """Press keys faster than the chat sees to them."""
    for key in keys:
        chat.app.simulate_key(key)  # as it comes from the terminal: nothing waits for it


@played
async def test_a_key_held_down_closes_a_dialog_and_nothing_else(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        chat.app.action_rename()
        await chat.until(lambda: isinstance(chat.app.screen, RenameScreen))
        at_once(chat, "x", "enter", "enter", "enter")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        await chat.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, ConversationsScreen) and "1 saved" in chat.screen)
        at_once(chat, "enter", "enter")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        assert chat.app.is_running


@pytest.mark.parametrize(
    ("key", "screen"), [("ctrl+s", SettingsScreen), ("ctrl+o", ConversationsScreen), ("f1", HelpScreen)]
)
@played
async def test_a_screen_is_shown_once(small: Path, large: Path, key: str, screen: type) -> None:
    async with chatting(small, large) as chat:
        at_once(chat, key, key, key)
        await chat.until(lambda: isinstance(chat.app.screen, screen))
        assert len(chat.app.screen_stack) == (1 if key == "f1" else 2) or isinstance(chat.app.screen, screen)
        assert [type(each) for each in chat.app.screen_stack].count(screen) == 1


@played
async def test_ctrl_c_closes_a_dialog_and_leaves_what_stands_in_the_box(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("half a mess")
        await chat.press("f1", "ctrl+c")
        assert len(chat.app.screen_stack) == 1
        assert chat.app.composer.text == "half a mess"
        await chat.press("ctrl+c")
        assert chat.app.composer.text == ""
        assert chat.app.is_running


@played
async def test_the_name_of_a_file_is_shown_as_it_is(
    small: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[Q=@a].txt").write_text("How many?\n" * 20, encoding="utf-8")
    (tmp_path / os.fsdecode(b"not-\xff.txt")).write_text("How many?", encoding="utf-8")
    async with chatting(small, large) as chat:
        await chat.type("@[Q=@a].txt")
        await chat.until(lambda: "[Q=@a].txt 200 bytes" in chat.screen)
        await chat.press("ctrl+c", "@", "n", "o")
        assert chat.app.completions.chosen is None  # what is no text cannot be sent


@played
async def test_a_draft_is_recalled_after_an_older_message_was_sent_instead(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.type("half a mess")
        await chat.press("up", "enter")
        await chat.until(lambda: len(chat.turns) == 2 and not chat.app.busy)
        await chat.press("up")
        assert chat.app.composer.text == "first"
        await chat.press("up")
        assert chat.app.composer.text == "half a mess"


def test_a_recalled_message_has_the_files_it_was_sent_with() -> None:
    recalled = Recalled()
    recalled.remember(Draft("see @a", {"a": "text"}))
    assert recalled.go(-1, Draft("now")) == Draft("see @a", {"a": "text"})
    assert not recalled.can_go(-1)
    assert recalled.go(1, Draft("see @a!", {"a": "text"})) == Draft("now")
    assert recalled.go(-1, Draft("now")) == Draft("see @a!", {"a": "text"})


@played
async def test_what_is_typed_in_the_same_moment_is_completed_whole(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("/", "t")
        at_once(chat, "h", "r", "e", "tab")
        await chat.until(lambda: chat.app.composer.text == "/threshold ")


@played
async def test_a_new_conversation_takes_no_question_s_place(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.press("tab", "e")
        await chat.until(lambda: chat.app.composer.border_title)
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        await chat.press("enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question == "first"
        assert chat.notices == []


@played
async def test_a_chat_that_is_not_saved_is_left_only_if_that_is_meant(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(SessionLog, "error", property(lambda _: full))
        for keys in (["ctrl+q"], ["ctrl+c", "ctrl+c"]):
            await chat.press(*keys)
            await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
            assert "is not saved (No space left on device). Quit all the same?" in chat.screen
            await chat.press("n")
            assert len(chat.app.screen_stack) == 1


@pytest.mark.parametrize(
    ("command", "said"), [("/answer", "No thought is being written."), ("/again", "Nothing was asked yet.")]
)
@played
async def test_a_command_that_can_do_nothing_says_so(small: Path, large: Path, command: str, said: str) -> None:
    async with chatting(small, large) as chat:
        await chat.type(command)
        await chat.press("enter")
        await chat.until(lambda: said in {note.message for note in chat.app._notifications})


@played
async def test_ctrl_c_empties_the_box_of_a_declined_question() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        await chat.type("Hello there")
        await chat.press("enter")
        await chat.until(lambda: chat.notices and not chat.app.busy)
        await chat.press("ctrl+c")
        await chat.until(lambda: chat.app.composer.text == "")


@played
async def test_an_answer_stands_with_its_question_whatever_was_declined_behind_it() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        await chat.ask("what is 3+4?")
        await chat.type("Hello there")
        await chat.press("enter")
        await chat.until(lambda: chat.notices and not chat.app.busy)
        await chat.press("ctrl+c")
        await chat.ask("what is 5+6?")
        await chat.go_to_steps()
        places = [["3 + 4 = [ 7 ]", "Hello there", "5 + 6 = [ 11 ]"], ["3 + 4 = [ 7 ]", "Hello there"]]
        assert [text for line in chat.screen.splitlines() for text in places[0] if text in line] == places[0]
        chat.app._engines.redo(chat.turns[0].run.turn, chat.turns[0].run.steps[-1].index)
        await chat.until(lambda: len(chat.turns) == 1 and not chat.app.busy and "2/2" in chat.screen)
        assert [text for line in chat.screen.splitlines() for text in places[1] if text in line] == places[1]
        await chat.press("left")
        await chat.until(lambda: len(chat.turns) == 2)
        assert "Hello" in [line for line in chat.screen.splitlines() if "3 + 4" in line or "Hello" in line][-1]


@played
async def test_what_is_asked_is_seen_wherever_one_was(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(100, 24)) as chat:
        for question in ("first", "second", "third"):
            await chat.ask(question)
        for keys in (("pagedown",), ("pageup", "pageup")):
            await chat.press(*keys)
            await chat.ask("and now?")
            await chat.until(lambda: chat.app.conversation.is_vertical_scroll_end)
            assert "Answer [ 3 ]" in "\n".join(chat.screen.splitlines()[-9:])


@played
async def test_who_decides_is_said_where_there_is_no_panel(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 24)) as chat:
        await chat.type("/threshold 0.7")
        await chat.press("enter")
        await chat.until(lambda: "From the next step: large above 0.7 nats." in chat.screen)
