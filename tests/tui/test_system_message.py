"""The system message on top of a conversation: shown, folded, restored, exported."""

from __future__ import annotations

import json
from pathlib import Path

from glimp_local.messages import Message
from glimp_local.records import conversations
from glimp_local.records.exports import as_json, as_markdown
from tests.support.chatting import chatting, played

TERSE = "Answer in one word."
LONG = "\n".join(f"Rule {i}: be kind." for i in range(1, 9))


@played
async def test_it_stands_once_above_the_first_question(small: Path, large: Path) -> None:
    async with chatting(small, large, system=TERSE) as chat:
        await chat.ask("first")
        await chat.ask("second")
        lines = [line.split("│")[0] for line in chat.screen.splitlines()]
        (at,) = [i for i, line in enumerate(lines) if TERSE in line]
        assert "first" in " ".join(lines[at + 1 : at + 4])
        assert at < next(i for i, line in enumerate(lines) if "second" in line)
        assert chat.app.session is not None
        assert chat.app.session.messages[0] == Message("system", TERSE)


@played
async def test_without_one_nothing_stands_there(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        assert chat.app.conversation.system is None


@played
async def test_of_a_long_one_the_beginning_is_shown_until_enter_unfolds_it(small: Path, large: Path) -> None:
    async with chatting(small, large, system=LONG) as chat:
        await chat.ask("first")
        assert "Rule 3: be kind. …" in chat.screen
        assert "Rule 4" not in chat.screen
        await chat.go_to_steps()
        await chat.press("ctrl+t", "up", "up", "up")  # the thought is folded: the answer, the question, the message
        await chat.press("enter")
        assert "Rule 8: be kind." in chat.screen
        await chat.press("enter")
        assert "Rule 4" not in chat.screen


@played
async def test_it_is_copied_when_it_is_chosen(small: Path, large: Path) -> None:
    async with chatting(small, large, system=LONG) as chat:
        await chat.ask("first")
        await chat.go_to_steps()
        await chat.press("ctrl+t", "up", "up", "up", "y")
        assert chat.app.clipboard == LONG


@played
async def test_it_is_restored_with_its_conversation(small: Path, large: Path) -> None:
    async with chatting(small, large, system=TERSE) as chat:
        await chat.ask("first")
        await chat.ask("second")
    async with chatting(small, large, going_on=conversations.find()) as chat:
        assert TERSE in chat.screen
        await chat.ask("third")
        assert chat.app.session is not None
        said = [message.content for message in chat.app.session.messages]
        assert said[:2] == [TERSE, "first"]
        assert said.count(TERSE) == 1
        assert chat.screen.count(TERSE) == 1


@played
async def test_another_question_in_place_of_the_first_one_stays_below_it(small: Path, large: Path) -> None:
    async with chatting(small, large, system=TERSE) as chat:
        await chat.ask("first")
        await chat.go_to_steps()
        await chat.press("e")
        await chat.type(" in other words")
        await chat.press("enter")
        await chat.until(lambda: chat.turns and chat.turn.question == "first in other words" and not chat.app.busy)
        assert chat.screen.count(TERSE) == 1
        assert chat.app.session is not None
        assert [message.role for message in chat.app.session.messages] == ["system", "user", "assistant"]


@played
async def test_a_new_conversation_begins_with_it_too(small: Path, large: Path) -> None:
    async with chatting(small, large, system=TERSE) as chat:
        await chat.ask("first")
        before = chat.app.saved.path
        chat.app.action_new()
        await chat.until(lambda: chat.app.saved.path != before and not chat.turns)
        assert TERSE not in chat.screen
        await chat.ask("other")
        assert TERSE in chat.screen
    assert [found.system for found in (conversations.find(), conversations.find(before.stem))] == [TERSE, TERSE]


@played
async def test_exports_keep_it(small: Path, large: Path) -> None:
    async with chatting(small, large, system=LONG) as chat:
        await chat.ask("first")
    found = conversations.find()
    assert json.loads(as_json(found))["system"] == LONG
    text = as_markdown(found)
    assert text.index("> Rule 8: be kind.") < text.index("## first")


@played
async def test_what_steers_a_terminal_in_it_is_shown_as_text(small: Path, large: Path) -> None:
    async with chatting(small, large, system="\x1b[31mred\x9b0m") as chat:
        await chat.ask("first")
        assert "␛[31mred" in chat.screen
        assert not {"\x1b", "\x9b"} & set(chat.screen)
