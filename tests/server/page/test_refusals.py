"""What the page says and does where a question is not simply answered."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.server.conftest import Serve, Served
from tests.server.page.conftest import QUESTION, OpenPage, ask
from tests.server.test_conduct import endless

pytestmark = pytest.mark.process


def test_with_a_key_the_page_asks_for_it_and_keeps_it_for_the_tab(serving: Serve, visit: OpenPage) -> None:
    served = serving("--api-key", "secret")
    page = visit(served).open(waits=False)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    expect(dialog).to_be_visible()
    field = dialog.locator("input")
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The last one was not accepted.")
    for _ in range(3):  # a browser closes it the second time, whatever the page says
        page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
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
