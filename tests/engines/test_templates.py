"""Chat templates of strangers: rendered as the binding does, and stopped by limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import ModelUnreadableError
from glimp_local.messages import Message
from tests.support import rendering
from tests.support.rendering import LOOPS, MEMORY

DOUBLED = "{% set n = namespace(x=START) %}{% for i in range(99999) %}{% set n.x = n.x + n.x %}{% endfor %}"
NESTED = "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}"
TIME = "it takes longer than"
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
