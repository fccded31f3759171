"""Calls of tools in the text of an answer: found while it is written, and kept out of what is shown.

Models write them between `<tool_call>` and `</tool_call>`, as JSON or with tags (`messages.ToolStyle`). Small ones
leave the tags out at times: an answer that is nothing but the JSON of a call of a known tool is one, too. What looks
like a call and is none stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import Any

import msgspec

from glimp_local.messages import Tool, ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_FENCE = "```"
_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
_decoder = json.JSONDecoder()
_FUNCTION = re.compile(r"\s*<function=([^>\s]+)>(.*?)(?:</function>\s*)?", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


class Calls:
    """Finds calls in a text that comes in pieces. Without tools, all of it is text."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        functions = [tool["function"] for tool in tools]
        self._parameters = {function["name"]: _properties(function) for function in functions}
        self._held = ""
        self._inside = self._may_be_bare = False
        self._shown = False
        self.found: list[ToolCall] = []

    def take(self, text: str) -> Iterator[str | ToolCall]:
        """Yield what can be shown of the text so far, and the calls that are complete."""
        if not self._parameters:
            if text:
                yield text
            return
        self._held += text
        if not (self._shown or self.found or self._inside):
            start = self._held.lstrip()
            self._may_be_bare = start[:1] == "{" or "```json".startswith(start[:7])
            if self._may_be_bare:
                return
        yield from self._cut()

    def _cut(self) -> Iterator[str | ToolCall]:
        while True:
            marker = CLOSE if self._inside else OPEN
            at = self._held.find(marker)
            while self._inside and at >= 0 and _ends_in_a_string(self._held[:at]):
                at = self._held.find(marker, at + 1)
            if at < 0:
                break
            part, self._held = self._held[:at], self._held[at + len(marker) :]
            yield from self._call(part, CLOSE) if self._inside else self._text(part)
            self._inside = not self._inside
        if not self._inside:
            most = min(len(OPEN) - 1, len(self._held))
            kept = next((size for size in range(most, 0, -1) if OPEN.startswith(self._held[-size:])), 0)
            part, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
            yield from self._text(part)

    def rest(self) -> Iterator[str | ToolCall]:
        """Yield what was held back, now that nothing more comes."""
        held, self._held = self._held, ""
        if self._inside:
            yield from self._call(held, "")
        elif self._may_be_bare and (calls := self._bare(held)):
            self.found += calls
            yield from calls
        elif self._may_be_bare:
            self._held, self._may_be_bare = held, False
            yield from self._cut()
            yield from self.rest()
        else:
            yield from self._text(held)

    def _text(self, text: str) -> Iterator[str]:
        if text and not (self.found and text.isspace()):  # what stands between two calls
            self._shown = True
            yield text

    def _call(self, text: str, end: str) -> Iterator[str | ToolCall]:
        call = _from_json(text) or self._from_tags(text)
        if call is None:
            yield from self._text(f"{OPEN}{text}{end}")
        else:
            self.found.append(call)
            yield call

    def _bare(self, text: str) -> list[ToolCall]:
        """Return the calls that a text consists of; none if there is anything else in it."""
        text = text.strip()
        if text.startswith(_FENCE) and text.endswith(_FENCE):
            text = text[len(_FENCE) : -len(_FENCE)].removeprefix("json").strip()
        calls: list[ToolCall] = []
        while text:
            try:
                _, end = _decoder.raw_decode(text)
            except (ValueError, RecursionError):
                return []
            call = _from_json(text[:end])
            if call is None or call.name not in self._parameters:
                return []
            calls.append(call)
            text = text[end:].lstrip()
        return calls

    def _from_tags(self, text: str) -> ToolCall | None:
        function = _FUNCTION.fullmatch(text)
        if function is None:
            return None
        properties = self._parameters.get(function[1], {})
        found = {key: _value(text, properties.get(key)) for key, text in _PARAMETER.findall(function[2])}
        return ToolCall(_new_id(), function[1], found)


def _from_json(text: str) -> ToolCall | None:
    try:
        found = msgspec.json.decode(text)
        if not isinstance(found, dict) or not isinstance(found.get("name"), str):
            return None
        arguments = found.get("arguments", found.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return ToolCall(_new_id(), found["name"], arguments) if isinstance(arguments, dict) else None


def _value(text: str, schema: Any) -> Any:
    """Return an argument written as bare text; what is to be a string stays as it is."""
    kinds = schema.get("type", "string") if isinstance(schema, dict) else "string"
    if "string" in kinds and text != "null":
        return text
    try:
        return text if kinds == "string" else msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _ends_in_a_string(text: str) -> bool:
    """Return whether JSON that begins like this ends within a string."""
    return text.lstrip().startswith("{") and len(_QUOTE.findall(text)) % 2 == 1


def _properties(function: dict[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return properties if isinstance(properties, dict) else {}


def _new_id() -> str:
    return f"call_{token_hex(12)}"
