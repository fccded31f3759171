"""The saved conversations inside the chat, and the search within the one on the screen."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList

from glimp_local.records import conversations, saved
from glimp_local.tui.screens.conversations import ConversationsScreen
from glimp_local.tui.screens.export import ExportScreen, file_name
from glimp_local.tui.search_bar import SearchBar
from tests.support.chatting import Chat, chatting, played
from tests.support.damaged import HEADER, turn_lines, write
from tests.support.sessions import exchanges_of


def advice(chat: Chat) -> str:
    return str(chat.app.screen.query_one("#advice").render())


async def open_list(chat: Chat, count: int) -> None:
    await chat.press("ctrl+o")
    await chat.until(lambda: isinstance(chat.app.screen, ConversationsScreen) and advice(chat).startswith(f"{count}"))
    await chat.until(lambda: "reading" not in advice(chat))


def rows(chat: Chat) -> list[str]:
    """The titles in the list."""
    shown = chat.app.screen.query_one(OptionList).options
    return [str(option.prompt).split("\n")[0] for option in shown]


@pytest.fixture
def three() -> list[Path]:
    """Three conversations: one of two days ago, one of two hours ago that is damaged, and what is none."""
    old = write("20260102-030405-aaaa", HEADER, *turn_lines(0, "What is the sum of marbles?"), *turn_lines(1))
    damaged = write("20260203-040506-bbbb", HEADER, *turn_lines(2, "Apples [or pears]\x1b[2J?"), b"?\n", *turn_lines(3))
    lost = write("lost", b"?\n")
    for path, hours in ((old, 48.1), (damaged, 2.1), (lost, 24 * 8)):
        os.utime(path, (1, time.time() - hours * 3600))
    return [old, damaged, lost]


@played
async def test_saved_conversations_are_listed_found_and_opened(three: list[Path], small: Path, large: Path) -> None:
    old = three[0]
    async with chatting(small, large, size=(80, 24)) as chat:
        await chat.ask("first")
        here = chat.app.saved.path
        await chat.type("half a mess")
        await open_list(chat, 4)
        assert rows(chat) == ["first", "Apples [or pears]␛[2J?", "What is the sum of marbles?", "lost"]
        assert "just now · small + large · 1 turn · " in chat.screen
        assert "on the screen" in chat.screen
        assert "2 h ago · builtin · 2 turns · " in chat.screen
        assert "damaged: 2 of 2 turns restored (line 14:" in chat.screen
        assert "cannot be restored: line 1:" in chat.screen
        await chat.press(*"question 1")
        assert rows(chat) == ["What is the sum of marbles?"]  # it is in the text
        assert advice(chat).startswith("1 of 4\n…")
        assert "Question 1: how many?" in advice(chat)
        await chat.press("x")
        assert (rows(chat), advice(chat)) == ([], "None has these words.")
        await chat.press("backspace", "enter")
        await chat.until(lambda: chat.app.saved.path == old and len(chat.turns) == 2)
        assert "The answer is [ 1 ]." in chat.screen
        assert chat.app.composer.text == "half a mess"
        assert chat.app.composer.has_focus
        chat.app.composer.clear()
        await chat.ask("third")
        assert chat.app.session is not None
        assert [question for question, _ in exchanges_of(chat.app.session)][1:] == ["Question 1: how many?", "third"]
    assert [turn.question for turn in saved.read(old).turns][1:] == ["Question 1: how many?", "third"]
    assert [turn.question for turn in saved.read(here).turns] == ["first"]
    assert not list(conversations.folder().glob("*.lock"))


@played
async def test_what_cannot_be_opened_leaves_the_conversation_as_it_is(small: Path, large: Path) -> None:
    write("lost", b"?\n")
    long = write("20260102-030405-long", HEADER, *turn_lines(0, "many words " * 900))
    async with chatting(small, large, context=400) as chat:
        await chat.ask("first")
        await open_list(chat, 3)
        await chat.press(*"lost", "enter")
        await chat.until(lambda: any("cannot be restored" in each.message for each in chat.app._notifications))
        assert isinstance(chat.app.screen, ConversationsScreen)
        await chat.press("ctrl+u", *"many words", "enter")
        await chat.until(lambda: "more than the context of" in "".join(chat.notices))
        await chat.ask("second")
        assert [turn.question for turn in chat.turns] == ["first", "second"]
        assert chat.app.saved.path != long


@played
async def test_conversations_are_renamed_copied_and_deleted_in_the_list(
    three: list[Path], small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr("pyperclip.copy", copied.append)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    async with chatting(small, large) as chat:
        await chat.ask("first")
        here = chat.app.saved.path
        await open_list(chat, 4)
        await chat.press("down", "down", "ctrl+r", *"Sums", "enter")
        await chat.until(lambda: rows(chat)[2] == "Sums")
        await chat.press("ctrl+y")
        await chat.until(lambda: copied)
        assert copied[0].startswith("# Sums\n\n*builtin, ")
        assert "## Question 1: how many?\n\nThe answer is \\boxed{1}." in copied[0]
        await chat.press("ctrl+d", "enter")  # it is kept, unless another answer is chosen
        assert three[0].exists()
        await chat.press("ctrl+d", "down", "enter")
        await chat.until(lambda: len(rows(chat)) == 3)
        assert not three[0].exists()
        await chat.press("up", "up", "ctrl+r", "end", *"!", "enter")
        await chat.until(lambda: rows(chat)[0] == "first!")
        assert saved.read(here).title == "first!"
        await chat.press("ctrl+d", "y")
        await chat.until(lambda: not chat.turns and not here.exists())
        assert not list(conversations.folder().glob("*.lock"))
        await chat.ask("second")
    assert conversations.find().title == "second"


@played
async def test_a_conversation_is_exported_to_a_file_whose_path_is_shown(
    small: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with chatting(small, large) as chat:
        chat.app.action_export()
        await chat.until(lambda: any("ask something first" in each.message for each in chat.app._notifications))
        await chat.ask("How / many?")
        chat.app.action_export()
        await chat.until(lambda: isinstance(chat.app.screen, ExportScreen))
        assert chat.app.screen.query_one(Input).value == str(tmp_path / "how-many.md")
        await chat.press("down", "down", "enter")
        await chat.until(lambda: not isinstance(chat.app.screen, ExportScreen))
        path = tmp_path / "how-many.json"
        assert json.loads(path.read_text(encoding="utf-8"))["turns"][0]["steps"][2]["model"] == "large"
        assert any(each.message == f"Written: {path}" for each in chat.app._notifications)
        chat.app.action_export()
        await chat.press("down", "down", "enter")
        await chat.until(lambda: f"{path}: it exists" in advice(chat))
        await chat.press("down", "enter")
        await chat.until(lambda: not isinstance(chat.app.screen, ExportScreen))
        assert "Third three." in (tmp_path / "how-many.html").read_text(encoding="utf-8")


def test_a_title_is_a_file_name_without_what_a_system_could_refuse() -> None:
    assert file_name(" Ärger: 3/4 of *all*\\..\x1b? ") == "ärger-3-4-of-all"
    assert len(file_name("word " * 100)) <= 40
    assert file_name("...") == ""


@played
async def test_words_are_found_in_the_conversation_also_in_folded_thoughts(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(100, 16)) as chat:
        await chat.ask("first")
        await chat.ask("second")
        await chat.press("ctrl+t")
        await chat.type("half a mess")
        await chat.press("ctrl+f", *"three")
        thoughts = [turn.thought for turn in chat.turns]
        assert [thought and thought.folded for thought in thoughts] == [False, True]
        await chat.until(lambda: "Third three." in chat.screen)
        assert "1 of 2" in chat.screen
        await chat.press("enter")
        assert [thought and thought.folded for thought in thoughts] == [True, False]
        await chat.until(lambda: "2 of 2" in chat.screen)
        await chat.press("enter", "up")
        assert "2 of 2" in chat.screen
        await chat.press("escape")
        assert [thought and thought.folded for thought in thoughts] == [True, True]
        assert not chat.app.query(SearchBar)
        assert chat.app.composer.has_focus
        assert chat.app.composer.text == "half a mess"
        await chat.until(lambda: chat.app.conversation.is_vertical_scroll_end)
        await chat.press("ctrl+f", *"three", "tab")
        await chat.until(lambda: chat.app.conversation.chosen is not None)
        assert chat.app.conversation.chosen is not None
        assert chat.app.conversation.chosen.index == 2
        assert thoughts[0] is not None
        assert not thoughts[0].folded


@played
async def test_words_that_are_not_there_are_said_not_to_be_and_found_ones_are_marked(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("How many?")
        for key in ("ctrl+f", *"nowhere"):
            chat.app.simulate_key(key)  # faster than anything is drawn
        await chat.until(lambda: "not found" in chat.screen)
        assert chat.app.composer.text == ""
        chat.app.query_one(SearchBar).query_one(Input).value = "answer"
        await chat.until(lambda: "1 of 1" in chat.screen)
        text = chat.turn.answer.query_one("MarkdownParagraph")  # type: ignore[union-attr]  # it has one
        await chat.until(lambda: "reverse" in repr(text.render()))
        await chat.press("escape")
        assert "reverse" not in repr(text.render())
