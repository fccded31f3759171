"""The process in front of the one that computes: it outlives a crash, and is otherwise not noticed."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from glimp_local.events import Finished, decode_events, fold
from glimp_local.records import conversations
from glimp_local.records.event_log import read_events
from tests.support.commands import GLIMP, QUESTION, Glimp, started

pytest.importorskip("termios")
from benchmarks.terminal import Terminal

pytestmark = pytest.mark.process

CASES = int(os.environ.get("GLIMP_KILL_CASES", "6"))
SIGNALS = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV)
BUILTIN_QUESTION = "Mia has 24 marbles. She finds 17 more. How many marbles does Mia have now?"


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_(*command: str, **more: Any) -> Terminal:
        terminals.append(Terminal([*command], **more))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.close()


def patched(patch: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `glimp` with something of it replaced."""
    code = f"import sys; sys.argv = {['glimp', *arguments]!r}\n{patch}\nfrom glimp_local.cli import main; main()"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


@contextmanager
def writing(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process, list[bytes]]]:
    """Start a run that writes events for seconds; give its process and the one that computes, once there is a text."""
    with started(command) as (process, lines):
        (child,) = psutil.Process(process.pid).children()
        yield process, child, lines


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# A crash.


@pytest.mark.parametrize("case", range(CASES))
def test_a_chat_that_is_killed_at_any_moment_leaves_the_terminal_as_it_was_and_says_so(
    opened: Callable[..., Terminal], rambling: list[str], case: int
) -> None:
    draw = random.Random(case)
    number = SIGNALS[case % 3]
    moment = ("starting", "loading", "writing")[case // 3 % 3]
    chat = opened(*GLIMP, "chat", *rambling)
    child = chat.child()
    logs = conversations.folder()
    before = b""
    if moment == "starting":
        time.sleep(draw.uniform(0, 0.6))
    elif moment == "loading":
        chat.shows("\x1b[?1049h")
        time.sleep(draw.uniform(0, 0.2))
    else:
        chat.shows("· S ")
        chat.type("On and on?\r")
        chat.until(lambda: any(b'"step_ended"' in log.read_bytes() for log in logs.glob("*.jsonl")))
        time.sleep(draw.uniform(0, 0.5))
        (log,) = logs.glob("*.jsonl")
        before = log.read_bytes()
    child.send_signal(number)
    assert chat.end() == 6
    assert chat.is_as_before
    assert f"ended the process ({number.name})" in chat.drawn.rpartition(b"\x1b[?1049l")[2].decode()
    if before:
        (turn,) = conversations.find().turns
        assert log.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
        assert [step.index for step in turn.steps] == list(range(len(turn.steps)))
        assert (
            f"the conversation is saved up to its last finished step: glimp chat --resume {log.stem}"
            in chat.drawn.decode()
        )
    after = chat.start([sys.executable, "-c", "print(input('next? ')[::-1])"])
    chat.shows("next? ")
    chat.type("drow\r")
    chat.shows("drow\r\nword\r\n")  # a line ends with Return, and is shown while it is typed
    assert after.wait(30) == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_killed_leaves_what_it_wrote_and_says_so(glimp: Glimp, tmp_path: Path, number: int) -> None:
    file = tmp_path / "run.jsonl"
    with writing(glimp.endless("--save", file)) as (process, child, lines):
        child.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 6
    shown = decode_events([line for line in [*lines, *out.splitlines(keepends=True)] if line.endswith(b"\n")])
    assert read_events(file)[: len(shown)] == shown
    assert f"({signal.Signals(number).name}) while at work with patient.gguf" in err.decode()
    assert f"hint: what was written is on stdout and in {file}; " in err.decode()
    assert ("most likely memory ran out" in err.decode()) == (number == signal.SIGKILL)


def test_a_run_that_is_killed_shows_the_cursor_again(opened: Callable[..., Terminal], glimp: Glimp) -> None:
    solve = opened(*GLIMP, "solve", *glimp.patient(), "--text", QUESTION)
    solve.shows("tokens/s")
    assert solve.drawn.rfind(b"\x1b[?25l") > solve.drawn.rfind(b"\x1b[?25h")
    solve.child().kill()
    assert solve.end() == 6
    assert solve.is_as_before
    assert b"\x1b[?1049l" not in solve.drawn  # it was never on another screen, and leaving one moves the cursor


def test_a_crash_while_a_model_is_loaded_names_it(glimp: Glimp) -> None:
    patch = (
        "from glimp_local import load_files; import os, signal\n"
        "load_files.Engine = lambda path, *_, **__: os.kill(os.getpid(), signal.SIGSEGV)"
    )
    done = patched(patch, "solve", *glimp.pair(), "--text", QUESTION)
    assert (done.returncode, done.stdout) == (6, "")
    assert "llama.cpp ended the process (SIGSEGV) while loading large.gguf" in done.stderr
    assert "hint: the file may be damaged: glimp models verify" in done.stderr


def test_a_crash_before_that_is_not_put_down_to_llama_cpp() -> None:
    patch = (
        "import os, signal; from importlib import import_module\n"
        "import_module('glimp_local.cli.solve').load_request = lambda _: os.kill(os.getpid(), signal.SIGBUS)"
    )
    done = patched(patch, "solve", "--text", QUESTION)
    assert done.returncode == 6
    assert "something ended the process (SIGBUS) before glimp solve loaded a model" in done.stderr


ABORT = """
import ctypes, threading
from glimp_local.session import session
from glimp_local.engines.llama import binding
ask = session.Session.ask
def give_up(*_):
    binding._receive(5, b"\\n", None)
    binding._receive(4, b"CUDA error: out of memory\\n", None)
    said = b"/where/it/was/built/ggml.c", 12, b"GGML_ASSERT(%s) failed", b"here \\x1b[2J and there"
    binding.llama_cpp._ggml.libggml.ggml_abort(*said)
def start(*arguments):
    threading.Thread(target=give_up).start()
    yield from ask(*arguments)
session.Session.ask = start
"""


def test_what_llama_cpp_says_when_it_gives_up_in_any_thread_is_told(glimp: Glimp) -> None:
    done = patched(ABORT, "solve", *glimp.patient(), "--text", QUESTION)
    assert done.returncode == 6
    said = "ggml.c:12: GGML_ASSERT(here ␛[2J and there) failed CUDA error: out of memory"
    assert f"(SIGABRT) while at work with patient.gguf and patient.gguf: {said}\n" in done.stderr
    assert "/where" not in done.stderr


LOST_SERVER = ABORT.replace("/where/it/was/built/ggml.c", "/where/it/was/built/ggml-rpc.cpp").replace(
    "def give_up(*_):", "def give_up(*_):\n    binding.crash_notes.note('server', '192.168.1.5:50052')"
)


def test_an_rpc_server_that_breaks_off_is_named_and_is_to_be_started_again(glimp: Glimp) -> None:
    done = patched(LOST_SERVER, "solve", *glimp.patient(), "--text", QUESTION)
    assert done.returncode == 6
    lost = "glimp: the connection to the RPC server 192.168.1.5:50052 was lost while at work with patient.gguf"
    assert lost in done.stderr
    assert "the server (ggml-rpc-server) runs, then run glimp solve again\n" in done.stderr
    assert "glimp doctor" not in done.stderr


def test_llama_cpp_giving_up_elsewhere_is_not_put_down_to_a_server(glimp: Glimp) -> None:
    elsewhere = LOST_SERVER.replace("ggml-rpc.cpp", "ggml.c")
    done = patched(elsewhere, "solve", *glimp.patient(), "--text", QUESTION)
    assert "RPC server" not in done.stderr
    assert ": ggml.c:12: GGML_ASSERT(" in done.stderr


def test_a_program_without_a_parent_process_prints_it() -> None:
    abort = "binding.llama_cpp._ggml.libggml.ggml_abort(b'ggml.c', 12, b'why')"
    code = f"from glimp_local.engines.llama import binding; {abort}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, "ggml.c:12: why\n")


# Signals.


def test_a_signal_that_ends_the_child_on_purpose_ends_the_parent_the_same_way(glimp: Glimp) -> None:
    with writing(glimp.endless()) as (process, child, _):
        child.send_signal(signal.SIGUSR1)
        _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGUSR1
    assert err == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_counts_once(glimp: Glimp, number: int, code: int) -> None:
    command = ["setsid", *glimp.endless("--max-thought", "9000")]
    with writing(command) as (process, _, lines):
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
    events = decode_events([*lines, *out.splitlines()])
    assert process.returncode == code
    assert isinstance(events[-1], Finished)  # a second one would have ended it at once
    assert fold(events).finish_reason == "cancelled"
    assert b"Traceback" not in err


def test_a_child_whose_parent_is_killed_ends_in_order(glimp: Glimp, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with writing(glimp.endless("--save", file)) as (process, child, _):
        process.kill()
        process.communicate(timeout=30)
    wait_until(lambda: is_gone(child))
    finished = read_events(file)[-1]
    assert isinstance(finished, Finished)
    assert finished.finish_reason == "cancelled"


def test_a_chat_whose_parent_is_killed_leaves_the_terminal_as_it_was(
    opened: Callable[..., Terminal], rambling: list[str]
) -> None:
    chat = opened(*GLIMP, "chat", *rambling)
    chat.shows("· S ")
    child = chat.child()
    chat.process.kill()
    chat.until(lambda: is_gone(child))
    chat.until(lambda: chat.is_as_before)


def in_a_shell(command: list[str]) -> list[str]:
    """Give a shell that runs a command, shows when it is stopped, and continues it when Return is pressed."""
    script = f"set -m; {shlex.join(command)}; echo stopped=$?; read -r _; fg >/dev/null; echo ended=$?"
    return ["sh", "-c", script]


def glimp_of(shell: Terminal) -> psutil.Process:
    return psutil.Process(shell.process.pid).children()[0]


def test_a_chat_is_suspended_with_its_parent_and_continued_with_it(
    opened: Callable[..., Terminal], rambling: list[str]
) -> None:
    shell = opened(*in_a_shell([*GLIMP, "chat", *rambling]), jobs=True)
    shell.shows("· S ")
    glimp_of(shell).send_signal(signal.SIGTSTP)  # Ctrl-Z takes back what was typed
    shell.shows("stopped=")
    assert shell.is_as_before
    everybody = [glimp_of(shell), *glimp_of(shell).children()]
    assert [process.status() for process in everybody] == [psutil.STATUS_STOPPED] * 2
    drawn = len(shell.drawn)
    shell.type("\r")
    shell.until(lambda: b"\x1b[?1049h" in shell.drawn[drawn:])
    shell.until(lambda: b"Ask something" in shell.drawn[drawn:])
    shell.type("\x11")
    shell.shows("ended=0")
    assert shell.is_as_before


def test_a_run_is_suspended_with_its_parent_and_continued_with_it(
    opened: Callable[..., Terminal], glimp: Glimp
) -> None:
    shell = opened(*in_a_shell([*GLIMP, "solve", *glimp.patient(), "--text", QUESTION]), jobs=True)
    shell.shows("tokens/s")
    shell.type("\x1a")
    shell.shows("stopped=")
    everybody = [glimp_of(shell), *glimp_of(shell).children()]
    assert [process.status() for process in everybody] == [psutil.STATUS_STOPPED] * 2
    shell.type("\r")
    wait_until(lambda: all(process.status() != psutil.STATUS_STOPPED for process in everybody))
    shell.type("\x03")
    shell.shows("ended=130")
    assert b"interrupted; what was written so far is kept" in shell.drawn


def test_a_parent_that_is_woken_alone_wakes_its_child(glimp: Glimp) -> None:
    with writing(["setsid", *glimp.endless()]) as (process, child, _):
        child.send_signal(signal.SIGSTOP)
        parent = psutil.Process(process.pid)
        wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
        parent.send_signal(signal.SIGCONT)
        wait_until(lambda: child.status() != psutil.STATUS_STOPPED)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_chat_whose_whole_group_is_told_to_end_leaves_the_terminal_as_it_was(
    opened: Callable[..., Terminal], rambling: list[str], number: int
) -> None:
    chat = opened(*GLIMP, "chat", *rambling)
    chat.shows("· S ")
    os.killpg(chat.process.pid, number)
    assert chat.end() == 128 + number
    assert chat.is_as_before


@pytest.mark.parametrize("jobs", [True, False])
def test_a_chat_whose_terminal_is_hung_up_ends(
    opened: Callable[..., Terminal], rambling: list[str], jobs: bool
) -> None:
    chat = opened(*GLIMP, "chat", *rambling, jobs=jobs)
    chat.shows("· S ")
    child = chat.child()
    chat.hang_up()
    assert chat.process.wait(30) == 128 + signal.SIGHUP
    assert is_gone(child)


# How it is started.


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["solve", "--help"], ["chat", "-h"], ["config", "path"]]
)
def test_what_loads_no_model_has_no_child(arguments: list[str]) -> None:
    done = patched("import os; del os.fork", *arguments)
    again = patched("import os; os.fork = lambda: 1 / 0", *arguments)
    assert (done.returncode, again.returncode) == (0, 0)
    assert done.stdout == again.stdout


