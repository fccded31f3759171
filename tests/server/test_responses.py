"""Responses and completions, asked by OpenAI's own client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.server.conftest import Served
from tests.server.test_chat import THOUGHT
from tests.server.test_tools import WEATHER, calling

pytestmark = pytest.mark.process
__all__ = ["calling"]

QUESTION = "How many steps are there?"


def test_a_response_has_the_thought_and_the_answer(served: Served) -> None:
    reply = served.client.responses.create(model="small + large", input=QUESTION, instructions="Be brief.")
    thought, message = reply.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert thought.content[0].text == THOUGHT
    assert message.type == "message"
    assert reply.output_text == "Answer \\boxed{3}"
    assert (reply.status, reply.instructions, reply.error) == ("completed", "Be brief.", None)
    assert reply.usage is not None
    assert reply.usage.output_tokens_details.reasoning_tokens == 7
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    assert reply.glimp["stats"]["steps_large"] == 1  # type: ignore[attr-defined]


def test_a_response_is_streamed_as_openai_s_helper_wants_it(served: Served) -> None:
    kinds: list[str] = []
    thought = said = ""
    with served.client.responses.stream(model="small + large", input=QUESTION) as stream:
        for event in stream:
            if not kinds or kinds[-1] != event.type:
                kinds.append(event.type)
            if event.type == "response.reasoning_text.delta":
                thought += event.delta
            elif event.type == "response.output_text.delta":
                said += event.delta
        final = stream.get_final_response()
    assert (thought, said) == (THOUGHT, "Answer \\boxed{3}")
    assert final.output_text == said
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-2:] == ["response.output_item.done", "response.completed"]
    assert "response.glimp.step" in kinds


def test_the_numbers_of_events_have_no_gap(served: Served) -> None:
    with served.client.responses.create(model="small + large", input=QUESTION, stream=True) as stream:
        numbers = [event.sequence_number for event in stream]
    assert numbers == list(range(len(numbers)))


def test_a_conversation_goes_on_with_the_items_of_the_response(calling: Served) -> None:
    tools: Any = [{"type": "function", **WEATHER["function"]}]
    first = calling.client.responses.create(model="", input=QUESTION, tools=tools, tool_choice="required")
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "weather"
    asked: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    second = calling.client.responses.create(model="", input=asked, tools=tools)
    assert second.output_text == "Answer \\boxed{3}"
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_call_is_streamed(calling: Served) -> None:
    tools: Any = [{"type": "function", **WEATHER["function"]}]
    with calling.client.responses.stream(model="", input=QUESTION, tools=tools, tool_choice="required") as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
        (call,) = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert [event.arguments for event in done] == [call.arguments]


def test_a_response_fits_a_schema(calling: Served) -> None:
    schema: Any = {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "name": "city", "schema": schema}}
    reply = calling.client.responses.create(model="", input=QUESTION, text=form)
    assert "city" in reply.output_text


def test_a_response_that_is_cut_says_so(served: Served) -> None:
    reply = served.client.responses.create(
        model="small + large", input=QUESTION, max_output_tokens=1, reasoning={"effort": "none"}
    )
    assert reply.status == "incomplete"
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": QUESTION, "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": QUESTION, "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "messages[0].content[0]",
        ),
        ({"input": [{"role": 3, "content": "x"}]}, "input[0]"),
        ({"input": 3}, "input"),
        ({}, "input"),
        ({"input": QUESTION, "max_output_tokens": 0}, "max_output_tokens"),
        (
            {"instructions": "x", "input": [{"type": "function_call", "name": "f", "arguments": "["}]},
            "input[0][0].function.arguments",
        ),
    ],
)
def test_what_cannot_be_responded_to_is_refused(served: Served, body: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        reply = served.post("/v1/responses", {**body, "stream": stream})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def test_a_text_is_continued_as_it_is(served: Served) -> None:
    reply = served.client.completions.create(model="small + large", prompt="First")
    assert reply.choices[0].text.startswith(" one.\n\nSecond two:\n\n")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 1
    echoed = served.client.completions.create(model="small + large", prompt=["First"], echo=True, max_tokens=2)
    assert echoed.choices[0].text == "First one.\n\nSecond"
    assert echoed.choices[0].finish_reason == "length"


def test_a_continued_text_is_streamed(served: Served) -> None:
    with served.client.completions.create(
        model="small + large", prompt="First", max_tokens=2, stream=True, echo=True
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "First one.\n\nSecond"
    assert chunks[-1].choices[0].finish_reason == "length"


def test_a_text_that_cannot_be_continued_is_refused(served: Served) -> None:
    for more, param in (
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
    ):
        reply = served.post("/v1/completions", more)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    with pytest.raises(openai.BadRequestError, match="more than the context"):
        served.client.completions.create(model="small + large", prompt="long " * 2000)
