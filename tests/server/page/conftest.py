"""Visits to the page of `glimp serve` in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect

from tests.server.conftest import Serve, Served
from tests.support import browsing

QUESTION = "How many steps are there?"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Chromium, or skip where there is none."""
    if browsing.chromium() is None:
        pytest.skip("there is no Chromium on this machine")
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
        self.page.on("request", self._asked)
        self.url = url

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

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
