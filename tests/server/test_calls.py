"""Calls of tools in an answer that comes in pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.messages import ToolCall
from glimp_local.server.calls import Calls

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
]
OSLO = ("weather", {"city": "Oslo", "days": 2})
TRICKY = ("weather", {"city": "</tool_call>"})
JSON = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>'
TAGS = (
    "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
    "</function>\n</tool_call>"
)


def read(text: str, cuts: list[int]) -> tuple[str, list[tuple[str, Any]]]:
    """Return the text shown, and the calls, of an answer that comes in pieces."""
    calls = Calls(TOOLS)
    ends = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    found = [item for start, end in pairwise(ends) for item in calls.take(text[start:end])] + list(calls.rest())
    shown = "".join(item for item in found if isinstance(item, str))
    return shown, [(item.name, item.arguments) for item in found if isinstance(item, ToolCall)]


@pytest.mark.parametrize(
    ("text", "shown", "called"),
    [
        ("Just text.", "Just text.", []),
        (JSON, "", [OSLO]),
        (TAGS, "", [OSLO]),
        (f"Let me look.\n{JSON}\n{TAGS}", "Let me look.\n", [OSLO, OSLO]),
        (JSON.removesuffix("</tool_call>"), "", [OSLO]),
        ('{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}', "", [OSLO]),
        ('```json\n{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}\n```', "", [OSLO]),
        ('{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 2}"}', "", [OSLO]),
        ('{"name": "other", "arguments": {}}', '{"name": "other", "arguments": {}}', []),
        ('{"a": 1}', '{"a": 1}', []),
        (f'{{"a": 1}} {JSON}', '{"a": 1} ', [OSLO]),
        ("<tool_call>nonsense</tool_call>", "<tool_call>nonsense</tool_call>", []),
        ("a < b and <tool", "a < b and <tool", []),
        ('<tool_call>{"name": "other"}</tool_call>', "", [("other", {})]),
        ("<tool_call>", "<tool_call>", []),
        ('<tool_call>{"name": "weather", "arguments": {"city": "</tool_call>"}}</tool_call>', "", [TRICKY]),
        (f"<tool_call>nonsense</tool_call>{JSON}", "<tool_call>nonsense</tool_call>", [OSLO]),
        ('{"name": "weather", "arguments": {}}\n{"name": "weather"}', "", [("weather", {}), ("weather", {})]),
        ("```json\n" + " " * 5000 + "x", "```json\n" + " " * 5000 + "x", []),
        ("<tool_call>" + "[" * 5000 + "</tool_call>", "<tool_call>" + "[" * 5000 + "</tool_call>", []),
        ("", "", []),
    ],
)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_calls_are_found_and_the_rest_is_text_however_it_is_cut(
    text: str, shown: str, called: list[tuple[str, Any]], cuts: list[int]
) -> None:
    assert read(text, cuts) == (shown, called)


@given(text=st.text(alphabet='<tool_call>/{}":, name\n', max_size=80), cuts=st.lists(st.integers(0, 100), max_size=20))
def test_nothing_of_a_text_without_calls_is_lost(text: str, cuts: list[int]) -> None:
    shown, called = read(text, cuts)
    if not called:
        assert shown == text


def test_without_tools_all_is_text_at_once() -> None:
    calls = Calls([])
    assert list(calls.take("{<tool_call>")) == ["{<tool_call>"]
    assert list(calls.rest()) == []
