"""`glimp chat` in a terminal of its own, looked at from outside: how it begins and how it leaves the terminal."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glimp_local.records import conversations

pytest.importorskip("termios")  # where there are pseudo-terminals
import resource

from benchmarks.terminal import Terminal

QUESTION = "Mia has 24 marbles. She finds 17 more. How many marbles does Mia have now?"


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_(*arguments: str, code: str = "", **more: Any) -> Terminal:
        program = ["-c", code] if code else ["-m", "glimp_local", "chat"]
        terminals.append(Terminal([sys.executable, *program, *arguments], **more))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.close()


def test_a_question_is_asked_and_the_terminal_left_as_it_was(opened: Callable[..., Terminal]) -> None:
    chat = opened()
    chat.shows("S glimp built-in small")
    chat.type(QUESTION + "\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    assert chat.end() == 0
    assert chat.is_as_before
    assert conversations.find().turns[0].finish == "done"


def test_a_paste_goes_to_the_box_as_one_text_wherever_the_focus_is(opened: Callable[..., Terminal]) -> None:
    chat = opened()
    chat.shows("S glimp built-in small")
    first, second, question = (f"{part}." for part in QUESTION.rstrip("?").split(". "))
    chat.type("\t")  # to the steps
    chat.type(f"\x1b[200~{first}\n{second}\x1b[201~")
    chat.type(f" {question[:-1]}?\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    assert chat.end() == 0
    assert [turn.asked for turn in conversations.find().turns] == [f"{first}\n{second} {question[:-1]}?"]


def test_ctrl_c_empties_the_box_and_twice_at_rest_it_quits(opened: Callable[..., Terminal]) -> None:
    chat = opened()
    chat.shows("S glimp built-in small")
    chat.type("never sent")
    chat.shows("never sent")
    chat.type("\x03")
    chat.type("\x03")
    chat.shows("Ctrl+C again quits")
    chat.type("\x03")
    assert chat.end() == 0
    assert chat.is_as_before


def test_ctrl_c_stops_a_run_and_keeps_what_was_written(opened: Callable[..., Terminal], rambling: list[str]) -> None:
    chat = opened(*rambling)
    chat.shows("· S ")
    chat.type("On and on?\r")
    folder = conversations.folder()
    chat.until(lambda: sum(log.read_bytes().count(b'"step_ended"') for log in folder.glob("*.jsonl")) > 5)
    chat.type("\x03")
    chat.shows("Stopped")
    chat.type("\x03\x03")
    assert chat.end() == 0
    (turn,) = conversations.find().turns
    assert turn.finish == "cancelled"
    assert len(turn.steps) > 5


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_polite_kill_leaves_the_terminal_as_it_was(opened: Callable[..., Terminal], name: str) -> None:
    chat = opened()
    chat.shows("S glimp built-in small")
    number = getattr(signal, name)
    chat.process.send_signal(number)
    assert chat.end() == 128 + number
    assert chat.is_as_before


def test_nothing_but_the_screen_is_drawn_and_it_is_drawn_on_the_terminal(
    opened: Callable[..., Terminal], tmp_path: Path
) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        chat = opened(stderr=errors)
        chat.shows("S glimp built-in small")
        chat.type("\x11")
        assert chat.end() == 0
    assert (tmp_path / "errors").read_bytes() == b""


def test_a_mistake_of_ours_on_the_screen_is_told_with_an_exit_code(opened: Callable[..., Terminal]) -> None:
    chat = opened(
        code="from glimp_local.tui import app; from glimp_local.cli import main; import sys\n"
        "sys.argv[1:] = ['chat']; app.ChatApp.action_help = lambda self: 1 / 0; main()"
    )
    chat.shows("S glimp built-in small")
    chat.type("\x1bOP")  # F1
    assert chat.end() == 1
    assert b"ZeroDivisionError" in chat.drawn
    assert chat.is_as_before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--theme", "nonsense"], "there is no theme 'nonsense'"),
        (["--continue"], "no conversation was saved yet"),
        (["--continue", "--resume", "x"], "exclude each other"),
        (["--threshold", "-1"], "is not a number"),
    ],
)
def test_flags_that_cannot_be_used_are_said_before_the_screen_opens(
    opened: Callable[..., Terminal], flags: list[str], message: str
) -> None:
    chat = opened(*flags)
    assert chat.end() == 2
    assert message in chat.drawn.decode()
    assert b"\x1b[?1049h" not in chat.drawn


def test_a_conversation_that_is_open_cannot_be_opened_twice(opened: Callable[..., Terminal]) -> None:
    first = opened()
    first.shows("S glimp built-in small")
    first.type(QUESTION + "\r")
    first.shows("[ 41 ]")
    second = opened("--continue")
    assert second.end() == 2
    assert "is open in another glimp chat" in second.drawn.decode()


def test_caches_are_kept_behind_the_screen_and_taken_up_again(opened: Callable[..., Terminal]) -> None:
    chat = opened("--keep-caches", "0.1")
    chat.shows("S glimp built-in small")
    chat.type(QUESTION + "\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    assert chat.end() == 0
    assert re.search(rb"keeping the caches on the disk, [\d.]+ [kM]B", chat.drawn.split(b"\x1b[?1049l")[1])
    again = opened("--continue", "--keep-caches", "0.000001")
    again.shows("Read from the disk: S ")
    again.shows("S glimp built-in small")
    again.type(QUESTION.replace("24", "3") + "\r")
    again.shows("[ 20 ]")
    again.type("\x11")
    assert again.end() == 0
    assert b"are allowed: they are not kept. allow more with --keep-caches" in again.drawn


def test_keeping_caches_can_be_stopped(opened: Callable[..., Terminal]) -> None:
    chat = opened(
        code="from glimp_local.records import caches; from glimp_local.cli import main; import sys, time\n"
        "sys.argv[1:] = ['chat', '--keep-caches', '1']; caches.keep = lambda *_, **__: time.sleep(600); main()"
    )
    chat.shows("S glimp built-in small")
    chat.type(QUESTION + "\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    chat.shows("keeping the caches on the disk")
    chat.process.send_signal(signal.SIGINT)
    assert chat.end() == 130
    assert chat.is_as_before
    assert conversations.find().turns[0].finish == "done"


def test_what_could_not_be_saved_is_said_when_the_chat_is_left(opened: Callable[..., Terminal]) -> None:
    def leave_room_for_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    chat = opened(preexec_fn=leave_room_for_little)
    chat.shows("S glimp built-in small")
    chat.type(QUESTION + "\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    chat.shows("Quit all the same?")
    chat.type("y")
    assert chat.end() == 1
    assert "glimp: the end of the conversation could not be saved: File too large" in chat.drawn.decode()
    assert chat.is_as_before


def test_a_kill_in_mid_step_costs_that_step_and_nothing_else(
    opened: Callable[..., Terminal], rambling: list[str]
) -> None:
    chat = opened(*rambling)
    chat.shows("· S ")
    chat.type("On and on?\r")
    folder = conversations.folder()
    chat.until(lambda: sum(log.read_bytes().count(b'"step_ended"') for log in folder.glob("*.jsonl")) > 20)
    chat.child().kill()
    assert chat.end() == 6
    (turn,) = conversations.find().turns
    assert len(turn.steps) > 20
    assert [step.index for step in turn.steps] == list(range(len(turn.steps)))
    assert turn.finish is None
    again = opened("--continue", *rambling)
    again.shows("The program ended here; its finished steps are kept.")
    again.shows("· S ")
    again.type("\x11")
    assert again.end() == 0
    assert conversations.find().turns == [turn]
