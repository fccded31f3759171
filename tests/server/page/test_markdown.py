"""What a model writes, on the page: Markdown, and never HTML."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server.conftest import Served
from tests.server.page.conftest import OpenPage, ask, replies

pytestmark = pytest.mark.process


HOSTILE = """<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script>

[x](javascript:window.hacked=1) [x](JaVaScRiPt:alert(1)) [x](data:text/html,<script>1</script>) [x](//evil.example)
![x](https://evil.example/x.png) <a href="javascript:1">a</a> <javascript:alert(1)>
[x](vbscript:1) [x](\u0001javascript:1)

# <svg onload=window.hacked=1>

- <iframe src="javascript:window.hacked=1"></iframe>

| <b onmouseover=1> | b |
|---|---|
| <img src=x onerror=window.hacked=1> | [x](javascript:1) |

```<img src=x onerror=window.hacked=1>
<img src=x onerror=window.hacked=1>
```
"""


def test_what_is_asked_and_answered_is_text_whatever_it_says(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    replies(page, HOSTILE, HOSTILE)
    ask(page, HOSTILE)
    page.reload()
    expect(page.locator(".figures")).to_have_count(1)
    log = page.locator("#log")
    for tag in ("img", "script", "svg", "iframe", "b", "[onerror]", "[onload]", "[style*=url]"):
        assert log.locator(tag).count() == 0, tag
    assert log.locator("a").evaluate_all("links => links.map(a => a.protocol)") == ["https:"]
    assert page.locator(".question").text_content() == HOSTILE.strip()
    assert page.locator(".steps .text").text_content() == HOSTILE.strip()
    assert '<img src=x onerror="window.hacked=1">' in page.locator(".answer").inner_text()
    assert page.evaluate("window.hacked") is None
    assert visited.complaints == []
    assert not [request.url for request in visited.requests if not request.url.startswith(served.url)]


RENDERED = [
    ("plain\nlines", '<p dir="auto">plain\nlines</p>'),
    ("## Head ##\ntext", '<h4 dir="auto">Head</h4><p dir="auto">text</p>'),
    ("**a** *b* __c__ _d_ ***e*** ~~f~~", "<strong>a</strong> <em>b</em> <strong>c</strong> <em>d</em> "),
    ("***e*** ~~f~~", "<em><strong>e</strong></em> <del>f</del>"),
    ("2 * 3 * 4 and snake_case_name and **open", '<p dir="auto">2 * 3 * 4 and snake_case_name and **open</p>'),
    ("`a*b*` and ``c`d``", "<code>a*b*</code> and <code>c`d</code>"),
    ("\\*no\\* \\(a_1 * b_2\\) $x_1*y*z$ \\boxed{3}", '<p dir="auto">*no* \\(a_1 * b_2\\) $x_1*y*z$ \\boxed{3}</p>'),
    ("\\[\n- a\n= b\n\\]", '<p class="formula">\\[\n- a\n= b\n\\]</p>'),
    ("a <b>x</b> &amp;", '<p dir="auto">a &lt;b&gt;x&lt;/b&gt; &amp;amp;</p>'),
    ("> a\n> b", '<blockquote dir="auto"><p dir="auto">a\nb</p></blockquote>'),
    (
        "- a\n- b\n  - c",
        '<ul dir="auto"><li><div>a</div></li><li><div>b</div><ul dir="auto"><li><div>c</div></li></ul>',
    ),
    ("3. a\n4. b", '<ol dir="auto" start="3"><li><div>a</div></li><li><div>b</div></li></ol>'),
    ("- a\n\n  more\n- b", '<li><p dir="auto">a</p><p dir="auto">more</p></li><li><p dir="auto">b</p></li>'),
    ("1. a\n   ```\n   x\n   ```", "<code>x</code></pre></li></ol>"),
    ("```py\na = 1\n\n# no head\n```\nafter", '<code>a = 1\n\n# no head</code></pre><p dir="auto">after</p>'),
    ("```\nopen", "<code>open</code></pre>"),
    ("---", "<hr>"),
    ("| a | b |\n|:-:|--:|\n| 1 | 2 \\| 3 |", '<td class="centre">1</td><td class="right">2 | 3</td>'),
    ("see https://example.com/a_(b). Now", '<a href="https://example.com/a_(b)" rel="noopener noreferrer"'),
    ("[my bank](https://evil.example/x)", '>my bank</a><span class="target"> (https://evil.example/x)</span>'),
    ("<https://example.com/>", ">https://example.com/</a>"),
]


@pytest.fixture(scope="module")
def markdown(chromium: Browser, served: Served) -> Iterator[Page]:
    """A page with the renderer at hand."""
    page = chromium.new_page()
    page.goto(served.url)
    page.evaluate("""async () => {
        const { render, Growing } = await import("/page/markdown.js");
        const html = (node) => { const box = document.createElement("div"); box.append(node); return box.innerHTML; };
        window.rendered = (text) => html(render(text));
        window.grown = (text) => {
            const box = document.createElement("div");
            const growing = new Growing(box);
            for (let size = 1; size <= text.length; size += 1) growing.update(text.slice(0, size));
            return box.innerHTML;
        };
    }""")
    yield page
    page.close()


@pytest.mark.parametrize(("text", "expected"), RENDERED)
def test_markdown_is_rendered(markdown: Page, text: str, expected: str) -> None:
    assert expected in markdown.evaluate("text => rendered(text)", text)


def test_a_text_that_grows_looks_in_the_end_as_if_it_had_been_there_at_once(markdown: Page) -> None:
    whole = "\n\n".join(text.replace("```\nopen", "```\nclosed\n```") for text, _ in RENDERED)
    for text in (whole, HOSTILE, whole.replace("\n\n", "\n"), "a\n#5 b\n2. c\n- d\n``\n```\ne"):
        assert markdown.evaluate("text => grown(text)", text) == markdown.evaluate("text => rendered(text)", text)


@pytest.mark.parametrize(
    "piece",
    [
        "*a ",
        "**a *b ",
        "_a",
        "[",
        "[a](",
        "`",
        "` `` ",
        "$",
        "\\(",
        "~~a ",
        "> ",
        "- ",
        "|",
        "# ",
        " ",
        "*",
        "<http://a",
        "1. a\n",
    ],
)
def test_no_text_takes_long_to_render(markdown: Page, piece: str) -> None:
    text = piece * (60_000 // len(piece))
    began = time.monotonic()
    markdown.evaluate("text => rendered(text).length", f"{text}x\n{text}")
    assert time.monotonic() - began < 5
