"""What was read of a conversation is kept while other requests are answered, as clients send them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.server.conftest import Serve, Served
from tests.server.test_conduct import metric

pytestmark = pytest.mark.process

LONG = "Tell me how many steps there are, and why; " * 5
SIDE = "Give this conversation a title of three words, and say nothing else. " * 2
_NEW = 60
"""Tokens (a letter each) of the next question, the answer before it and what the template puts around them."""


class Answer(NamedTuple):
    content: str
    prompt_tokens: int
    cached_tokens: int
    read: dict[str, int]
    """Tokens of the prompt that each model read."""


def ask(served: Served, *texts: str, model: str = "small + large") -> Answer:
    """Ask the last text, behind questions and answers in turn."""
    messages = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]
    reply: Any = served.post("/v1/chat/completions", {"model": model, "messages": messages}).json()
    usage, stats = reply["usage"], reply["glimp"]["stats"]
    read = {each: stats[each]["prefill_tokens"] for each in ("small", "large") if stats[each] is not None}
    content = reply["choices"][0]["message"]["content"]
    return Answer(content, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], read)


def test_a_side_request_does_not_throw_away_what_was_read_of_a_conversation(serving: Serve) -> None:
    served = serving("--cache-ram", "0.1")
    first = ask(served, LONG)
    assert min(first.read.values()) == first.prompt_tokens
    assert (metric(served, "cache_entries"), metric(served, "cache_bytes")) == (0, 0)
    for _ in range(2):
        ask(served, SIDE)
    assert metric(served, "cache_entries") == 2, "one of each model"
    assert metric(served, "cache_bytes") > 0
    again = ask(served, LONG, first.content, "Sure?")
    assert 0 < max(again.read.values()) < _NEW
    assert again.prompt_tokens - _NEW < again.cached_tokens < again.prompt_tokens
    assert first.content == "Answer \\boxed{3}"
    assert ask(served, SIDE).cached_tokens > 100, "the other one is kept as well"


def test_without_a_cache_it_does(serving: Serve) -> None:
    served = serving("--cache-ram", "0")
    first = ask(served, LONG)
    ask(served, SIDE)
    again = ask(served, LONG, first.content, "Sure?")
    assert min(again.read.values()) > first.prompt_tokens
    assert again.cached_tokens < _NEW
    assert metric(served, "cache_bytes") == 0


def test_two_windows_take_turns_without_reading_their_conversations_again(serving: Serve) -> None:
    served = serving()
    windows = [[LONG], [f"Now {LONG}"]]
    for texts in windows:
        texts += [ask(served, *texts).content, "Sure?"]
    for texts in windows:
        again = ask(served, *texts)
        assert again.cached_tokens > again.prompt_tokens - _NEW
        assert max(again.read.values()) < _NEW


def test_a_side_request_of_the_small_model_leaves_the_large_one_alone(serving: Serve) -> None:
    served = serving("--cache-ram", "0.1")
    first = ask(served, LONG)
    assert ask(served, SIDE, model="small + large:small").read.keys() == {"small"}
    assert metric(served, "cache_entries") == 1, "the small model's"
    again = ask(served, LONG, first.content, "Sure?")
    assert max(again.read.values()) < _NEW


def test_more_than_there_is_room_for_is_said(serving: Serve) -> None:
    served = serving("--cache-ram", "8192")
    assert any("8192 GB" in notice for notice in served.get("/props").json()["glimp"]["notices"])
    assert any("8192 GB" in line for line in served.said)
