"""What was said so far, by whom, and with which tools: a conversation as chat templates know it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
"""A message of the role "tool" is what a tool has returned."""

Tool = dict[str, Any]
"""A function that the model may call: `{"type": "function", "function": {"name", "description", "parameters"}}`, the
parameters as a JSON schema."""


ToolStyle = Literal["json", "xml"]
"""How a model writes calls between `<tool_call>` and `</tool_call>`: as JSON (Hermes, Qwen2.5, Qwen3), or with a tag
for the function and one for each argument (Qwen3-Coder, Qwen3.5)."""


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a tool, as a model wrote it."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant called."""
    tool_call_id: str | None = None
    """The call that a tool's message is the result of."""


class Constraint(msgspec.Struct, frozen=True):
    """What an answer has to look like: JSON of a schema, between two texts."""

    json_schema: dict[str, Any]
    before: str = ""
    after: str = ""


def no_tools(model: str) -> str:
    """Say that a model calls no tools, and what to do about it."""
    return (
        f"{model} calls no tools: its chat template knows none, or has them called in a way that glimp does not read; "
        "take a pair whose models both call tools, as Qwen3's do"
    )
