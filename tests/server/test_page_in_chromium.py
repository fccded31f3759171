"""The page of `glimp serve` in a real Chromium, against a real server of the tiny pair."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect

from tests.server.conftest import Serve, Served
from tests.server.test_conduct import endless, is_idle, metric, until
from tests.support import browsing

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(browsing.chromium() is None, reason="there is no Chromium on this machine"),
]

QUESTION = "How many steps are there?"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing.browser() as started:
        yield started


class Visit:
    """A page that was opened, what its console said, and what it asked for."""

    def __init__(self, browser: Browser, url: str, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **how})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))
        self.url = url

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, *, waits: bool = True) -> Page:
        """Open the page, and wait until it can be asked something."""
        self.page.goto(self.url)
        if waits:
            ready(self.page)
        return self.page

    def bodies(self) -> list[dict[str, Any]]:
        """What was asked, request by request."""
        asked = [request for request in self.requests if request.url.endswith("/v1/chat/completions")]
        return [json.loads(request.post_data or "") for request in asked]


OpenPage = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[OpenPage]:
    """Open pages."""
    visits: list[Visit] = []

    def start(served: Served, **how: Any) -> Visit:
        visits.append(Visit(chromium, served.url, **how))
        return visits[-1]

    yield start
    for each in visits:
        each.context.close()


def ready(page: Page) -> None:
    expect(page.get_by_label("Model", exact=True)).to_be_enabled(timeout=20_000)


def thinking(serving: Serve, *arguments: str) -> Served:
    """A server whose thoughts do not end for a long time."""
    endless_thought = ("--temperature", "1", "--max-thought", "15000", "--ctx", "16384", "--seed", "1")
    return serving(*endless_thought, *arguments, small="patient", large="patient")


def ask(page: Page, question: str = QUESTION) -> None:
    """Ask, and wait until the reply is complete."""
    ready(page)
    before = page.locator(".figures").count()
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".figures")).to_have_count(before + 1, timeout=20_000)


def writers(page: Page) -> list[str | None]:
    return [step.get_attribute("data-model") for step in page.locator(".turn").last.locator(".steps .step").all()]


def replies(page: Page, thought: str, answer: str) -> None:
    """Have the next replies say this, whatever is asked."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}
    step = {"reason": "confident", "entropy_nats": 0.1, "threshold_nats": 1.0}

    def chunk(delta: dict[str, str], **more: Any) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}

    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({}, glimp={**step, "step": 0, "part": "thought", "model": "small"}),
        *(chunk({"reasoning_content": piece}) for piece in re.findall(r"(?s).{1,4}", thought)),
        chunk({}, glimp={**step, "step": 1, "part": "answer", "model": "large"}),
        *(chunk({"content": piece}) for piece in re.findall(r"(?s).{1,4}", answer)),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "glimp": {"finish_reason": "done"}},
    ]
    said = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"

    def answered(route: Route) -> None:
        route.fulfill(status=200, headers={"content-type": "text/event-stream"}, body=said)

    page.route("**/v1/chat/completions", answered)


