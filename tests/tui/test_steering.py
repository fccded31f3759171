"""The chat: stopping, steering, choosing and copying."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.records import conversations
from glimp_local.routing import Share, Threshold
from glimp_local.tui.commands import commands
from glimp_local.tui.composer import Composer
from glimp_local.tui.steps import WINDOW
from tests.support.chatting import DRAWN, EXAMPLE, PACE, Chat, chatting, played
from tests.support.sessions import exchanges_of

# Stopping and steering.


@played
async def test_escape_stops_and_keeps_what_was_written_and_what_was_typed(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.type("half a mess")
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert chat.turn.run.finish == "cancelled"
        assert chat.turn.thought is not None
        assert chat.turn.thought.blocks[0].text.endswith("one.\n\n")
        assert chat.notices == ["Stopped; what was written so far is kept."]
        await chat.press("escape")
        assert chat.app.composer.has_focus
        await chat.press("tab")
        assert chat.app.conversation.has_focus
        await chat.press("escape")
        assert chat.app.composer.has_focus
        assert chat.app.composer.text == "half a mess"


@played
async def test_a_message_sent_while_the_models_write_stays_in_the_box(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.type("next")
        await chat.press("enter")
        assert chat.app.composer.text == "next"
        assert len(chat.turns) == 1
        await chat.press("escape")


@played
async def test_a_stopped_turn_goes_on(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, max_answer=8) as chat:
        await chat.begin()
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        steps = len(chat.letters)
        await chat.press("tab", "g")
        await chat.until(lambda: len(chat.letters) > steps)
        await chat.press("a")
        await chat.until(lambda: not chat.app.busy)
        assert len(chat.turns) == 1
        assert chat.turn.text


@played
async def test_the_answer_can_be_asked_for_at_once(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, max_answer=8) as chat:
        await chat.begin()
        await chat.go_to_steps()
        await chat.press("a")
        await chat.until(lambda: not chat.app.busy)
        assert "You asked for the answer: the thought was closed." in chat.notices
        assert chat.turn.text


@played
async def test_an_escape_right_after_the_question_stops_it_and_nothing_else(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, max_thought=60, max_answer=8) as chat:
        for _ in range(3):
            await chat.app.send(Composer.Sent("question", instead=None, attached={}))
            chat.app.action_stop()
            await chat.until(lambda: chat.turns and chat.turn.run.finish and not chat.app.busy)
            assert chat.turn.run.finish == "cancelled"
        chat.app._engines.cancel()  # as if it came when all was over already
        await chat.ask()
        assert chat.turn.text


@played
async def test_the_next_step_is_forced_on_a_model(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, threshold=50) as chat:
        await chat.begin()
        await chat.go_to_steps()
        await chat.press("l")
        await chat.until(lambda: "L" in chat.letters)
        assert chat.turn.run.steps[chat.letters.index("L")].reason == "user"
        await chat.press("escape")


@played
async def test_the_threshold_moves_while_the_models_write(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, threshold=1.0) as chat:
        await chat.begin()
        await chat.press("ctrl+up", "ctrl+up", "ctrl+down", "ctrl+up")
        assert chat.app.session is not None
        assert isinstance(chat.app.session.policy, Threshold)
        assert chat.app.session.policy.threshold_nats == pytest.approx(1.1)
        await chat.until(lambda: chat.turn.run.steps and chat.turn.run.steps[-1].threshold_nats == pytest.approx(1.1))
        assert "large above 1.1 nats" in chat.screen
        await chat.press("escape")


@played
async def test_the_share_moves(small: Path, large: Path) -> None:
    async with chatting(small, large, policy="share", share=0.5) as chat:
        await chat.press("ctrl+down")
        assert chat.app.session is not None
        assert isinstance(chat.app.session.policy, Share)
        assert chat.app.session.policy.share == pytest.approx(0.55)


@played
async def test_a_step_is_written_again_by_the_other_model(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab", "up", "up", "up", "r")
        await chat.until(lambda: not chat.app.busy)
        assert chat.letters == "SLLS"
        assert chat.turn.run.steps[1].reason == "redo"
        lines = chat.screen.splitlines()
        assert "redo" in lines[next(at for at, line in enumerate(lines) if "Second two:" in line) + 1]
        assert chat.turn.text == "Answer \\boxed{3}"
        assert len(chat.app.query(".answer")) == 1


@played
async def test_an_answer_is_written_again_by_the_other_model(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab", "up", "r")
        await chat.until(lambda: not chat.app.busy and chat.turn.text)
        assert [step.model for step in chat.turn.run.steps if step.part == "answer"] == ["small"]
        assert chat.letters == "SSLS"
        assert len(chat.app.query(".answer")) == 1
        assert conversations.find().turns[0].steps[-1].reason == "redo"


@played
async def test_the_last_question_is_asked_again_and_in_other_words(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.ask("second")
        await chat.press("tab", "g")
        await chat.until(lambda: not chat.app.busy and len(chat.turns) == 2)
        assert [turn.question for turn in chat.turns] == ["first", "second"]
        await chat.press("e", "escape")  # a new one after all
        await chat.type(" time")
        await chat.press("enter")
        await chat.until(lambda: len(chat.turns) == 3 and not chat.app.busy)
        assert chat.turn.question == "second time"
        await chat.press("tab", "e")
        await chat.type(" thought")
        await chat.press("enter")
        await chat.until(lambda: chat.turn.question == "second time thought" and not chat.app.busy)
        questions = ["first", "second", "second time thought"]
        assert [turn.question for turn in chat.turns] == questions
        assert chat.app.session is not None
        assert [question for question, _ in exchanges_of(chat.app.session)] == questions


async def _use_large(chat: Chat) -> None:
    (command,) = [command for command in commands(chat.app) if command.title == "Use the policy large"]
    await chat.app.run_command(command)


@played
async def test_a_policy_is_switched_and_one_without_its_model_refused(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await _use_large(chat)
        await chat.ask()
        assert chat.letters == "LLLL"
    async with chatting(small, policy="small") as chat:
        await _use_large(chat)
        await chat.ask()
        assert set(chat.letters) == {"S"}


@played
async def test_single_steps_fold(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask()
        await chat.press("tab", "up", "up", "enter")
        assert turn.thought is not None
        assert [block.folded for block in turn.thought.blocks] == [False, False, True, False]


@played
async def test_a_long_thought_shows_its_last_steps_and_brings_the_earlier_ones_back(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN) as chat:
        await chat.begin()
        thought = chat.turn.thought
        assert thought is not None
        await chat.until(lambda: len(chat.turn.run.steps) > 2 * WINDOW + 1)
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        first = thought.blocks[0].started.index
        assert len(thought.blocks) <= 2 * WINDOW
        assert str(thought.earlier.render()) == f"▲ {first} earlier steps"
        thought.blocks[0].focus()
        await chat.press("up")
        assert chat.app.conversation.chosen is not None
        assert chat.app.conversation.chosen.index == first - 1
        await chat.press("ctrl+t", "ctrl+t")
        assert len(thought.blocks) == WINDOW


@played
async def test_what_is_written_stays_in_sight_whatever_is_pressed_meanwhile() -> None:
    async with chatting(pair={"name": "builtin"}, pace_seconds=2 * PACE) as chat:
        await chat.begin(EXAMPLE)
        for key in ("ctrl+t", "tab", *["up"] * 15):
            await chat.press(key)
        await chat.until(lambda: chat.turn.run.finish and not chat.app.busy)
        await chat.until(lambda: "[ 384 ]" in chat.screen)


@played
async def test_arrow_keys_in_a_burst_all_count(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab")
        for _ in range(4):
            chat.app.simulate_key("up")
        await chat.until(lambda: chat.app.conversation.chosen and not chat.app.conversation.chosen.index)


@played
async def test_a_new_conversation_knows_nothing_of_the_one_before(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        assert "watch two models think" in chat.screen
        await chat.ask("second")
        assert chat.app.session is not None
        assert exchanges_of(chat.app.session) == [("second", "Answer \\boxed{3}")]
    saved = [conversations.find(id_) for id_ in conversations.ids()]
    assert sorted(found.title for found in saved) == ["first", "second"]
    assert len({found.header.small for found in saved}) == 1


@played
async def test_the_page_keys_scroll_wherever_the_focus_is(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 20)) as chat:
        for _ in range(4):
            await chat.ask("A question\nof\nfour\nlines?")
        bottom = chat.app.conversation.scroll_offset.y
        await chat.press("pageup")
        await chat.until(lambda: chat.app.conversation.scroll_offset.y < bottom)
        await chat.press("tab", "pagedown", "pagedown")
        await chat.until(lambda: chat.app.conversation.scroll_offset.y == bottom)


# Copying.


@played
async def test_a_step_the_answer_and_the_conversation_are_copied(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr("pyperclip.copy", copied.append)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    async with chatting(small, large) as chat:
        await chat.ask("Q")
        await chat.press("tab", "y")
        await chat.press("Y")
        await chat.press("up", "y")
        await chat.press("up", "y")
        assert copied == ["Answer \\boxed{3}", "## Q\n\nAnswer \\boxed{3}", "Answer \\boxed{3}", "Third three."]


@played
async def test_over_ssh_the_terminal_is_asked_to_copy(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "somewhere")
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab", "y")
        assert chat.app.clipboard == "Answer \\boxed{3}"


@played
async def test_the_program_can_be_left_in_mid_thought(endless: Path) -> None:
    for _ in range(3):
        async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
            await chat.begin()
            await chat.press("ctrl+q")
        assert chat.app.return_code == 0
        assert conversations.find().turns[0].finish == "cancelled"
