"""What stands in a conversation does not steer the terminal it is shown on; a pipe gets its bytes."""

from __future__ import annotations

import sys

import pytest

from glimp_local.events import Answer, Started, StepEnded, encode
from glimp_local.records import conversations
from glimp_local.records.lines import Header
from tests.support.commands import invoke
from tests.support.damaged import write
from tests.support.tracing import step

pytest.importorskip("termios")
from benchmarks.terminal import Terminal

HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\x9b31mred"


@pytest.fixture(autouse=True)
def hostile() -> None:
    pair = f"pair{HOSTILE}"
    header = Header(1, "2026-01-02T03:04:05+00:00", pair)
    started = Started(f"Question{HOSTILE}", pair, "threshold", 1, "small", "large", True, 20)
    answer = [StepEnded(step(0, part="answer", text=f"Answer{HOSTILE}")), Answer(f"Answer{HOSTILE}", None)]
    lines = [encode(record) + b"\n" for record in (header, started, *answer)]
    write("x", *lines, b'{"type":"\x1b[31m"}\n')


COMMANDS = [["list"], ["list", "--json"], ["show"], ["export"], ["export", "--format", "json"], ["rm", "x"]]


@pytest.mark.screen
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_on_a_terminal_control_characters_are_shown(command: list[str]) -> None:
    terminal = Terminal([sys.executable, "-m", "glimp_local", "sessions", *command])
    if command[0] == "rm":
        terminal.shows("[y/N]")
        terminal.type("n\r")
    assert terminal.end() == 0
    terminal.close()
    assert b"red" in terminal.drawn
    if "json" in " ".join(command):
        assert b"\\u009b31mred" in terminal.drawn  # as JSON spells it
    for steers in (b"\x1b", b"\x07", "\x9b".encode()):
        assert steers not in terminal.drawn


@pytest.mark.parametrize("command", ["list", "show", "export"])
def test_a_pipe_and_a_file_get_every_byte(command: str) -> None:
    shown = invoke("sessions", command)
    assert HOSTILE in shown.out
    if command == "export":
        path = conversations.folder() / "x.md"
        assert invoke("sessions", command, "-o", path).code == 0
        assert HOSTILE.encode() in path.read_bytes()
