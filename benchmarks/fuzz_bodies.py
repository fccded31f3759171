"""Bodies for chat completions, most of them wrong: from a description of OpenAI's fields, by number.

The same number gives the same request every time. A body is drawn from what the fields may hold, then parts of it are
replaced by what they may not; some are damaged as text, and some come with headers that no client sends.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

from benchmarks.raw_http import post

Draw = Callable[[random.Random], Any]
"""Draws a value."""

_TEXTS = (
    *("", " ", "hi", "what is 12*7?", "what is 3+4?", "\n\n", "</think>", "<|im_end|><|im_start|>assistant\n"),
    *(
        "\0",
        "\u202e",
        "\ud800",
        "\U0001f600" * 9,
        "{{ 7 * 7 }}{% raw %}",
        "long " * 3000,
        "builtin",
        "../../etc/passwd",
    ),
)
_NUMBERS = (0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 3.0)
_ODD: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": ""}, math.nan, math.inf, -math.inf, *_NUMBERS, *_TEXTS)
"""What a field is replaced by."""


def _one(*values: Any) -> Draw:
    return lambda draw: draw.choice(values)


def _number(least: float, most: float) -> Draw:
    return lambda draw: draw.uniform(least, most)


def _list(of: Draw, most: int) -> Draw:
    return lambda draw: [of(draw) for _ in range(draw.randint(0, most))]


def _object(fields: dict[str, Draw], *, always: tuple[str, ...] = ()) -> Draw:
    def drawn(draw: random.Random) -> dict[str, Any]:
        return {name: of(draw) for name, of in fields.items() if name in always or draw.random() < 1 / 2}

    return drawn


def _either(*draws: Draw) -> Draw:
    return lambda draw: draw.choice(draws)(draw)


_TEXT = _one(*_TEXTS)
_PARTS = _list(
    _either(
        _object({"type": _one("text"), "text": _TEXT}, always=("type", "text")),
        _object({"type": _one("image_url"), "image_url": _one({"url": "data:,"})}, always=("type", "image_url")),
        _object({"type": _one("input_audio", "file", "refusal"), "input_audio": _one({"data": "", "format": "wav"})}),
    ),
    3,
)
_CALL = _object(
    {"id": _TEXT, "type": _one("function"), "function": _one({"name": "f", "arguments": "{}"})}, always=("type",)
)
_MESSAGE = _object(
    {
        "role": _one("system", "developer", "user", "assistant", "tool", "function"),
        "content": _either(_TEXT, _PARTS, _one(None)),
        "name": _TEXT,
        "refusal": _one(None, ""),
        "tool_calls": _list(_CALL, 2),
        "tool_call_id": _TEXT,
        "reasoning_content": _TEXT,
    },
    always=("role", "content"),
)
_PLAIN_MESSAGE = _object({"role": _one("system", "user", "assistant"), "content": _TEXT}, always=("role", "content"))
_QUESTION: Draw = lambda draw: {"role": "user", "content": f"what is {draw.randint(2, 30)}*{draw.randint(2, 12)}?"}  # noqa: E731 - a draw like the others
_SCHEMA = _one({"type": "object", "properties": {"a": {"type": "string"}}}, {}, {"type": "nothing"}, True)
_TOOL = _object({"type": _one("function", "custom"), "function": _object({"name": _TEXT, "parameters": _SCHEMA})})
_OFTEN_REFUSED = {
    *("model", "n", "tools", "functions", "response_format", "logprobs", "logit_bias", "modalities", "glimp"),
    *("reasoning_format", "stop", "repeat_penalty"),
}
_FIELDS: dict[str, Draw] = {
    "model": _one("builtin", "builtin:small", "builtin:large", "builtin:share=0.2", "builtin:share=x", "gpt-5", ""),
    "stream": _one(True, False, None),
    "stream_options": _object({"include_usage": _one(True, False), "include_obfuscation": _one(True)}),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "top_k": _one(-1, 0, 1, 40),
    "min_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "repeat_penalty": _number(0.5, 2),
    "seed": _one(0, 1, -1, 2**63 - 1, -(2**63)),
    "stop": _either(_TEXT, _list(_TEXT, 5)),
    "max_tokens": _one(1, 2, 16),
    "max_completion_tokens": _one(1, 2, 16),
    "n": _one(1, 1, 2),
    "reasoning_effort": _one("none", "minimal", "low", "medium", "high", "xhigh"),
    "reasoning_format": _one("reasoning_content", "reasoning", "both", "think", "hidden", "other"),
    "response_format": _either(
        _one({"type": "text"}, {"type": "json_object"}),
        _object({"type": _one("json_schema"), "json_schema": _object({"name": _TEXT, "schema": _SCHEMA})}),
    ),
    "tools": _list(_TOOL, 2),
    "tool_choice": _one("none", "auto", "required", {"type": "function", "function": {"name": "f"}}),
    "parallel_tool_calls": _one(True, False),
    "functions": _list(_object({"name": _TEXT, "parameters": _SCHEMA}), 2),
    "function_call": _one("none", "auto", {"name": "f"}),
    "logprobs": _one(True, False),
    "top_logprobs": _one(0, 5, 20, 21),
    "logit_bias": _one({}, {"1": 1}, {"1": -100}, {"x": 0.5}),
    "modalities": _one(["text"], ["text", "audio"], []),
    "audio": _one({"voice": "alloy", "format": "mp3"}),
    "prediction": _one({"type": "content", "content": "84"}),
    "service_tier": _one("auto", "default", "flex"),
    "store": _one(True, False),
    "metadata": _one({}, {"a": "b"}),
    "user": _TEXT,
    "safety_identifier": _TEXT,
    "prompt_cache_key": _TEXT,
    "verbosity": _one("low", "medium", "high"),
    "web_search_options": _one({}),
    "chat_template_kwargs": _one({"enable_thinking": False}),
    "continue_final_message": _one(True, False),
    "add_generation_prompt": _one(True, False),
    "glimp": _object(
        {
            "policy": _one("large", "small", "threshold", "share", "other"),
            "threshold": _one(0, 1.0, 99),
            "share": _one(0, 0.2, 1),
            "answer_by": _one("large", "small", "route"),
            "max_thought": _one(0, 1, 16),
            "anyway": _one(True, False),
            "unknown": _one(1),
        }
    ),
    "unknown_field": _TEXT,
}
_SIMPLE = [name for name in _FIELDS if name not in _OFTEN_REFUSED]
_HEADERS: tuple[dict[str, str], ...] = (
    {"content_type": "text/plain"},
    {"content_type": "application/json; charset=utf-16"},
    {"content_type": "multipart/form-data; boundary="},
    {"content_encoding": "gzip"},
    {"accept": "text/html;q=x"},
    {"accept_encoding": "\xff, gzip;q=1e9"},
    {"authorization": "Bearer " + "k" * 5000},
    {"authorization": "\xe9\xff"},
    {"x_api_key": ""},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"user_agent": "\t'\"<script>"},
    {"x_request_id": "a" * 20000},
    {"x_forwarded_for": "::1, evil"},
    {"cookie": "=;=;;"},
    {"range": "bytes=0-0"},
    {"te": "trailers"},
    {"expect": "100-continue"},
    {"upgrade": "h2c", "connection": "Upgrade, HTTP2-Settings, close"},
)
_MOST_CHANGES = 3
_MOST_REPEATED = 300_000
"""Characters."""
_DEEP = 100_000


def request(number: int) -> bytes:
    """Give the request with this number."""
    draw = random.Random(number)
    messages = [*_list(draw.choice((_MESSAGE, _PLAIN_MESSAGE)), 3)(draw), _QUESTION(draw)]
    known = draw.choice((list(_FIELDS), _SIMPLE))
    names = draw.sample(known, draw.choice((0, 1, 2, 3, 6, 12)))
    body = {"messages": messages, "max_tokens": 8} | {name: _FIELDS[name](draw) for name in names}
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, _MOST_CHANGES))):
        body = _changed(body, draw)
    text = json.dumps(body, ensure_ascii=draw.random() < 1 / 2).encode("utf-8", "surrogatepass")
    if draw.random() < 1 / 8:
        text = draw.choice(_DAMAGES)(text, draw)
    headers = draw.choice(_HEADERS) if draw.random() < 1 / 8 else {}
    return post("/v1/chat/completions", text, **headers)


def _changed(value: Any, draw: random.Random) -> Any:
    """Replace, remove or repeat a part somewhere in a value."""
    if draw.random() < 1 / 4 or not value or not isinstance(value, dict | list):
        if draw.random() < 1 / 10:
            return [value] * min(draw.choice((2, 40, 4000)), 1 + _MOST_REPEATED // len(repr(value)))
        return draw.choice(_ODD)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        return [*value[:at], _changed(value[at], draw), *value[at + 1 :]]
    name = draw.choice(list(value))
    if draw.random() < 1 / 8:
        return {key: part for key, part in value.items() if key != name} | {draw.choice(_TEXTS): value[name]}
    return {**value, name: _changed(value[name], draw)}


def _cut(text: bytes, draw: random.Random) -> tuple[bytes, bytes]:
    at = draw.randrange(len(text) + 1)
    return text[:at], text[at:]


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda text, draw: _cut(text, draw)[0],
    lambda text, draw: draw.randbytes(draw.randint(1, 8)).join(_cut(text, draw)),
    lambda text, draw: (b"[" * _DEEP).join(_cut(text, draw)),
    lambda _text, _draw: b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    lambda text, _draw: b"\xef\xbb\xbf" + text,
    lambda text, _draw: text + text,
    lambda text, _draw: text.decode("utf-8", "replace").encode("utf-16"),
    lambda _text, _draw: b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": ' + b"9" * _DEEP + b"}",
)
"""Ways to damage a body as text."""
