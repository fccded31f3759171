"""Conversations on the page, with a real server of the tiny pair."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.server.conftest import Serve, Served
from tests.server.page.conftest import QUESTION, OpenPage, ask, thinking
from tests.server.test_conduct import is_idle, metric, until

pytestmark = pytest.mark.process


def writers(page: Page) -> list[str | None]:
    return [step.get_attribute("data-model") for step in page.locator(".turn").last.locator(".steps .step").all()]


def test_a_question_is_answered_and_each_step_says_who_wrote_it_and_why(served: Served, visit: OpenPage) -> None:
    visited = visit(served)
    page = visited.open()
    ask(page)
    expect(page.locator(".question")).to_have_text(QUESTION)
    steps = page.locator(".steps .step")
    assert writers(page) == ["small", "small", "large", "small"]
    assert steps.locator(".letter").all_text_contents()[:3] == ["S", "S", "L"]
    numbers = steps.locator(".numbers").all_text_contents()
    assert re.fullmatch(r"0\.\d\d ≤ 1\.00 nats", numbers[0])
    assert re.fullmatch(r"1\.\d\d > 1\.00 nats", numbers[2])
    assert steps.locator(".why").all_text_contents()[1:3] == ["the small model is sure", "the small model is unsure"]
    assert [text.strip() for text in steps.locator(".text").all_text_contents()] == [
        "First one.",
        "Second two:",
        "Third three.",
        "",
    ]
    looks = steps.evaluate_all(
        "steps => steps.map(step => [getComputedStyle(step).borderLeftColor, getComputedStyle(step).borderLeftStyle])"
    )
    (small, large) = looks[1], looks[2]
    assert small[0] != large[0]
    assert (small[1], large[1]) == ("solid", "double"), "without colour they differ, too"
    assert page.locator("details.thought").get_attribute("open") is None, "the thought has folded away"
    page.locator("summary").click()
    widths = steps.locator(".fill").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    said = "text => getComputedStyle(text, '::before').content"
    assert steps.locator(".text").last.evaluate(said) == '"ends the thought"'
    assert steps.locator(".text").first.evaluate(said) == "none"
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


def test_the_reply_of_a_pair_that_does_not_think_is_shown_step_by_step(serving: Serve, visit: OpenPage) -> None:
    page = visit(serving(small="plain", large="plain")).open()
    ask(page)
    expect(page.locator("details.thought")).to_be_hidden()
    parts = page.locator(".answer .step")
    assert parts.evaluate_all("parts => parts.map(part => part.dataset.model)")[:3] == ["small", "small", "large"]
    assert parts.locator(".text").all_text_contents()[:2] == ["First one.", "Second two:"]
    expect(parts.nth(2).locator(".why")).to_have_text("the small model is unsure")


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
    for by_key in (False, True):
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".turn").last.locator(".steps .step").nth(2)).to_be_attached()
        assert metric(served, "requests_running") == 1
        if by_key:
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Stop").click()
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
