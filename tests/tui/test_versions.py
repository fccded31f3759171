"""The chat: redo and other questions on any turn, and the way back to what stood there."""

from __future__ import annotations

from pathlib import Path

from glimp_local.records import conversations
from tests.support.chatting import DRAWN, PACE, chatting, played
from tests.support.sessions import exchanges_of


@played
async def test_a_redo_of_an_earlier_turn_keeps_the_conversation_as_a_version_that_one_can_go_back_to(
    small: Path, large: Path
) -> None:
    async with chatting(small, large, size=(80, 14)) as chat:
        first = await chat.ask("first")
        await chat.ask("second")
        before = [turn.run for turn in chat.turns]
        assert first.answer is not None
        await chat.press("tab")
        first.answer.focus()
        await chat.press("r")
        await chat.until(lambda: not chat.app.busy and len(chat.turns) == 1)
        assert chat.turn.run.steps[-1].reason == "redo"
        assert "first  ←2/2" in chat.screen
        assert "second" not in chat.screen
        await chat.press("left")
        await chat.until(lambda: len(chat.turns) == 2)
        assert [turn.run.steps for turn in chat.turns] == [run.steps for run in before]
        await chat.until(lambda: "first  1/2→" in chat.screen)
        # The question of the same turn is chosen now, so that the keys lead on, and what comes stands behind it.
        assert chat.app.screen.focused is chat.turns[0].heading
        await chat.press("left")
        assert len(chat.turns) == 2
        await chat.press("right")
        await chat.until(lambda: len(chat.turns) == 1)
        await chat.ask("third")
        assert chat.app.session is not None
        assert [question for question, _ in exchanges_of(chat.app.session)] == ["first", "third"]
    found = conversations.find()
    assert [turn.asked for turn in found.turns] == ["first", "third"]
    async with chatting(small, large, going_on=found) as chat:
        assert "first  ←2/2" in chat.screen
        await chat.press("tab", "up", "up", "up", "left")  # the answer, its question, the answer of the turn before
        await chat.until(lambda: [turn.question for turn in chat.turns] == ["first", "second"])
        assert [turn.run.steps for turn in chat.turns] == [run.steps for run in before]
        assert [turn.asked for turn in conversations.find().turns] == ["first", "second"]


@played
async def test_an_earlier_question_is_asked_in_other_words_and_versions_of_a_turn_stand_side_by_side(
    small: Path, large: Path
) -> None:
    async with chatting(small, large) as chat:
        first = await chat.ask("first")
        await chat.ask("second")

        async def edit(words: str, sign: str) -> None:
            await chat.press("tab")
            chat.turns[0].heading.focus()
            await chat.press("e")
            assert chat.app.composer.text == chat.turns[0].question
            await chat.type(words)
            await chat.press("enter")
            await chat.until(lambda: sign in chat.screen and chat.turn.text and not chat.app.busy)
            assert len(chat.turns) == 1

        await edit(" in other words", "←2/2")
        await edit(" anew", "←3/3")
        assert chat.turn.question == "first in other words anew"
        chat.turn.heading.focus()
        await chat.press("y")
        assert chat.app.clipboard == "first in other words anew"
        await chat.press("left")
        await chat.until(lambda: "first in other words  ←2/3→" in chat.screen)
        await chat.press("left")
        await chat.until(lambda: [turn.question for turn in chat.turns] == ["first", "second"])
        assert chat.turns[0].run.steps == first.run.steps


@played
async def test_a_run_is_left_for_another_version_only_once_it_is_stopped(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=10 * PACE, max_thought=400, max_answer=8) as chat:
        await chat.begin("first")
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        stopped = chat.turn.run.steps[:]
        await chat.press("tab", "e")
        await chat.type(" again")
        await chat.press("enter")
        await chat.until(lambda: chat.turn.question == "first again" and chat.app.busy and chat.turn.run.steps)
        await chat.go_to_steps()
        await chat.press("left")
        assert chat.turn.question == "first again"
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert chat.turn.question == "first again"
        await chat.press("left")
        await chat.until(lambda: chat.turn.question == "first")
        assert chat.turn.run.steps == stopped
        await chat.press("g")  # goes on where it was stopped
        await chat.until(lambda: len(chat.turn.run.steps) > len(stopped))
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert chat.turn.run.steps[: len(stopped)] == stopped


@played
async def test_another_pair_takes_over_all_versions(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.press("tab", "up", "r")
        await chat.until(lambda: not chat.app.busy and "←2/2" in chat.screen and chat.turn.text)
        steps = chat.turn.run.steps
        await chat.switch({"small": small, "large": large, "thinking": "none"})
        await chat.press("left")
        await chat.until(lambda: "1/2→" in chat.screen)
        assert chat.turn.answer is not None
        chat.turn.answer.focus()
        await chat.press("r")  # a step of another kind of pair
        await chat.until(lambda: chat.notices and not chat.app.busy)
        assert "a pair of another kind has written this turn" in chat.notices[-1]
        await chat.press("right")
        await chat.until(lambda: "←2/2" in chat.screen)
        assert chat.turn.run.steps == steps