def test_a_question_is_answered_and_each_step_says_who_wrote_it_and_why(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    ask(page)
    expect(page.locator(".question")).to_have_text(QUESTION)
    steps = page.locator(".steps .step")
    assert writers(page) == ["small", "small", "large", "small"][: steps.count()]
    assert steps.locator(".letter").all_text_contents()[:3] == ["S", "S", "L"]
    numbers = steps.locator(".numbers").all_text_contents()
    assert re.fullmatch(r"0\.\d\d ≤ 1\.00 nats", numbers[0])
    assert re.fullmatch(r"1\.\d\d > 1\.00 nats", numbers[2])
    assert steps.locator(".why").all_text_contents()[1:3] == ["the small model is sure", "the small model is unsure"]
    assert [text.strip() for text in steps.locator(".text").all_text_contents()][:3] == [
        "First one.",
        "Second two:",
        "Third three.",
    ]
    looks = steps.evaluate_all(
        "steps => steps.map(step => [getComputedStyle(step).borderLeftColor, getComputedStyle(step).borderLeftStyle])"
    )
    (small, large) = looks[1], looks[2]
    assert small[0] != large[0]
    assert (small[1], large[1]) == ("solid", "double"), "without colour they differ, too"
    widths = steps.locator(".fill").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert page.locator("details.thought").get_attribute("open") is None, "the thought has folded away"
    page.locator("summary").click()
    widths = steps.locator(".fill").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    marks = steps.locator(".bar").evaluate_all(
        "bars => bars.map(b => b.querySelector('.mark').getBoundingClientRect().x - b.getBoundingClientRect().x)"
    )
    assert widths[1] < marks[1]
    assert widths[2] > marks[2], "above the threshold"
    expect(page.locator(".answer .text")).to_have_text("Answer \\boxed{3}")
    figures = page.locator(".figures").inner_text()
    assert re.search(r"\d+ tokens, [\d,.]+/s", figures)
    assert "1 of 4 steps" in figures
    assert "switches" in figures
    assert visited.complaints == []


def test_the_page_asks_no_other_host_and_uses_public_endpoints_only(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    ask(page)
    page.reload()
    expect(page.locator(".figures")).to_have_count(1)
    paths = {request.url.removeprefix(served.url) for request in visited.requests}
    assert {path for path in paths if not path.startswith("/page/")} == {
        "/",
        "/health",
        "/props",
        "/v1/models",
        "/v1/chat/completions",
    }
    assert all(request.url.startswith(f"{served.url}/") for request in visited.requests)
    assert visited.complaints == []


def test_the_threshold_the_share_and_the_model_change_who_writes(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    expect(page.locator("#rule option").first).to_have_text("by the pair's own rule (above 1.00 nats)")
    page.get_by_label("When the large model writes a step").select_option("threshold")
    amount = page.get_by_role("spinbutton")
    amount.fill("0")
    ask(page)
    assert set(writers(page)) == {"large"}
    amount.fill("2")
    ask(page)
    assert set(writers(page)) == {"small"}
    page.get_by_role("slider").fill("1.2")
    expect(amount).to_have_value("1.2")
    page.locator("#rule").select_option("share")
    amount.fill("1")
    ask(page)
    page.get_by_label("Model", exact=True).select_option("small + large:small")
    expect(page.locator("#routing")).to_be_hidden()
    expect(page.locator("#alone")).to_have_text("The small model writes everything.")
    ask(page)
    assert set(writers(page)) == {"small"}
    sent = [(body["model"], body.get("glimp")) for body in visited.bodies()]
    assert sent == [
        ("small + large", {"threshold": 0}),
        ("small + large", {"threshold": 2}),
        ("small + large", {"share": 1}),
        ("small + large:small", None),
    ]
    page.reload()
    expect(page.locator("#model")).to_have_value("small + large:small")


def test_stop_and_escape_stop_the_reply_and_leave_the_server_idle(serving: Serve, visit: OpenPage) -> None:
    served = thinking(serving)
    page = visit(served).open()
    for stopping in (lambda: page.get_by_role("button", name="Stop").click(), lambda: page.keyboard.press("Escape")):
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".turn").last.locator(".steps .step").nth(2)).to_be_attached()
        assert metric(served, "requests_running") == 1
        stopping()
        expect(page.locator(".turn").last.locator(".notice")).to_contain_text("Stopped.")
        until(lambda: is_idle(served), 5.0)
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        expect(page.locator("#steering")).to_be_hidden()
    assert page.locator(".turn").count() == 2


def test_the_thought_can_be_steered_and_ended(serving: Serve, visit: OpenPage) -> None:
    served = thinking(serving, "--threshold", "9")
    page = visit(served).open()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Next step by the large model").click()
    forced = page.locator(".steps .step.large").first
    expect(forced.locator(".why")).to_have_text("you chose this model")
    page.get_by_role("button", name="Answer now").click()
    expect(page.locator(".answer .step")).to_be_visible()
    expect(page.locator(".figures")).to_have_count(1)
    expect(page.locator("summary")).to_contain_text("ended by you")
    expect(page.locator("#steering")).to_be_hidden()


def test_a_reload_shows_the_conversation_again_and_it_goes_on_without_its_thoughts(
    served: Served, visit: OpenPage
) -> None:
    visited = visit(served)
    page = visited.open()
    ask(page)
    shown = page.locator("#log").inner_html()
    page.reload()
    expect(page.locator(".turn")).to_have_count(1)
    assert page.locator("#log").inner_html() == shown
    ask(page, "Sure?")
    assert [(message["role"], message["content"]) for message in visited.bodies()[-1]["messages"]] == [
        ("user", QUESTION),
        ("assistant", "Answer \\boxed{3}"),
        ("user", "Sure?"),
    ]
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)


