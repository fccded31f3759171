"""Chat completions, asked by OpenAI's own client and by hand."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.process

ASKED: list[Any] = [{"role": "user", "content": "How many steps are there?"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
THOUGHT = "First one.\n\nSecond two:\n\nThird three.\n\n"


def chunks_of(served: Served, **body: Any) -> list[dict[str, Any]]:
    """Ask for a stream and return its chunks."""
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "stream": True, **body})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in reply.text.split("\n\n") if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_a_question_is_answered(served: Served) -> None:
    reply = served.client.chat.completions.create(model="small + large", messages=ASKED)
    (choice,) = reply.choices
    assert choice.message.content == "Answer \\boxed{3}"
    assert choice.message.reasoning_content == THOUGHT  # type: ignore[attr-defined]
    assert choice.finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.completion_tokens_details is not None
    assert reply.usage.completion_tokens_details.reasoning_tokens == 7
    assert reply.usage.prompt_tokens_details is not None
    glimp = reply.glimp  # type: ignore[attr-defined]
    assert (glimp["stats"]["steps"], glimp["stats"]["steps_large"]) == (4, 1)
    assert reply.timings["share_steps"] == 1 / 4  # type: ignore[attr-defined]


def test_the_prompt_of_the_next_question_is_read_from_where_it_differs(served: Served) -> None:
    first = served.client.chat.completions.create(model="small + large", messages=ASKED)
    answer: Any = {"role": "assistant", "content": first.choices[0].message.content}
    again = served.client.chat.completions.create(
        model="small + large", messages=[*ASKED, answer, {"role": "user", "content": "Sure?"}]
    )
    assert first.usage is not None
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert (again.usage.prompt_tokens_details.cached_tokens or 0) >= first.usage.prompt_tokens - 8


def test_a_stream_says_who_writes_each_step_and_why(served: Served) -> None:
    chunks = chunks_of(served, stream_options={"include_usage": True})
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == THOUGHT
    assert "".join(delta.get("content", "") for delta in deltas) == "Answer \\boxed{3}"
    steps = [chunk["glimp"] for chunk in chunks if "step" in chunk.get("glimp", {})]
    assert [(step["part"], step["model"], step["reason"]) for step in steps] == [
        ("thought", "small", "confident"),
        ("thought", "small", "confident"),
        ("thought", "large", "uncertain"),
        ("thought", "small", "confident"),
        ("answer", "large", "answer"),
    ]
    assert steps[2]["entropy_nats"] > steps[2]["threshold_nats"] == 1.0
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "stop"
    assert chunks[-2]["glimp"]["stats"]["steps_large"] == 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert not any(chunk.get("usage") for chunk in chunks_of(served)), "usage was not asked for"


def test_openai_s_client_reads_a_stream(served: Served) -> None:
    with served.client.chat.completions.stream(model="small + large", messages=ASKED) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        whole = stream.get_final_completion()
    assert said == whole.choices[0].message.content == "Answer \\boxed{3}"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("reasoning", {"reasoning": THOUGHT, "content": "Answer \\boxed{3}"}),
        ("both", {"reasoning": THOUGHT, "reasoning_content": THOUGHT, "content": "Answer \\boxed{3}"}),
        ("think", {"content": f"<think>\n{THOUGHT}\n</think>\n\nAnswer \\boxed{{3}}"}),
        ("hidden", {"content": "Answer \\boxed{3}"}),
    ],
)
def test_the_thought_is_where_the_client_wants_it(served: Served, wanted: str, message: dict[str, str]) -> None:
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "reasoning_format": wanted}).json()
    assert reply["choices"][0]["message"] == {
        "role": "assistant",
        "refusal": None,
        "annotations": [],
        **message,
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(served, reasoning_format=wanted)]
    for key, value in message.items():
        assert "".join(delta.get(key, "") for delta in deltas) == value


@pytest.mark.parametrize(
    ("model", "writers"),
    [
        ("small + large", {"small", "large"}),
        ("small + large:small", {"small"}),
        ("small + large:large", {"large"}),
        ("small + large:threshold=0", {"large"}),
        ("small + large:latest", {"small", "large"}),
    ],
)
def test_the_id_of_the_model_says_who_writes(served: Served, model: str, writers: set[str]) -> None:
    chunks = chunks_of(served, model=model)
    assert {chunk["model"] for chunk in chunks} == {model}
    assert {chunk["glimp"]["model"] for chunk in chunks if "step" in chunk.get("glimp", {})} == writers


def test_a_request_changes_settings_for_itself_alone(served: Served) -> None:
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "glimp": {"threshold": 0.0}})
    assert reply.headers["x-glimp-policy"] == "threshold"
    assert reply.json()["glimp"]["stats"]["steps_large"] == 4
    assert served.post("/v1/chat/completions", {"messages": ASKED}).json()["glimp"]["stats"]["steps_large"] == 1


def test_effort_none_is_no_thought(served: Served) -> None:
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "reasoning_effort": "none"}).json()
    assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
    assert "reasoning_content" not in reply["choices"][0]["message"]


def test_a_limit_of_tokens_leaves_some_for_the_answer(served: Served) -> None:
    reply = served.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 8}).json()
    assert reply["usage"]["completion_tokens"] <= 8
    assert reply["choices"][0]["message"]["content"].startswith("Answer")


def test_a_stop_text_ends_the_answer_and_is_not_shown(served: Served) -> None:
    body = {"messages": ASKED, "stop": ["boxed"]}
    reply = served.post("/v1/chat/completions", body).json()
    assert reply["choices"][0]["message"]["content"] == "Answer \\"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] > reply["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    said = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks_of(served, stop="boxed")]
    assert "".join(said) == "Answer \\"
    assert served.post("/v1/chat/completions", {"messages": ASKED}).json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "status", "param", "says"),
    [
        ({"messages": []}, 400, "messages", "there is none"),
        ({}, 400, None, "missing required field `messages`"),
        ({"messages": ASKED, "temperature": "hot"}, 400, "temperature", "Expected `float | null`, got `str`"),
        ({"messages": ASKED, "temperature": -1}, 400, "temperature", "Expected `float` >= 0"),
        ({"messages": ASKED, "glimp": {"treshold": 1}}, 400, "glimp", "unknown field `treshold`"),
        ({"messages": ASKED, "model": "gpt-5"}, 404, "model", "there is no model 'gpt-5' here"),
        ({"messages": ASKED, "tools": [{"type": "function"}]}, 400, "tools[0]", "a function is wanted"),
        ({"messages": ASKED, "tools": TOOLS, "tool_choice": "required"}, 400, "tool_choice", "large calls no tools"),
        ({"messages": ASKED, "functions": [{"name": "f"}]}, 400, "functions", "send tools instead"),
        ({"messages": ASKED, "response_format": {"type": "xml"}}, 400, "response_format", "not 'xml'"),
        ({"messages": ASKED, "model": "small + large:threshold=inf"}, 404, "model", "there is no model"),
        ({"messages": ASKED, "n": 2}, 400, "n", "one reply"),
        ({"messages": ASKED, "logit_bias": {"7": 1}}, 400, "logit_bias", "single tokens"),
        ({"messages": [{"role": "critic", "content": "?"}]}, 400, "messages[0].role", "'critic'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages[0].content[0]",
            "reads text, not 'image_url'",
        ),
        ({"messages": [{"role": "user", "content": "long " * 2000}]}, 400, None, "more than the context"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    served: Served, body: dict[str, Any], status: int, param: str | None, says: str
) -> None:
    for stream in (False, True):
        reply = served.post("/v1/chat/completions", {**body, "stream": stream})
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (status, param), error
        assert says in error["message"]
    assert served.post("/v1/chat/completions", {"messages": ASKED}).status_code == 200


def test_unknown_fields_and_null_are_as_good_as_nothing(served: Served) -> None:
    body = {"messages": [{**ASKED[0], "name": "x"}], "user": "me", "store": True, "temperature": None, "stop": None}
    assert served.post("/v1/chat/completions", body).status_code == 200
    assert served.post("/v1/chat/completions", {**body, "logit_bias": {}, "tools": [], "n": 1}).status_code == 200


def test_parts_of_text_and_a_developer_s_message_are_read(served: Served) -> None:
    parts = [{"type": "text", "text": "How many "}, {"type": "text", "text": "steps?"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many steps?"}]
    counts = [served.post("/v1/chat/completions", {"messages": each}).json()["usage"] for each in (messages, plain)]
    assert counts[0]["prompt_tokens"] == counts[1]["prompt_tokens"]


def test_what_the_built_in_pair_is_not_for_is_declined(serving: Serve) -> None:
    served = serving("--pair", "builtin")
    asked = [{"role": "user", "content": "Who was the first president of France?"}]
    reply = served.post("/v1/chat/completions", {"messages": asked})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "declined")
    assert "counting stories" in reply.json()["error"]["message"]
    anyway = {"messages": asked, "glimp": {"anyway": True}, "max_tokens": 20}
    assert served.post("/v1/chat/completions", anyway).status_code == 200
    sums = served.client.chat.completions.create(
        model="builtin", messages=[{"role": "user", "content": "what is 12*7?"}]
    )
    assert "84" in (sums.choices[0].message.content or "")
    with pytest.raises(openai.BadRequestError, match="is not for the pair"):
        served.client.chat.completions.create(model="builtin", messages=asked)  # type: ignore[arg-type]
