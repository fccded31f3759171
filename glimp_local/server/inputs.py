"""The body of a request for a response, read as that of a chat completion."""

from __future__ import annotations

from typing import Any

import msgspec

from glimp_local.server.bodies import BodyError, BodyMessage, ChatBody, Options, read_value
from glimp_local.server.tools import calls_of
from glimp_local.settings import Positive


class Reasoning(msgspec.Struct):
    """How much thought there may be."""

    effort: str | None = None


class ResponseBody(Options):
    """The body of a request for a response. What only a server that keeps conversations could do is refused."""

    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    reasoning: Reasoning | None = None
    text: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    truncation: str | None = None


def as_chat(body: ResponseBody) -> ChatBody:
    """Return the request as one for a chat completion; raises BodyError."""
    for name in ("previous_response_id", "conversation", "background"):
        if getattr(body, name):
            raise BodyError(f"{name}: glimp keeps no responses; send the conversation as input", param=name)
    fields = {name: getattr(body, name) for name in Options.__struct_fields__}
    if body.max_output_tokens is not None:
        fields["max_completion_tokens"] = body.max_output_tokens
    if body.reasoning is not None and body.reasoning.effort is not None:
        fields["reasoning_effort"] = body.reasoning.effort
    form = (body.text or {}).get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    elif isinstance(form, dict):
        fields["response_format"] = form
    fields["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(body.tools or ())]
    fields |= {"tool_choice": body.tool_choice, "parallel_tool_calls": body.parallel_tool_calls}
    return read_value({**fields, "messages": _messages(body)}, ChatBody)


def _tool(tool: dict[str, Any], at: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise BodyError(f"{at}: glimp runs no tools of its own, and knows functions alone", param=at)
    if isinstance(tool.get("function"), dict):
        return tool
    function = {name: tool[name] for name in ("name", "description", "parameters") if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _messages(body: ResponseBody) -> list[BodyMessage]:
    messages: list[tuple[str, dict[str, Any]]] = []  # with where they stand in the request
    if body.instructions:
        messages.append(("instructions", {"role": "system", "content": body.instructions}))
    if isinstance(body.input, str):
        messages.append(("input", {"role": "user", "content": body.input}))
    for i, item in enumerate(body.input if isinstance(body.input, list) else ()):
        at = f"input[{i}]"
        match item.get("type", "message"):
            case "message":
                messages.append((at, {"role": item.get("role"), "content": item.get("content")}))
            case "function_call":
                call = {"name": item.get("name"), "arguments": item.get("arguments")}
                calls_of([{"function": call}], at)  # wrong ones are named as they stand here
                _last_caller(messages, at)["tool_calls"].append({"id": item.get("call_id"), "function": call})
            case "function_call_output":
                output = {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
                messages.append((at, output))
            case "reasoning":
                pass  # earlier thoughts are not read again
            case kind:
                raise BodyError(f"{at}.type: glimp does not read {str(kind)[:50]!r}", param=f"{at}.type")
    if not messages:
        raise BodyError("input: there is none", param="input")
    return [read_value(message, BodyMessage, at=at) for at, message in messages]


def _last_caller(messages: list[tuple[str, dict[str, Any]]], at: str) -> dict[str, Any]:
    """Return the assistant's message at the end, which calls made one after another belong to."""
    if not messages or messages[-1][1]["role"] != "assistant":
        messages.append((at, {"role": "assistant", "content": ""}))
    message = messages[-1][1]
    message.setdefault("tool_calls", [])
    return message