def test_leaving_in_the_middle_stops_the_reply_and_keeps_what_there_was(serving: Serve, visit: OpenPage) -> None:
    served = thinking(serving)
    page = visit(served).open()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".steps .step").nth(2)).to_be_attached()
    page.reload()
    expect(page.locator(".notice")).to_contain_text("Stopped.")
    assert page.locator(".steps .step").count() >= 3
    until(lambda: is_idle(served), 5.0)


def test_a_new_chat_in_the_middle_of_a_reply_is_empty_and_stays_so(serving: Serve, visit: OpenPage) -> None:
    served = thinking(serving)
    page = visit(served).open()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".steps .step").nth(1)).to_be_attached()
    page.get_by_role("button", name="New chat").click()
    until(lambda: is_idle(served), 5.0)
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


HOSTILE = """<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script>

[x](javascript:window.hacked=1) [x](JaVaScRiPt:alert(1)) [x](data:text/html,<script>1</script>) [x](//evil.example)
![x](https://evil.example/x.png) <a href="javascript:1">a</a> <javascript:alert(1)> [x](vbscript:1) [x](\u0001javascript:1)

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


@pytest.mark.parametrize(("text", "expected"), RENDERED)
def test_markdown_is_rendered(markdown: Page, text: str, expected: str) -> None:
    assert expected in markdown.evaluate("text => rendered(text)", text)


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


def test_a_long_reply_is_shown_as_it_comes(served: Served, visit: OpenPage) -> None:
    page = visit(served).open()
    thought, answer = "A thought of some words. " * 2000, "A **line** of the answer.\n\n" * 2000
    replies(page, thought, answer)
    began = time.monotonic()
    ask(page)
    assert time.monotonic() - began < 15
    assert page.locator(".steps .text").text_content() == thought.strip()
    assert page.locator(".answer strong").count() == 2000


def test_with_a_key_the_page_asks_for_it_and_keeps_it_for_the_tab(serving: Serve, visit: OpenPage) -> None:
    served = serving("--api-key", "secret")
    page = visit(served).open(waits=False)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    expect(dialog).to_be_visible()
    field = dialog.locator("input")
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The last one was not accepted.")
    field.fill("secret")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    ask(page)
    expect(page.locator(".answer .text")).to_have_text("Answer \\boxed{3}")
    page.reload()
    ask(page)
    expect(dialog).to_be_hidden()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_a_question_that_is_refused_stays_in_the_box_with_the_reason(served: Served, visit: OpenPage) -> None:
    page = visit(served).open()
    long = ("long " * 2000).strip()
    box = page.get_by_label("Question", exact=True)
    box.fill(long)
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_contain_text("more than the context")
    expect(box).to_have_value(long)
    expect(page.locator(".turn")).to_have_count(0)
    ask(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_what_the_pair_declines_can_be_asked_anyway(serving: Serve, visit: OpenPage) -> None:
    served = serving("--pair", "builtin")
    visited = visit(served)
    page = visited.open()
    box = page.get_by_label("Question", exact=True)
    box.fill("Who was the first president of France?")
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert").filter(has_text="is not for the pair")
    expect(problem).to_contain_text("counting stories")
    expect(problem).not_to_contain_text('"anyway": true')
    problem.get_by_role("button", name="Ask anyway").click()
    expect(page.locator(".figures")).to_have_count(1)
    expect(box).to_have_value("")
    assert [body.get("glimp") for body in visited.bodies()] == [None, {"anyway": True}]


def test_an_error_behind_the_first_words_is_said_below_them(serving: Serve, visit: OpenPage) -> None:
    served = endless(serving)
    page = visit(served).open()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".steps .step").nth(1)).to_be_attached()
    served.worker.kill()
    expect(page.locator(".error")).to_contain_text("The process that computes ended by signal 9")
    assert page.locator(".steps .step").count() >= 2
    page.get_by_label("Question", exact=True).fill("Again?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn").last.locator(".steps .step").first).to_be_attached()


def test_a_server_that_has_gone_is_missed_in_words(serving: Serve, visit: OpenPage) -> None:
    served = serving()
    page = visit(served).open()
    expect(page.locator("#names li")).to_have_count(2)
    served.stop()
    box = page.get_by_label("Question", exact=True)
    box.fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_contain_text("The server does not answer. Is glimp serve still running?")
    expect(box).to_have_value(QUESTION)


def test_while_the_pair_is_loaded_the_page_waits_and_says_so(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    loading = [True, True]

    def health(route: Route) -> None:
        if loading:
            loading.pop()
            said = {"error": {"message": "the pair is being loaded", "code": "loading"}}
            route.fulfill(status=503, json=said)
        else:
            route.continue_()

    visited.page.route("**/health", health)
    page = visited.open(waits=False)
    page.get_by_label("Question", exact=True).fill(QUESTION)
    expect(page.locator("#status")).to_have_text("The pair is being loaded.")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    expect(page.locator("#status")).to_be_hidden()
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answer .text")).to_have_text("Answer \\boxed{3}")


def test_the_keyboard_is_enough(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    expect(page.locator("#names li")).to_have_count(2)
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator(".figures")).to_have_count(1)
    assert page.locator(".question").text_content() == "one\ntwo"
    assert page.evaluate("document.activeElement.id") == "question"
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement.id") in {"question", ""}
    assert {"model", "new", "SUMMARY", "BUTTON", "rule"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_background(served: Served, visit: OpenPage, scheme: str) -> None:
    page = visit(served, color_scheme=scheme).open()
    ask(page)
    page.locator("summary").click()
    page.locator("#rule").select_option("threshold")
    page.get_by_label("Question", exact=True).fill("x")
    found = page.evaluate("""() => {
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const rgba = (colour) => {
            canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            return canvas.getImageData(0, 0, 1, 1).data;
        };
        const luminance = (colour) => {
            const [r, g, b] = [...colour].map((c) => c / 255).map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        const back = (element) => {
            for (let e = element; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (rgba(colour)[3] === 255) return colour;
            }
            return "white";
        };
        const shown = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.disabled &&
            [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !e.closest(".away, option, noscript"));
        return shown.map((e) => {
            const [one, two] = [getComputedStyle(e).color, back(e)].map((c) => luminance(rgba(c)));
            return [`${e.tagName}.${e.className}`, (Math.max(one, two) + .05) / (Math.min(one, two) + .05)];
        });
    }""")
    assert len(found) > 20
    assert [(name, ratio) for name, ratio in found if ratio < 4.5] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 24)"
    assert dark == (scheme == "dark")


def test_on_a_narrow_screen_nothing_has_to_be_moved_sideways(served: Served, visit: OpenPage) -> None:
    visited = visit(served, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = visited.open()
    fits = "document.documentElement.scrollWidth <= 360 && visualViewport.width === 360"
    assert page.evaluate(fits)
    wide = "w" * 300
    replies(
        page, wide, f"# {wide}\n\n```\n{wide}\n```\n\n| {wide} | b |\n|---|---|\n| c | {wide} |\n\n`{wide}`\n\n- {wide}"
    )
    page.locator("#rule").select_option("threshold")
    ask(page, wide)
    page.locator("summary").click()
    assert page.evaluate(fits)
    cut = page.evaluate("""() => [...document.querySelectorAll("header *, #foot *")]
        .filter((e) => e.checkVisibility() && !e.closest(".away") && e.getBoundingClientRect().right > 360).map((e) => e.id)""")
    assert cut == []


def test_who_wants_no_motion_gets_none(served: Served, visit: OpenPage) -> None:
    motion = "getComputedStyle(document.querySelector('.state'), '::before').animationName"
    for wanted, name in (("no-preference", "breathe"), ("reduce", "none")):
        page = visit(served, reduced_motion=wanted).open()
        ask(page)
        assert page.evaluate(motion) == name


def test_the_page_follows_the_reply_unless_the_reader_has_gone_up(serving: Serve, visit: OpenPage) -> None:
    served = thinking(serving)
    page = visit(served, viewport={"width": 500, "height": 400}).open()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_function("() => scrollY > 200")
    latest = page.get_by_role("button", name="To the end")
    expect(latest).to_be_hidden()
    page.mouse.move(250, 150)
    page.mouse.wheel(0, -100_000)
    expect(latest).to_be_visible()
    height = page.evaluate("document.documentElement.scrollHeight")
    page.wait_for_function("before => document.documentElement.scrollHeight > before + 200", arg=height)
    assert page.evaluate("scrollY") == 0
    latest.click()
    expect(latest).to_be_hidden()
    page.wait_for_function("before => scrollY > before - 400", arg=height)
    page.keyboard.press("Escape")
    expect(page.locator("details.thought")).to_have_attribute("open", "")


def test_an_answer_can_be_copied(served: Served, visit: OpenPage) -> None:
    page = visit(served, permissions=["clipboard-read", "clipboard-write"]).open()
    ask(page)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "Answer \\boxed{3}"
