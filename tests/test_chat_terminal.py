"""`glimp chat` in a terminal of its own, looked at from outside: how it begins and how it leaves the terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from glimp_local import saved

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

SECONDS = 30
QUESTION = "Mia has 24 marbles. She finds 17 more. How many marbles does Mia have now?"


class Terminal:
    """A pseudo-terminal with a program in it."""

    def __init__(self, *arguments: str, code: str = "", **more: Any) -> None:
        self.descriptor, inside = pty.openpty()
        self.before = termios.tcgetattr(inside)
        self.drawn = b""
        program = ["-c", code] if code else ["-m", "glimp_local", "chat"]
        streams = {"stdin": inside, "stdout": inside, "stderr": inside} | more
        environment = os.environ | {"TERM": "xterm-256color", "LINES": "30", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments], **streams, env=environment, start_new_session=True
        )
        self._inside = inside

    def until(self, condition: Callable[[], object]) -> None:
        end = monotonic() + SECONDS
        while not condition():
            if select.select([self.descriptor], [], [], 0.05)[0]:
                self.drawn += os.read(self.descriptor, 1 << 16)
            assert monotonic() < end, self.drawn[-2000:]

    def shows(self, text: str) -> None:
        self.until(lambda: text.encode() in self.drawn)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def end(self) -> int:
        """Wait for the end of the program; give its exit code."""
        self.until(lambda: self.process.poll() is not None)
        while select.select([self.descriptor], [], [], 0)[0]:
            self.drawn += os.read(self.descriptor, 1 << 16)
        return self.process.returncode

    @property
    def is_as_before(self) -> bool:
        """Is the terminal back on its first screen, its mouse left alone, its modes as they were?"""
        switched = [self.drawn.rfind(b"\x1b[?" + mode) for mode in (b"1049h", b"1049l", b"1000h", b"1000l")]
        modes = termios.tcgetattr(self._inside)
        return switched[0] < switched[1] and switched[2] < switched[3] and modes == self.before


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_(*arguments: str, **more: Any) -> Terminal:
        terminals.append(Terminal(*arguments, **more))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.descriptor)
        os.close(terminal._inside)


def test_a_question_is_asked_and_the_terminal_left_as_it_was(opened: Callable[..., Terminal]) -> None:
    chat = opened()
    chat.shows("S glimp built-in small")
    chat.type(QUESTION + "\r")
    chat.shows("[ 41 ]")
    chat.type("\x11")
    assert chat.end() == 0
    assert chat.is_as_before
    assert saved.find().turns[0].finish == "done"


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


def test_a_kill_in_mid_step_costs_that_step_and_nothing_else(
    opened: Callable[..., Terminal], tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        "[pairs.rambling]\nsampling = {temperature = 1.0, top_k = 9, top_p = 1.0, min_p = 0.0}\n"
        + "".join(f'{model} = {{path = "{tiny / "rambling.gguf"}"}}\n' for model in ("small", "large")),
        encoding="utf-8",
    )
    models = ["--models", str(file)]
    chat = opened("--pair", "rambling", "--seed", "1", *models)
    chat.shows("· S ")
    chat.type("On and on?\r")
    folder = saved.folder()
    chat.until(lambda: sum(log.read_bytes().count(b'"step_ended"') for log in folder.glob("*.jsonl")) > 20)
    chat.process.kill()
    chat.end()
    (turn,) = saved.find().turns
    assert len(turn.steps) > 20
    assert [step.index for step in turn.steps] == list(range(len(turn.steps)))
    assert turn.finish is None
    again = opened("--continue", *models)
    again.shows("The program ended here; what was written is kept.")
    again.shows("· S ")
    again.type("\x11")
    assert again.end() == 0
    assert saved.find().turns == [turn]
