"""Tools and structured answers in a request: from its fields to what a session takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from glimp_local.messages import Constraint, Tool, ToolCall
from glimp_local.server.bodies import BodyError, ChatBody
from glimp_local.server.calls import CLOSE, OPEN
from glimp_local.server.wire import ServedModel

_NAME_LENGTH = 128


class BodyCallFunction(msgspec.Struct):
    """What is called, and with what."""

    name: str
    arguments: str | dict[str, Any] | None = None


class BodyCall(msgspec.Struct):
    """A call that an earlier reply had."""

    function: BodyCallFunction
    id: str | None = None


def calls_of(given: Any, at: str) -> tuple[ToolCall, ...]:
    """Read the calls of an assistant's message; raises BodyError."""
    try:
        calls = msgspec.convert(given or [], list[BodyCall])
    except msgspec.ValidationError as error:
        raise BodyError(f"{at}: {error}", param=at) from error
    return tuple(
        ToolCall(call.id or "", call.function.name, _arguments(call.function.arguments, f"{at}[{i}]"))
        for i, call in enumerate(calls)
    )


def _arguments(given: str | dict[str, Any] | None, at: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(given or "{}") if not isinstance(given, dict) else given
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BodyError(f"{at}.function.arguments: a JSON object is wanted", param=f"{at}.function.arguments")
    return found


def tools_of(body: ChatBody) -> tuple[Tool, ...]:
    """Return the tools that the model may call; raises BodyError."""
    tools = []
    for i, tool in enumerate(body.tools or ()):
        function, at = tool.get("function"), f"tools[{i}]"
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise BodyError(f"{at}: a function is wanted, as {{'type': 'function', 'function': ...}}", param=at)
        name = function.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_LENGTH:
            raise BodyError(f"{at}.function.name: a name is wanted", param=f"{at}.function.name")
        if not isinstance(function.get("parameters") or {}, dict):
            raise BodyError(f"{at}.function.parameters: a JSON schema is wanted", param=f"{at}.function.parameters")
        tools.append({"type": "function", "function": function})
    return () if body.tool_choice == "none" else tuple(tools)


def constraint_of(body: ChatBody, tools: Sequence[Tool], models: Sequence[ServedModel]) -> Constraint | None:
    """Return what the answer has to look like; None if it is free. Raises BodyError."""
    wanted = body.response_format or {}
    schema: Any = None
    match wanted.get("type", "text"):
        case "text":
            pass
        case "json_object":
            schema = wanted.get("schema") or {"type": "object"}
        case "json_schema":
            given = wanted.get("json_schema")
            schema = given.get("schema") if isinstance(given, dict) else None
            if schema is None:
                raise BodyError("response_format: json_schema.schema is missing", param="response_format")
        case kind:
            raise BodyError(
                f"response_format: glimp writes text, json_object or json_schema, not {str(kind)[:50]!r}",
                param="response_format",
            )
    if schema is not None and not isinstance(schema, dict):
        raise BodyError("response_format: the schema is no JSON object", param="response_format")
    if schema is not None and tools:
        raise BodyError(
            "response_format: an answer is either free to call tools or JSON; leave one out", param="response_format"
        )
    forced = _forced(body, tools)
    if not forced:
        return None if schema is None else Constraint(schema)
    if any(model.tool_style != "json" for model in models):
        raise BodyError(
            "tool_choice: these models do not write calls as JSON, so that none can be forced; leave it at 'auto'",
            param="tool_choice",
        )
    definitions: dict[str, Any] = {}
    calls = [_call_schema(tool["function"], f"{i}-", definitions) for i, tool in enumerate(forced)]
    schema = {"anyOf": calls, "$defs": definitions}
    return Constraint(schema, before=f"{OPEN}\n", after=f"\n{CLOSE}")


def _forced(body: ChatBody, tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools of which one has to be called; none if the model may choose."""
    choice = body.tool_choice
    match choice:
        case None | "auto" | "none":
            return []
        case "required":
            found = list(tools)
        case {"function": {"name": name}} | {"name": name}:
            found = [tool for tool in tools if tool["function"]["name"] == name]
        case _:
            raise BodyError("tool_choice: 'auto', 'none', 'required' or a function", param="tool_choice")
    if not found:
        raise BodyError("tool_choice: there is no such tool", param="tool_choice")
    return found


def _call_schema(function: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a call; what its parameters define goes to `definitions`, under a prefix."""
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    for kind in ("$defs", "definitions"):
        if isinstance(found := parameters.get(kind), dict):
            definitions |= {f"{prefix}{name}": _prefixed(part, prefix) for name, part in found.items()}
    parameters = _prefixed({k: v for k, v in parameters.items() if k not in {"$defs", "definitions"}}, prefix)
    properties = {"name": {"const": function["name"]}, "arguments": parameters}
    return {"type": "object", "properties": properties, "required": ["name", "arguments"]}


def _prefixed(value: Any, prefix: str) -> Any:
    """Return a schema whose references lead to definitions under a prefix."""
    if isinstance(value, list):
        return [_prefixed(item, prefix) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _prefixed(item, prefix) for key, item in value.items()}
    if isinstance(reference := found.get("$ref"), str):
        for kind in ("#/$defs/", "#/definitions/"):
            if reference.startswith(kind):
                found["$ref"] = f"#/$defs/{prefix}{reference.removeprefix(kind)}"
    return found
