"""How the page looks and is handled: keyboard, contrast, narrow screens, long replies."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.server.conftest import Serve, Served
from tests.server.page.conftest import QUESTION, OpenPage, ask, replies, thinking

pytestmark = pytest.mark.process


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
            const linear = (c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
            const [r, g, b] = [...colour].map((c) => linear(c / 255));
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
        .filter((e) => e.checkVisibility() && !e.closest(".away") && e.getBoundingClientRect().right > 360)
        .map((e) => e.id)""")
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
    below = page.evaluate("document.documentElement.scrollHeight - innerHeight - scrollY")
    assert below > 150, "it has stayed where the reader went"
    expect(latest).to_be_visible()
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


def test_a_long_reply_is_shown_as_it_comes(served: Served, visit: OpenPage) -> None:
    page = visit(served).open()
    thought, answer = "A thought of some words. " * 2000, "A **line** of the answer.\n\n" * 2000
    replies(page, thought, answer)
    began = time.monotonic()
    ask(page)
    assert time.monotonic() - began < 15
    assert page.locator(".steps .text").text_content() == thought.strip()
    assert page.locator(".answer strong").count() == 2000
