"""Chat templates of strangers: rendered as the binding does, and stopped by limits, by a cancel and by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import psutil
import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from glimp_local import Session
from glimp_local.engines import renderer
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import CancelledError, GlimpError, ModelUnreadableError
from glimp_local.events import Finished
from glimp_local.messages import Message
from glimp_local.tui.screens.pairs import PairScreen
from tests.support import rendering
from tests.support.chatting import chatting, played
from tests.support.commands import GLIMP, QUESTION, Glimp
from tests.support.sessions import Open, engine_in, exchanges_of, run
from tests.support.tiny_models import CHATML, THINKING, write_story

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set n = namespace(x=START) %}{% for i in range(99999) %}{% set n.x = n.x + n.x %}{% endfor %}"
NESTED = "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}"
TIME = "it takes longer than"
MEMORY = "it takes too much memory"
DEEP = "RecursionError"

FAILS = {
    "1/0": ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
    "modulo": ("{{ 1 % 0 }}", "ZeroDivisionError"),
    "too large a float": ("{{ 2.0 ** 100000 }}", "OverflowError"),
    "too many digits": ("{{ 10 ** 5000 }}", "digits"),
    "a range of a billion": ("{% for i in range(10 ** 9) %}x{% endfor %}", "OverflowError: Range too big"),
    "a macro in itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", DEEP),
    "a block in itself": ("{% block a %}{{ self.a() }}{% endblock %}", DEEP),
    "a loop in itself": ("{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}", DEEP),
    "deep brackets": ("{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}", DEEP),
    "deep lists": ("{{ " + "[" * 150 + "1" + "]" * 150 + " }}", DEEP),
    "deep dictionaries": ("{{ " + "{1:" * 3000 + "1" + "}" * 3000 + " }}", DEEP),
    "many nots": ("{{ " + "not " * 50_000 + "1 }}", DEEP),
    "many signs": ("{{ " + "-" * 20_000 + "1 }}", DEEP),
    "many sums": ("{{ " + "1+" * 20_000 + "1 }}", DEEP),
    "many attributes": ("{{ a" + ".a" * 20_000 + " }}", DEEP),
    "many filters": ("{{ a" + "|string" * 20_000 + " }}", DEEP),
    "deep ifs": ("{% if 1 %}" * 5000 + "{% endif %}" * 5000, DEEP),
    "deep loops": ("{% for i in [1] %}" * 300 + "{% endfor %}" * 300, DEEP),
    "a deep value": (NESTED + "{{ n.x }}", DEEP),
    "a deep value as JSON": (NESTED + "{{ n.x | tojson }}", DEEP),
    "a deep value raised": (NESTED + "{{ raise_exception(n.x) }}", "ValueError"),
    "a terabyte": ("{{ 'x' * 10 ** 12 }}", MEMORY),
    "center": ("{{ 'x'.center(2 * 10 ** 9) }}", MEMORY),
    "zfill": ("{{ 'x'.zfill(2 ** 62) }}", MEMORY),
    "a width": ("{{ '%2000000000d' % 1 }}", MEMORY),
    "another width": ("{{ '{:2000000000d}'.format(1) }}", MEMORY),
    "tabs": ("{{ '\\t'.expandtabs(2 ** 31 - 1) }}", MEMORY),
    "a text doubled": (DOUBLED.replace("START", "'x'"), MEMORY),
    "a list doubled": (DOUBLED.replace("START", "[1]"), MEMORY),
    "a batch": ("{{ [1] | batch(10 ** 10, 1) | list | length }}", MEMORY),
    "a long translation": ("{{ ('a' * 10 ** 6).translate({97: 'b' * 10 ** 6}) }}", MEMORY),
    "200 MB of text": ("{% for i in range(20000) %}{{ 'x' * 10000 }}{% endfor %}", "more than 250,000 characters"),
    "a long template": ("x" * 5_000_000, "more than 250,000 characters"),
    "half a character": ("{{ '\\ud800' }}", "surrogates"),
    "loops": (LOOPS, TIME),
    "loops that count": (LOOPS.replace("{% endfor %}", "{% set x = i + j %}{% endfor %}", 1), TIME),
    "a filter in a loop": (
        "{% for i in range(99999) %}{{ range(99999) | unique | list | length }}{% endfor %}",
        TIME,
    ),
    "one long power": ("{{ (7 ** 100000000) % 3 }}", TIME),
    "words without end": ("{{ lipsum(10 ** 9) }}", TIME),
    "a loop that is open": ("{% for m in messages %}", "Unexpected end of template"),
    "a variable that is open": ("{{ messages", "unexpected end of template"),
    "a comment that is open": ("{# ", "Missing end of comment tag"),
    "no such tag": ("{% nonsense %}", "unknown tag"),
    "no such filter": ("{{ 1 | nonsense }}", "No filter named"),
    "nothing there": ("{{ a.b.c }}", "'a' is undefined"),
    "its own words": ("{{ raise_exception('only with tools') }}", "only with tools"),
    "a file": ("{% include '/etc/passwd' %}", "no loader"),
    "a module": ("{% import 'os' as os %}", "no loader"),
}
ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ (''|attr('__class__')).__mro__ }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{{ messages.append(1) }}",
    "{{ strftime_now.__code__.co_consts }}",
]


@pytest.fixture(scope="module")
def impatient() -> Iterator[Renderer]:
    with Renderer(seconds=1) as started:
        yield started


@pytest.fixture(scope="module")
def patient() -> Iterator[Renderer]:
    with Renderer(seconds=20) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILS)
def test_a_template_that_fails_is_one_sentence_with_a_hint(impatient: Renderer, patient: Renderer, name: str) -> None:
    source, why = FAILS[name]
    renderer = impatient if why == TIME else patient
    with pytest.raises(ModelUnreadableError, match="chat template cannot be rendered: ") as caught:
        renderer.render(source, messages=[])
    assert why in str(caught.value)
    assert "--chat-template" in str(caught.value.hint)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert patient.render("{{ 1 }}") == "1"


@pytest.mark.parametrize("source", ESCAPES)
def test_the_sandbox_holds(source: str) -> None:
    with pytest.raises(ModelUnreadableError, match=r"unsafe|is undefined"):
        rendering.renderer().render(source, messages=[])


def test_what_a_template_raises_cannot_pretend_to_be_ours() -> None:
    with pytest.raises(ModelUnreadableError) as caught:
        rendering.renderer().render("{{ raise_exception('no\nglimp: all is well\x1b[2J' + 'x' * 10 ** 6) }}")
    assert str(caught.value).startswith("the model's chat template cannot be rendered: no glimp: all is well\u241b[2Jx")
    assert len(str(caught.value)) < 400


def as_said(messages: list[dict[str, str]]) -> list[Message]:
    return msgspec.convert(messages, list[Message])


@pytest.mark.slow
def test_every_template_is_rendered_as_the_binding_does(llama_cpp_models: Path) -> None:
    """Of the 70 that llama.cpp is tested with, each asked for one turn and for three, closed and opened."""
    conversation = [("system", "Be brief."), ("user", "Hi\n"), ("assistant", " <b>'Ho'</b> "), ("user", "Why?")]
    messages = [{"role": role, "content": content} for role, content in conversation]
    same = 0
    for path in sorted((llama_cpp_models / "templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        ours = ChatTemplate(source, bos="<s>", eos="</s>", renderer=rendering.renderer())
        for generate in (True, False):
            theirs: Any = Jinja2ChatFormatter(source, "</s>", "<s>", add_generation_prompt=generate)
            for asked in (messages, messages[1:], messages[1:2]):
                try:
                    expected = theirs(messages=asked, enable_thinking=True).prompt
                except Exception:  # noqa: BLE001 - whatever it raises, ours has to fail, too
                    with pytest.raises(ModelUnreadableError, match="cannot be rendered"):
                        ours.render(as_said(asked), generate=generate)
                else:
                    assert ours.render(as_said(asked), generate=generate) == expected, path.stem
                    same += 1
    assert same > 250


@pytest.mark.parametrize(
    "source",
    [
        "{% generation %}{{ 1 }}{% endgeneration %}\n  {%- for i in [1, 2] %}\n    {% break %}\n{% endfor %}.\n",
        "{{ {'b': '<é>', 'a': [1, none, true]} | tojson }}|{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}",
        "{{ tools }}{{ functions is none }}{{ tool_choice }}{{ function_call }}{{ enable_thinking }}{{ unknown }}",
        "{{ strftime_now('%Y-%m-%d') }}{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}",
        "{{ [1, 2] | tojson(separators=(',', ':')) }}{{ 'é' | tojson(ensure_ascii=true) }}{{ '<' ~ '&' }}",
    ],
)
def test_what_the_binding_adds_is_there(source: str) -> None:
    theirs: Any = Jinja2ChatFormatter(source, "</s>", "<s>", add_generation_prompt=True)
    expected = theirs(messages=[], enable_thinking=True).prompt
    ours = ChatTemplate(source, bos="<s>", eos="</s>", renderer=rendering.renderer())
    assert ours.render([]) == expected
    assert expected


# Cancelled, killed, closed.


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