def test_without_a_second_process_the_work_is_done_in_the_first(glimp: Glimp) -> None:
    patch = "import errno, os\ndef fork(): raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))\nos.fork = fork"
    done = patched(patch, "solve", *glimp.pair(), "--text", QUESTION)
    assert (done.returncode, done.stdout) == (0, "Answer \\boxed{3}\n")
    assert (
        "cannot start a second process (Resource temporarily unavailable), so nothing will tidy up after a crash"
        in done.stderr
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_that_executes_the_program_again_is_looked_after_as_well(glimp: Glimp, number: int) -> None:
    arguments = glimp.endless()[len(GLIMP) :]
    # macOS has no sigwaitinfo, and needs a child that executes the program again.
    code = (
        f"import signal, sys; sys.argv = {['glimp', *arguments]!r}; del signal.sigwaitinfo\n"
        "from glimp_local.cli import main, supervisor; supervisor._EXECUTES = True; main()"
    )
    with writing([sys.executable, "-c", code]) as (process, child, lines):
        (child if number == signal.SIGSEGV else process).send_signal(number)
        out, err = process.communicate(timeout=30)
    if number == signal.SIGSEGV:
        assert process.returncode == 6
        assert b"(SIGSEGV) while at work with patient.gguf" in err
    else:
        assert process.returncode == 128 + number
        assert isinstance(decode_events([*lines, *out.splitlines()])[-1], Finished)
