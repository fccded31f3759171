"""The process that renders chat templates: cancelled, killed, closed; and what a run makes of that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from glimp_local import Session
from glimp_local.engines import renderer
from glimp_local.engines.renderer import Renderer
from glimp_local.errors import CancelledError, GlimpError, ModelUnreadableError
from glimp_local.events import Finished
from glimp_local.tui.screens.pairs import PairScreen
from tests.support.chatting import chatting, played
from tests.support.commands import GLIMP, QUESTION, Glimp
from tests.support.rendering import LOOPS, MEMORY
from tests.support.sessions import Open, engine_in, exchanges_of, run
from tests.support.tiny_models import CHATML, THINKING, write_story


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not come true"
        sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_computing(process: psutil.Process) -> bool:
    """Has it used more than it takes to start? Then it is at work on a template."""
    try:
        return sum(process.cpu_times()[:2]) > 0.5
    except psutil.NoSuchProcess:
        return False


def process_of(one: Renderer) -> psutil.Process:
    assert one._process is not None
    return psutil.Process(one._process.pid)


def renderers_below(parent: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(parent).children(recursive=True) if is_renderer(each)]


def is_renderer(process: psutil.Process) -> bool:
    try:
        return any("render_process" in part for part in process.cmdline())
    except psutil.NoSuchProcess:  # it has ended, and nobody has waited for it yet
        return False


def test_a_cancel_stops_a_rendering_and_the_next_one_works() -> None:
    with Renderer(seconds=600) as one:
        first = process_of(one)
        cancel = threading.Event()
        threading.Timer(0.3, cancel.set).start()
        with pytest.raises(CancelledError):
            one.render(LOOPS, cancel=cancel)
        assert is_gone(first)
        assert one.render("{{ 1 }}") == "1"
        second = process_of(one)
    assert is_gone(second)


def test_a_process_that_is_killed_is_told_and_replaced() -> None:
    with Renderer(seconds=60) as one:
        assert one.render("{{ 1 }}") == "1"
        first = process_of(one)

        def kill() -> None:
            until(lambda: is_computing(first))
            first.kill()

        threading.Thread(target=kill).start()
        with pytest.raises(ModelUnreadableError, match="the process that rendered it was ended by SIGKILL"):
            one.render(LOOPS)
        assert one.render("{{ 1 }}") == "1"
        process_of(one).kill()  # between two renderings that is nobody's concern
        until(lambda: is_gone(process_of(one)))
        assert one.render("{{ 1 }}") == "1"


def test_ctrl_c_and_a_polite_kill_of_the_process_alone_do_nothing() -> None:
    with Renderer() as one:
        assert one.render("{{ 1 }}") == "1"
        for number in (signal.SIGINT, signal.SIGTERM):
            process_of(one).send_signal(number)
        before = process_of(one)
        assert one.render("{{ 1 }}") == "1"
        assert process_of(one) == before


def test_memory_is_watched_where_the_system_sets_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with Renderer(seconds=600) as one:
        assert one.render("{{ 1 }}") == "1"
        monkeypatch.setattr(renderer, "MEMORY_BYTES", 1)
        with pytest.raises(ModelUnreadableError, match=MEMORY):
            one.render(LOOPS)


def test_one_that_is_closed_stays_closed() -> None:
    one = Renderer()
    one.close()
    one.close()
    with pytest.raises(GlimpError, match="the pair has been closed"):
        one.render("{{ 1 }}")
    assert one._process is None


def test_a_system_that_starts_no_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(GlimpError, match="cannot be started: No such file"):
        Renderer()


def test_a_process_that_does_not_come_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jinja2").mkdir()
    (tmp_path / "jinja2" / "__init__.py").write_text("raise ImportError('broken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Renderer() as one, pytest.raises(GlimpError, match=r"does not start: .* ended with the code 0x1") as caught:
        one.render("{{ 1 }}")
    assert not isinstance(caught.value, ModelUnreadableError)
    assert "jinja2" in str(caught.value.hint)


@pytest.mark.process
@pytest.mark.parametrize("source", ["{{ 1 }}", LOOPS])
@pytest.mark.skipif(sys.platform == "win32", reason="a limit of time is the system's own only elsewhere")
def test_it_does_not_outlive_the_process_that_started_it(source: str) -> None:
    code = (
        "from glimp_local.engines.renderer import Renderer\n"
        "one = Renderer(seconds=0.5); one._seconds = 600\n"
        f"print(one._process.pid, flush=True); one.render({source!r}); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if source == LOOPS:
            until(lambda: is_computing(child))
        parent.kill()
    until(lambda: is_gone(child))


# The whole way.


@pytest.fixture
def hang(tmp_path: Path) -> Path:
    path = tmp_path / "hang.jinja"
    path.write_text(LOOPS + CHATML)
    return path


@pytest.mark.slow
def test_the_limit_of_time_ends_a_run_with_an_exit_code(glimp: Glimp, hang: Path) -> None:
    result = glimp.solve("--text", QUESTION, "--chat-template", hang)
    assert (result.code, result.out) == (3, "")
    message, hint = result.err.splitlines()
    assert message.startswith(
        f"glimp: {hang}: the model's chat template cannot be rendered: it takes longer than 5 sec"
    )
    assert hint == "hint: give another template with --chat-template FILE"


def test_a_template_inside_a_model_is_stopped_likewise(glimp: Glimp, tmp_path: Path) -> None:
    path = write_story(tmp_path / "hostile.gguf", {}, template="{{ 'x'.center(2 * 10 ** 9) }}")
    result = glimp("solve", "--small", path, "--large", path, "--text", QUESTION)
    assert (result.code, result.out) == (3, "")
    assert result.err.splitlines() == [
        "glimp: the model's chat template cannot be rendered: it takes too much memory",
        "hint: give another template with --chat-template FILE",
    ]


@pytest.mark.parametrize("number", ["9" * 5000, "\u0660", "00", "-1", "7"])
def test_a_template_that_invents_messages_is_refused(open_pair: Open, tmp_path: Path, number: str) -> None:
    template = tmp_path / "invents.jinja"
    template.write_text(f"\u2060glimp{number}\u2060", encoding="utf-8")
    with pytest.raises(ModelUnreadableError, match="does not show every message once and in order"):
        open_pair(chat_template=str(template))


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_template_hangs(glimp: Glimp, hang: Path, number: signal.Signals) -> None:
    command = [*GLIMP, "solve", *glimp.pair(), "--text", QUESTION, "--chat-template", str(hang)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: renderers_below(process.pid))
        (child,) = renderers_below(process.pid)
        until(lambda: is_computing(child))
        process.send_signal(number)
        sent = monotonic()
        out, errors = process.communicate(timeout=30)
        assert monotonic() - sent < 4  # the limit of time alone would take longer
    assert (process.returncode, out) == (128 + number, b"")
    assert errors == b"glimp: cancelled while the chat template was rendered\n"
    assert is_gone(child)


def test_no_process_stays_when_a_pair_is_closed(open_pair: Open) -> None:
    one = Renderer()
    pair = open_pair(renderer=one)
    child = process_of(one)
    run(pair)
    pair.close()
    assert is_gone(child)


def test_a_template_that_hangs_on_the_second_question_costs_that_question_alone(
    open_pair: Open, tmp_path: Path
) -> None:
    template = tmp_path / "second.jinja"
    template.write_text("{% if messages | length > 1 %}" + LOOPS + "{% endif %}" + THINKING)
    pair = open_pair(chat_template=str(template))
    cancel = threading.Event()
    session = Session(pair, seed=1, cancel=cancel)
    events = list(session.ask(QUESTION))
    before, held = exchanges_of(session), list(engine_in(pair, "small").ids)
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(CancelledError):
        session.ask("And then?")
    assert (exchanges_of(session), engine_in(pair, "small").ids) == (before, held)
    cancel.clear()
    assert isinstance(events[-1], Finished)
    assert list(session.redo(0))[-1].finish_reason == "done"  # type: ignore[union-attr]  # a run ends with Finished


@played
async def test_esc_stops_a_template_in_the_chat(small: Path, hang: Path) -> None:
    async with chatting(small, chat_template=str(hang), loads=False) as chat:
        await chat.until(
            lambda: any(is_computing(child) for child in renderers_below(os.getpid()) if not is_gone(child))
        )
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        assert "cancelled while the chat template was rendered" in chat.screen
