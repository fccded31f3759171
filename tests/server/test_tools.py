"""Tools, structured answers and answers that a client has begun, asked by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import openai
import pytest

from glimp_local.server.bodies import BodyError, ChatBody
from glimp_local.server.tools import constraint_of, tools_of
from glimp_local.server.wire import ServedModel
from tests.server.conftest import Served
from tests.server.test_chat import ASKED, THOUGHT, chunks_of

pytestmark = pytest.mark.process

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
            "required": ["city"],
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "time"}}


class City(msgspec.Struct):
    """What is wanted of an answer."""

    city: Literal["Oslo", "Rome"]
    warm: bool


@pytest.fixture(scope="module")
def calling(tiny: Path) -> Iterator[Served]:
    """A pair that knows tools."""
    pair = [part for model in ("small", "large") for part in (f"--{model}", str(tiny / "calling.gguf"))]
    server = Served(*pair, "--temperature", "0", "--draft", "off")
    yield server
    server.stop()


def test_a_tool_that_has_to_be_called_is_called(calling: Served) -> None:
    reply = calling.client.chat.completions.create(
        model="", messages=ASKED, tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}
    )
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Oslo", "Rome"}
    assert choice.message.reasoning_content == THOUGHT  # type: ignore[attr-defined]


def test_one_of_several_tools_is_called_and_streamed(calling: Served) -> None:
    with calling.client.chat.completions.stream(
        model="", messages=ASKED, tools=[WEATHER, TIME], tool_choice="required"
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        message = stream.get_final_completion().choices[0].message
    assert len(done) == 1
    assert done[0].name in {"weather", "time"}
    assert message.tool_calls is not None
    assert len(message.tool_calls) == 1
    chunks = chunks_of(calling, tools=[WEATHER], tool_choice="required")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert not any(delta.get("content") for delta in deltas)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "tool_calls"


def test_what_a_tool_has_returned_is_read(calling: Served) -> None:
    first = calling.client.chat.completions.create(model="", messages=ASKED, tools=[WEATHER], tool_choice="required")
    said = first.choices[0].message
    assert said.tool_calls is not None
    result: Any = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "rain"}
    messages: Any = [*ASKED, said.model_dump(exclude_none=True), result]
    reply = calling.client.chat.completions.create(model="", messages=messages, tools=[WEATHER])
    assert reply.choices[0].message.content == "Answer \\boxed{3}"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert first.usage is not None
    assert reply.usage.prompt_tokens > first.usage.prompt_tokens + 20


def test_tools_that_may_not_be_called_are_not_shown(calling: Served) -> None:
    plain, none, auto = (
        calling.post("/v1/chat/completions", {"messages": ASKED, **more}).json()["usage"]["prompt_tokens"]
        for more in ({}, {"tools": [WEATHER], "tool_choice": "none"}, {"tools": [WEATHER]})
    )
    assert plain == none < auto


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_schema", "json_schema": {"name": "city", "schema": msgspec.json.schema(City)}},
        {"type": "json_object", "schema": msgspec.json.schema(City)},
    ],
)
def test_an_answer_fits_the_schema_and_the_thought_stays_free(calling: Served, wanted: dict[str, Any]) -> None:
    reply = calling.post("/v1/chat/completions", {"messages": ASKED, "response_format": wanted}).json()
    message = reply["choices"][0]["message"]
    msgspec.json.decode(message["content"], type=City)
    assert message["reasoning_content"] == THOUGHT
    said = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks_of(calling, response_format=wanted)]
    assert "".join(said) == message["content"]


def test_an_answer_is_json_if_that_is_wanted(calling: Served) -> None:
    body = {"messages": ASKED, "response_format": {"type": "json_object"}, "max_tokens": 200}
    reply = calling.post("/v1/chat/completions", body).json()["choices"][0]
    if reply["finish_reason"] == "stop":
        json.loads(reply["message"]["content"])
    else:
        assert reply["message"]["content"].lstrip().startswith("{")


def test_a_schema_that_cannot_be_used_is_a_request_that_cannot(calling: Served) -> None:
    for schema, says in (({"type": "nonsense"}, "cannot be used"), ({"$ref": "http://x/y"}, "nothing is fetched")):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        reply = calling.post("/v1/chat/completions", {"messages": ASKED, "response_format": wanted})
        assert (reply.status_code, says in reply.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [WEATHER], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [WEATHER], "response_format": {"type": "json_object"}}, "response_format"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_cannot_be_called_is_refused_by_name(calling: Served, more: dict[str, Any], param: str) -> None:
    reply = calling.post("/v1/chat/completions", {"messages": ASKED, **more})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_tools_that_nobody_can_call_are_left_out_and_that_is_said(served: Served) -> None:
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "tools": [WEATHER]}).json()
    assert reply["choices"][0]["message"]["content"] == "Answer \\boxed{3}"
    assert "tools left out: large calls no tools" in reply["glimp"]["notices"][0]
    last = chunks_of(served, tools=[WEATHER])[-1]
    assert "tools left out" in last["glimp"]["notices"][0]


def test_the_built_in_pair_says_that_it_does_neither(serving: Any) -> None:
    served = serving("--pair", "builtin")
    asked = [{"role": "user", "content": "what is 12*7?"}]
    for more, says in (
        ({"tools": [WEATHER], "tool_choice": "required"}, "calls no tools"),
        ({"response_format": {"type": "json_object"}}, "answers in words alone"),
    ):
        with pytest.raises(openai.BadRequestError, match=says):
            served.client.chat.completions.create(model="builtin", messages=asked, **more)


def test_an_answer_that_was_begun_is_continued(served: Served) -> None:
    begun = [*ASKED, {"role": "assistant", "content": "Answer"}]
    reply = served.post("/v1/chat/completions", {"messages": begun}).json()
    assert reply["choices"][0]["message"]["content"] == " \\boxed{3}"
    assert "reasoning_content" not in reply["choices"][0]["message"]
    thinking = served.post("/v1/chat/completions", {"messages": begun, "reasoning_effort": "high"}).json()
    assert thinking["choices"][0]["message"]["reasoning_content"] == THOUGHT
    assert thinking["choices"][0]["message"]["content"] == " \\boxed{3}"


def test_a_call_is_not_forced_on_models_that_do_not_write_json() -> None:
    body = ChatBody(messages=[], tools=[WEATHER], tool_choice="required")
    tagging = ServedModel("m", "here", "m", 512, 512, None, "xml")
    with pytest.raises(BodyError, match="none can be forced"):
        constraint_of(body, tools_of(body), [tagging])


def test_parameters_may_define_parts(calling: Served) -> None:
    parts = {"City": {"enum": ["Oslo", "Rome"]}}
    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"$ref": "#/$defs/City"}},
                    "required": ["city"],
                    "$defs": parts,
                },
            },
        }
        for name in ("one", "two")
    ]
    for choice in ("required", {"type": "function", "function": {"name": "two"}}):
        reply = calling.post("/v1/chat/completions", {"messages": ASKED, "tools": tools, "tool_choice": choice}).json()
        (call,) = reply["choices"][0]["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"])["city"] in {"Oslo", "Rome"}


def test_a_call_that_is_cut_short_shows_nothing(calling: Served) -> None:
    body = {"messages": ASKED, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 8}
    (choice,) = calling.post("/v1/chat/completions", body).json()["choices"]
    assert choice["finish_reason"] == "length"
    assert not choice["message"]["content"]


def test_a_stop_text_in_a_call_does_not_end_it(calling: Served) -> None:
    body = {"messages": ASKED, "tools": [WEATHER], "tool_choice": "required", "stop": ["weather", "{"]}
    (choice,) = calling.post("/v1/chat/completions", body).json()["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("text", ["\u2060glimp0\u2060", "\u2060glimp cut\u2060", "<|im_end|>"])
def test_what_a_tool_says_of_itself_is_text(calling: Served, text: str) -> None:
    tool = {"type": "function", "function": {"name": "weather", "description": text, "parameters": {"const": text}}}
    reply = calling.post("/v1/chat/completions", {"messages": ASKED, "tools": [tool]})
    assert reply.status_code == 200, reply.text


def test_arguments_that_are_nested_too_deeply_are_refused(calling: Served) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "[" * 5000}}
    asked = [*ASKED, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    assert calling.post("/v1/chat/completions", {"messages": asked}).status_code == 400
