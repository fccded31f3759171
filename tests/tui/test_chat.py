"""The chat: asking, and what is on the disk; on tiny models that are quick, sure or unsure as the test needs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glimp_local.records import conversations, saved, session_log
from tests.support.chatting import DRAWN, EXAMPLE, PACE, chatting, played
from tests.support.sessions import GREEDY, exchanges_of

# Asking.


@played
async def test_a_question_is_answered_step_by_step_by_the_model_each_step_needs(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask()
        assert chat.letters == "SSLS"
        assert turn.text == "Answer \\boxed{3}"
        assert "Answer [ 3 ]" in chat.screen
        assert chat.app.composer.text == ""
        assert "4 steps, 25% large" in chat.status


@played
async def test_a_question_the_chat_is_started_with_is_asked_once_a_pair_is_loaded(small: Path, large: Path) -> None:
    async with chatting(small, large, question="How many?") as chat:
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert (chat.turn.question, chat.turn.text) == ("How many?", "Answer \\boxed{3}")
        assert chat.app.composer.text == ""
        await chat.switch({"small": small, "large": large, "sampling": GREEDY})
        assert len(chat.turns) == 1


@played
async def test_a_first_question_waits_in_the_box_for_a_pair_that_can_be_loaded(tmp_path: Path, small: Path) -> None:
    none = {"small": tmp_path / "none.gguf", "large": small}
    async with chatting(pair=none, question="How many?", loads=False) as chat:
        await chat.until(lambda: "no pair is loaded" in chat.status)
        assert chat.app.composer.text == "How many?"
        await chat.switch({"small": small, "large": small, "sampling": GREEDY})
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question == "How many?"


@played
async def test_a_first_question_that_is_changed_meanwhile_is_not_sent(small: Path, large: Path) -> None:
    async with chatting(small, large, question="How many?", loads=False) as chat:
        chat.app.composer.insert(" Or few?")
        await chat.until(lambda: chat.app.session is not None)
        await chat.press("end")
        assert not chat.turns
        assert chat.app.composer.text == "How many? Or few?"


@played
async def test_thoughts_but_the_first_fold_when_the_answer_begins_and_a_key_unfolds_all(
    small: Path, large: Path
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.ask("second")
        assert [turn.thought and turn.thought.folded for turn in chat.turns] == [False, True]
        assert chat.screen.count("Second two:") == 1
        await chat.press("ctrl+t")  # not all were folded: now they are
        assert "Second two:" not in chat.screen
        assert "▶ thought: 4 steps, 25% large" in chat.screen
        assert len(re.findall(r"  SSL +│", chat.screen)) == 2  # the last step is blank
        await chat.press("ctrl+t")
        assert chat.screen.count("Second two:") == 2
        assert "▼ thought: 4 steps, 25% large" in chat.screen


@played
async def test_a_step_that_repeats_itself_and_a_thought_ended_for_it_say_so(tiny: Path) -> None:
    async with chatting(tiny / "endless.gguf", tiny / "endless.gguf") as chat:
        await chat.ask()
        assert "The thought went in circles: it was closed and the answer written." in chat.screen
        said = [line.split()[:2] for line in chat.screen.splitlines() if "repeats" in line]
        assert said == [["▌", "repeats"], ["█", "repeats"]]


@played
async def test_a_click_on_its_heading_folds_and_unfolds_a_thought(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        for is_shown in (False, True):
            await chat.pilot.click(".heading")
            await chat.pilot.pause()
            assert ("Second two:" in chat.screen) is is_shown


@played
async def test_a_step_shows_letter_entropy_tokens_and_speed(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        (line,) = [line for line in chat.screen.splitlines() if "Third three." in line]
        assert f"L {chat.turn.run.steps[2].entropy_nats:.2f}" in line
        assert "2 tok" in line
        assert "/s" in line


@played
async def test_a_narrow_terminal_shows_no_panel_and_no_figures(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 24)) as chat:
        await chat.ask()
        assert "Third three." in chat.screen
        assert "tok " not in chat.screen
        assert "catch-up" not in chat.screen
        await chat.pilot.resize_terminal(120, 40)
        await chat.pilot.pause()
        assert "catch-up" in chat.screen


@played
async def test_keys_typed_just_before_enter_are_sent(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.pilot.press(*"Why?", "enter")
        await chat.until(lambda: chat.turns)
        assert chat.turn.question == "Why?"


@played
async def test_a_message_has_several_lines_and_earlier_ones_are_recalled(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("one")
        await chat.press("ctrl+j")
        await chat.type("two")
        await chat.press("enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question == "one\ntwo"
        await chat.type("half a mess")
        await chat.press("up")
        assert chat.app.composer.text == "one\ntwo"
        await chat.press("down")
        assert chat.app.composer.text == "half a mess"


@played
async def test_the_arrows_move_within_a_long_message_before_they_recall_another(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(40, 30)) as chat:
        await chat.ask("first")
        await chat.type("a message of many words " * 5)
        await chat.press("up")
        assert chat.app.composer.text.startswith("a message")
        while chat.app.composer.text != "first":
            await chat.press("up")
        await chat.type(" edited")
        await chat.press("down")
        assert chat.app.composer.text.startswith("a message")
        while chat.app.composer.text.startswith("a message"):
            await chat.press("up")
        assert chat.app.composer.text == "first edited"


@played
async def test_keys_typed_just_after_enter_stay(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("question")
        for key in ("enter", "x", "y"):
            chat.app.simulate_key(key)
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question == "question"
        assert chat.app.composer.text == "xy"


@played
async def test_an_empty_message_asks_nothing(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("  ")
        await chat.press("enter")
        assert chat.turns == []


@played
async def test_the_next_turn_knows_the_conversation(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.ask("second")
        assert chat.app.session is not None
        assert exchanges_of(chat.app.session) == [("first", "Answer \\boxed{3}"), ("second", "Answer \\boxed{3}")]


@played
async def test_a_pair_that_does_not_think_shows_its_reply_unfolded(tiny: Path) -> None:
    async with chatting(tiny / "small.gguf", tiny / "large.gguf", thinking="none") as chat:
        turn = await chat.ask()
        assert turn.thought is not None
        assert not turn.thought.folded
        assert "▼ reply" in chat.screen


@played
async def test_before_the_first_question_the_chat_says_what_to_do_and_has_an_example() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        await chat.until(lambda: "counting stories and small sums and nothing else" in chat.screen)
        assert "S  the small model writes" in chat.screen
        await chat.press("up", "enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question.startswith("Emma has 57 marbles")
        assert "\\boxed{177}" in chat.turn.text
        assert len(chat.turns) == 1
        assert chat.notices == []
        assert not chat.app.query(".welcome")


@played
async def test_a_whole_conversation_with_the_built_in_pair() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        first = await chat.ask(EXAMPLE)
        assert "\\boxed{384}" in first.text
        assert {"S", "L"} == set(chat.letters)
        written = chat.letters
        await chat.press("tab", "up", "up", "r")
        await chat.until(lambda: not chat.app.busy)
        assert len(chat.letters) == len(written)
        assert chat.letters[-1] != written[-1]
        assert len(chat.turns) == 1
        await chat.ask("Emma has 12 apples. She buys 30 more. How many apples does Emma have now?")
        assert "\\boxed{42}" in chat.turn.text
        await chat.insist("Who are you?")
        said = [notice for notice in chat.notices if "is not for the pair 'builtin'" in notice]
        assert len(said) == 2  # declined, and asked all the same
    async with chatting(pair={"name": "builtin"}, going_on=conversations.find()) as chat:
        assert len(chat.turns) == 3
        assert "[ 42 ]" in chat.screen
        await chat.press("up")
        assert chat.app.composer.text == "Who are you?"


# What is on the disk.


@played
async def test_the_conversation_is_saved_as_it_goes_and_taken_up_again(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.ask("second")
    before = conversations.find()
    assert [(turn.question, turn.answer) for turn in before.turns] == [
        ("first", "Answer \\boxed{3}"),
        ("second", "Answer \\boxed{3}"),
    ]
    async with chatting(small, large, going_on=before) as chat:
        await chat.until(lambda: len(chat.turns) == 2)
        assert chat.letters == "SSLS"
        await chat.go_to_steps()
        await chat.press("ctrl+t", "ctrl+t", "up", "up", "r")
        await chat.until(lambda: chat.letters == "SSS" and not chat.app.busy)
        await chat.ask("third")
    after = conversations.find()
    assert after.id == before.id
    assert [turn.question for turn in after.turns] == ["first", "second", "third"]


@played
async def test_a_turn_cut_off_by_a_kill_goes_on_where_it_was(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.until(lambda: len(chat.turn.run.steps) > 2)
        cut = conversations.find()  # what a killed process leaves
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
    path = cut.path.with_name("20000101-000000-cut.jsonl")
    lines = cut.path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8]) + lines[8][:20])
    going_on = saved.read(path)
    assert going_on.turns[0].finish is None
    async with chatting(
        endless, sampling=DRAWN, pace_seconds=PACE, max_thought=200, max_answer=8, going_on=going_on
    ) as chat:
        await chat.until(lambda: chat.notices)
        assert chat.notices == ["The program ended here; its finished steps are kept."]
        steps = len(chat.turn.run.steps)
        assert steps == len(going_on.turns[0].steps)
        await chat.go_to_steps()
        await chat.press("g")
        await chat.until(lambda: chat.turn.text and not chat.app.busy)
        assert len(chat.turns) == 1
        assert len(chat.turn.run.steps) > steps
    assert saved.read(path).turns[0].finish is not None


@played
async def test_a_full_disk_is_said_and_the_chat_goes_on(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "folder", lambda: Path("/dev/full"))
    async with chatting(small, large) as chat:
        await chat.ask()
        assert "cannot be written" in chat.notices[0]
        assert "You can continue" in chat.notices[0]
        await chat.ask()
        assert len(chat.turns) == 2
        assert len(chat.notices) == 1
        chat.app.action_new()
        await chat.until(lambda: len(chat.notices) == 2)
        assert "a new one would lose it" in chat.notices[1]
        assert len(chat.turns) == 2
