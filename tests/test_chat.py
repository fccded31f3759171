"""The chat: every key, on tiny models that are quick, sure, unsure or endless as the test needs it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from glimp_local import saved
from glimp_local.errors import CancelledError
from glimp_local.routing import Share, Threshold
from glimp_local.tui.composer import Composer
from glimp_local.tui.dialogs import HelpScreen, PairScreen
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.steps import WINDOW
from tests.chatting import chatting, played

DRAWN = {"temperature": 1.0, "top_k": 9, "top_p": 1.0, "min_p": 0.0}
PACE = 0.003
EXAMPLE = (Path(__file__).parents[1] / "examples" / "marbles.txt").read_text(encoding="utf-8").strip()


@pytest.fixture
def small(tiny: Path) -> Path:
    return tiny / "small.gguf"


@pytest.fixture
def large(tiny: Path) -> Path:
    return tiny / "large.gguf"


@pytest.fixture
def endless(tiny: Path) -> Path:
    """Never ends a thought by itself, and repeats no step where it is drawn at temperature 1."""
    return tiny / "rambling.gguf"


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
async def test_the_thought_folds_when_the_answer_begins_and_a_key_unfolds_it(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask()
        assert turn.thought is not None
        assert turn.thought.folded
        assert "Second two:" not in chat.screen
        await chat.press("ctrl+t")
        assert "Second two:" in chat.screen
        assert "▼ thought: 4 steps, 25% large" in chat.screen
        await chat.press("ctrl+t")
        assert "Second two:" not in chat.screen


@played
async def test_a_click_on_its_heading_unfolds_a_thought(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.pilot.click(".heading")
        await chat.pilot.pause()
        assert "Second two:" in chat.screen


@played
async def test_a_step_shows_letter_entropy_tokens_and_speed(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("ctrl+t")
        (line,) = [line for line in chat.screen.splitlines() if "Third three." in line]
        assert f"L {chat.turn.steps[2].entropy_nats:.2f}" in line
        assert "2 tok" in line
        assert "/s" in line


@played
async def test_a_narrow_terminal_shows_no_panel_and_no_figures(small: Path, large: Path) -> None:
    async with chatting(small, large, size=(80, 24)) as chat:
        await chat.ask()
        await chat.press("ctrl+t")
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
        assert chat.app.session.exchanges == [("first", "Answer \\boxed{3}"), ("second", "Answer \\boxed{3}")]


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
        await chat.until(lambda: "counting stories and nothing else" in chat.screen)
        assert "S  the small model writes" in chat.screen
        await chat.press("up", "enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question.startswith("Mia has 24 marbles")
        assert "\\boxed{51}" in chat.turn.text
        assert len(chat.turns) == 1
        assert chat.notices == []
        assert not chat.app.query(".welcome")


@played
async def test_a_whole_conversation_with_the_built_in_pair() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        first = await chat.ask(EXAMPLE)
        assert "\\boxed{102}" in first.text
        assert {"S", "L"} == set(chat.letters)
        written = chat.letters
        await chat.press("ctrl+t", "tab", "up", "up", "r")
        await chat.until(lambda: not chat.app.busy)
        assert len(chat.letters) == len(written)
        assert chat.letters[-1] != written[-1]
        assert len(chat.turns) == 1
        await chat.ask("Emma has 12 apples. She buys 30 more. How many apples does Emma have now?")
        assert "\\boxed{42}" in chat.turn.text
        await chat.ask("Who are you?")
        assert any("can do counting stories and nothing else" in notice for notice in chat.notices)
    async with chatting(pair={"name": "builtin"}, going_on=saved.find()) as chat:
        assert len(chat.turns) == 3
        assert "[ 42 ]" in chat.screen
        await chat.press("up")
        assert chat.app.composer.text == "Who are you?"


# Stopping and steering.


@played
async def test_escape_stops_and_keeps_what_was_written_and_what_was_typed(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.type("half a mess")
        await chat.press("escape")
        await chat.until(lambda: not chat.app.busy)
        assert chat.turn.finish == "cancelled"
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
            chat.app.send(Composer.Sent("question", instead=False))
            chat.app.action_stop()
            await chat.until(lambda: chat.turns and chat.turn.finish and not chat.app.busy)
            assert chat.turn.finish == "cancelled"
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
        assert chat.turn.steps[chat.letters.index("L")].reason == "user"
        await chat.press("escape")


@played
async def test_the_threshold_moves_while_the_models_write(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE, threshold=1.0) as chat:
        await chat.begin()
        await chat.press("ctrl+up", "ctrl+up", "ctrl+down", "ctrl+up")
        assert chat.app.session is not None
        assert isinstance(chat.app.session.policy, Threshold)
        assert chat.app.session.policy.threshold_nats == pytest.approx(1.1)
        await chat.until(lambda: chat.turn.steps and chat.turn.steps[-1].threshold_nats == pytest.approx(1.1))
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
        await chat.press("ctrl+t", "tab", "up", "up", "up", "r")
        await chat.until(lambda: not chat.app.busy)
        assert chat.letters == "SLLS"
        assert chat.turn.steps[1].reason == "redo"
        await chat.press("ctrl+t")
        lines = chat.screen.splitlines()
        assert "redo" in lines[next(at for at, line in enumerate(lines) if "Second two:" in line) + 1]
        await chat.press("ctrl+t")
        assert chat.turn.text == "Answer \\boxed{3}"
        assert len(chat.app.query(".answer")) == 1


@played
async def test_an_answer_is_written_again_by_the_other_model(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("tab", "up", "r")
        await chat.until(lambda: not chat.app.busy and chat.turn.text)
        assert [step.model for step in chat.turn.steps if step.part == "answer"] == ["small"]
        assert chat.letters == "SSLS"
        assert len(chat.app.query(".answer")) == 1
        assert chat.turn.thought is not None
        assert chat.turn.thought.folded
        assert saved.find().turns[0].steps[-1].reason == "redo"


@played
async def test_a_step_of_an_earlier_turn_is_not_written_again(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        first = await chat.ask()
        await chat.ask()
        await chat.press("ctrl+t")
        assert first.thought is not None
        first.thought.blocks[0].focus()
        await chat.press("r")
        assert not chat.app.busy
        assert len(chat.turns) == 2


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
        assert [question for question, _ in chat.app.session.exchanges] == questions


@played
async def test_a_policy_is_switched_and_one_without_its_model_refused(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        commands = {command.title: command.callback for command in chat.app.get_system_commands(chat.app.screen)}
        commands["Policy: large"]()
        await chat.ask()
        assert chat.letters == "LLLL"
    async with chatting(small, policy="small") as chat:
        commands = {command.title: command.callback for command in chat.app.get_system_commands(chat.app.screen)}
        commands["Policy: large"]()
        await chat.ask()
        assert set(chat.letters) == {"S"}


@played
async def test_single_steps_fold(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        turn = await chat.ask()
        await chat.press("ctrl+t", "tab", "up", "up", "enter")
        assert turn.thought is not None
        assert [block.folded for block in turn.thought.blocks] == [False, False, True, False]


@played
async def test_a_long_thought_shows_its_last_steps_and_brings_the_earlier_ones_back(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN) as chat:
        await chat.begin()
        thought = chat.turn.thought
        assert thought is not None
        await chat.until(lambda: len(chat.turn.steps) > 2 * WINDOW + 1)
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
        await chat.until(lambda: chat.turn.finish and not chat.app.busy)
        await chat.until(lambda: "[ 102 ]" in chat.screen)


@played
async def test_arrow_keys_in_a_burst_all_count(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await chat.press("ctrl+t", "tab")
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
        assert chat.app.session.exchanges == [("second", "Answer \\boxed{3}")]
    assert sorted(found.title for found in saved.saved_sessions()) == ["first", "second"]
    assert len({found.header.small for found in saved.saved_sessions()}) == 1


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
        await chat.press("ctrl+t", "up", "y")
        assert copied == ["Answer \\boxed{3}", "Q\n\nAnswer \\boxed{3}", "Answer \\boxed{3}", "Third three."]


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
        assert saved.find().turns[0].finish == "cancelled"


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
async def test_help_shows_the_keys(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.press("f1")
        assert isinstance(chat.app.screen, HelpScreen)
        await chat.until(lambda: "Ctrl+T" in chat.screen)
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
async def test_a_missing_pair_leads_to_those_that_can_be_run(tmp_path: Path) -> None:
    async with chatting(tmp_path / "none.gguf", loads=False) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        assert "none.gguf: no such file" in chat.screen
        await chat.press("down")
        assert "Not on this machine. To get it: hf download" in chat.screen
        await chat.press("up", "enter")
        await chat.until(lambda: chat.status.startswith("builtin"))


@played
async def test_a_models_file_that_cannot_be_read_is_said_and_no_pair_asked_for(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("default = 3", encoding="utf-8")
    async with chatting(pair={"name": "builtin", "models_file": tmp_path / "models.toml"}, loads=False) as chat:
        await chat.until(lambda: chat.notices)
        assert "models.toml" in chat.notices[0]
        assert chat.status == "no pair is loaded: Ctrl+P, Pair"


@played
async def test_an_unknown_pair_leads_to_those_there_are() -> None:
    async with chatting(pair={"name": "bultin"}, loads=False) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        assert "bultin" in chat.screen


@played
async def test_a_pair_that_is_loading_can_be_stopped(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_pair(*, cancel: threading.Event, **_more: object) -> None:
        cancel.wait(30)
        raise CancelledError("cancelled while loading big.gguf")

    with monkeypatch.context() as patch:
        patch.setattr("glimp_local.tui.driver.load_pair", load_pair)
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
            assert chat.app.composer.revises == bool(keys)
            assert [turn.question for turn in chat.turns] == ["first"]
            assert chat.app.session is not None
            assert chat.app.session.exchanges == [("first", "Answer \\boxed{3}")]
            chat.app.composer.clear()
        await chat.ask("short")
        assert chat.turn.text


@played
async def test_a_mistake_of_ours_is_a_message_too_and_the_conversation_goes_on(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        with monkeypatch.context() as patch:
            patch.setattr("glimp_local.session.glimpse", lambda *_arguments, **_more: 1 / 0)
            await chat.type("second")
            await chat.press("enter")
            await chat.until(lambda: chat.notices and not chat.app.busy)
        assert "something unforeseen happened (ZeroDivisionError: division by zero)" in chat.notices[-1]
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
            assert (await chat.switch(pair)).exchanges == exchanges
    async with chatting(small, large, thinking="none") as chat:
        reply = (await chat.ask("first")).text
        assert (await chat.switch(thinking)).exchanges == [("first", reply)]
        await chat.ask("second")
    assert [turn.answer for turn in saved.find().turns] == [reply, "Answer \\boxed{3}"]


@played
async def test_another_pair_takes_the_conversation_over(small: Path, large: Path, tiny: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        session = await chat.switch({"small": tiny / "looping.gguf", "large": large})
        assert session.exchanges == [("first", "Answer \\boxed{3}")]


# What is on the disk.


@played
async def test_the_conversation_is_saved_as_it_goes_and_taken_up_again(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        await chat.ask("second")
    before = saved.find()
    assert [(turn.question, turn.answer) for turn in before.turns] == [
        ("first", "Answer \\boxed{3}"),
        ("second", "Answer \\boxed{3}"),
    ]
    async with chatting(small, large, going_on=before) as chat:
        await chat.until(lambda: len(chat.turns) == 2)
        assert chat.letters == "SSLS"
        await chat.go_to_steps()
        await chat.press("ctrl+t", "up", "up", "r")
        await chat.until(lambda: chat.letters == "SSS" and not chat.app.busy)
        await chat.ask("third")
    after = saved.find()
    assert after.id == before.id
    assert [turn.question for turn in after.turns] == ["first", "second", "third"]


@played
async def test_a_turn_cut_off_by_a_kill_goes_on_where_it_was(endless: Path) -> None:
    async with chatting(endless, sampling=DRAWN, pace_seconds=PACE) as chat:
        await chat.begin()
        await chat.until(lambda: len(chat.turn.steps) > 2)
        cut = saved.find()  # what a killed process leaves
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
        assert chat.notices == ["The program ended here; what was written is kept."]
        steps = len(chat.turn.steps)
        assert steps == len(going_on.turns[0].steps)
        await chat.go_to_steps()
        await chat.press("g")
        await chat.until(lambda: chat.turn.text and not chat.app.busy)
        assert len(chat.turns) == 1
        assert len(chat.turn.steps) > steps
    assert saved.read(path).turns[0].finish is not None


@played
async def test_a_full_disk_is_said_and_the_chat_goes_on(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "folder", lambda: Path("/dev/full"))
    async with chatting(small, large) as chat:
        await chat.ask()
        assert "cannot be written" in chat.notices[0]
        assert "The conversation goes on" in chat.notices[0]
        await chat.ask()
        assert len(chat.turns) == 2
        assert len(chat.notices) == 1
        chat.app.action_new()
        await chat.until(lambda: len(chat.notices) == 2)
        assert "a new one would lose it" in chat.notices[1]
        assert len(chat.turns) == 2
