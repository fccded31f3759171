"""What a client asks for in a chat completion, checked: from the body of a request to messages and settings.

Unknown fields are ignored, and null is as good as leaving a field out. What glimp cannot do is refused in words, and
never ignored if the reply would be another one with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from glimp_local.messages import Constraint, Message, Role, Tool, no_tools
from glimp_local.server.bodies import BodyError, BodyMessage, ChatBody, ContentPart, Format, Options, located
from glimp_local.server.tools import calls_of, constraint_of, tools_of
from glimp_local.server.wire import Ready
from glimp_local.settings import RunSettings

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_EFFORTS: dict[str, float] = {"none": 0.0, "minimal": 0.05, "low": 0.15, "medium": 0.5, "high": 1.0, "xhigh": 1.0}
"""Of the pair's tokens of thought."""
_LEAST_ANSWER = 4
"""The answer gets at least a fourth of `max_tokens`."""
_MOST_STOPS = 16
_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty"),
)


class Wanted(msgspec.Struct, frozen=True):
    """What a request comes to."""

    messages: tuple[Message, ...]
    settings: RunSettings
    seed: int | None
    stops: tuple[str, ...]
    format: Format
    with_usage: bool
    """Does a stream end with the usage?"""
    anyway: bool
    """Is it to be asked even if the pair is not for it?"""
    opening: str = ""
    """What the answer begins with; it is not written again."""
    is_raw: bool = False
    """Is the last message put before the models as it is, without a chat template?"""
    tools: tuple[Tool, ...] = ()
    """Those the model may call."""
    one_call: bool = False
    """Is one call of a tool all that is wanted?"""
    constraint: Constraint | None = None
    """What the answer has to look like."""
    notices: tuple[str, ...] = ()
    """What there is to say of the request."""

    @property
    def must_call(self) -> bool:
        """Is the answer to be a call of a tool, and nothing else?"""
        return self.constraint is not None and bool(self.tools)


def wanted(body: ChatBody, settings: RunSettings, ready: Ready) -> Wanted:
    """Check a request against a pair, and the settings that the model's id stands for; raises BodyError."""
    if body.functions:
        raise BodyError("functions: clients of today send tools instead", param="functions")
    if set(body.modalities or ()) - {"text"}:
        raise BodyError("modalities: glimp writes text", param="modalities")
    messages = _messages(body.messages)
    opening = messages.pop().content if messages[-1].role == "assistant" else ""
    last = messages[-1] if messages else Message("system", "")
    if last.role != "tool" and not (last.role == "user" and last.content.strip()):
        raise BodyError("messages: the last one must be the user's, and not empty, or a tool's", param="messages")
    if ready.system and messages[0].role != "system":
        messages = [Message("system", ready.system), *messages]
    asked = options_of(body, settings, ready, messages=messages, opening=opening)
    tools, alone = tools_of(body), asked.settings.policy
    writers = [served for model, served in ready.models.items() if alone not in ready.models or model == alone]
    unable = [served for served in writers if served.tool_style is None] if tools else []
    notices = tuple(f"tools left out: {no_tools(served.name)}" for served in unable[:1])
    if unable and body.tool_choice not in (None, "auto"):
        raise BodyError(f"tool_choice: {no_tools(unable[0].name)}", param="tool_choice")
    if unable:  # some programs send tools with every question
        tools = ()
    constraint = constraint_of(body, tools, writers)
    if constraint is not None and opening:
        raise BodyError("messages: an answer held to JSON, or to a call, cannot be begun", param="messages")
    one_call = body.parallel_tool_calls is False or (constraint is not None and bool(tools))
    return msgspec.structs.replace(asked, tools=tools, one_call=one_call, constraint=constraint, notices=notices)


def options_of(
    body: Options,
    settings: RunSettings,
    ready: Ready,
    *,
    messages: Sequence[Message],
    opening: str = "",
    is_raw: bool = False,
) -> Wanted:
    """Check what all interfaces have in common; raises BodyError."""
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stops) > _MOST_STOPS:
        raise BodyError(f"stop: at most {_MOST_STOPS} texts", param="stop")
    if body.n not in {None, 1}:
        raise BodyError("n: one reply is written at a time", param="n")
    if body.logit_bias:
        raise BodyError("logit_bias: glimp does not change single tokens", param="logit_bias")
    for name in ("logprobs", "top_logprobs"):
        if getattr(body, name):
            raise BodyError(f"{name}: glimp does not report them", param=name)
    return Wanted(
        messages=tuple(messages),
        settings=_settings(body, settings, thinks=ready.thinks and not is_raw, continues=bool(opening)),
        seed=None if body.seed is None else body.seed % 2**32,
        stops=tuple(stop for stop in stops if stop),
        format=body.reasoning_format or "reasoning_content",
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
        anyway=bool(body.glimp and body.glimp.anyway),
        opening=opening,
        is_raw=is_raw,
    )


def _messages(given: Sequence[BodyMessage]) -> list[Message]:
    if not given:
        raise BodyError("messages: there is none", param="messages")
    messages: list[Message] = []
    for i, message in enumerate(given):
        at = f"messages[{i}]"
        if message.role not in _ROLES:
            raise BodyError(f"{at}.role: glimp reads {', '.join(_ROLES)}, not {message.role!r}", param=f"{at}.role")
        calls = calls_of(message.tool_calls, f"{at}.tool_calls")
        content = _text(message.content, f"{at}.content")
        messages.append(Message(_ROLES[message.role], content, calls, message.tool_call_id))
    return messages


def _text(content: str | list[ContentPart] | None, at: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for i, part in enumerate(content):
        if part.type not in {"text", "input_text", "output_text"} or part.text is None:
            raise BodyError(f"{at}[{i}]: glimp reads text, not {part.type!r}", param=f"{at}[{i}]")
    return "".join(part.text or "" for part in content)


def _settings(body: Options, settings: RunSettings, *, thinks: bool, continues: bool) -> RunSettings:
    changes: dict[str, Any] = {}
    if body.glimp is not None:
        changes = {name: value for name, value in msgspec.structs.asdict(body.glimp).items() if value is not None}
        changes = {name: value for name, value in changes.items() if name not in {"anyway", "wait"}}
        if "policy" not in changes:
            # A threshold or a share alone asks for the policy that goes by it, as the flags do.
            changes |= next(({"policy": name} for name in ("threshold", "share") if name in changes), {})
    sampling = {name: value for name in _SAMPLING if (value := getattr(body, name)) is not None}
    if sampling.get("top_k") == -1:  # vLLM's word for all
        sampling["top_k"] = 0
    if sampling:
        changes["sampling"] = {**msgspec.structs.asdict(settings.sampling), **sampling}
    effort = body.reasoning_effort or ("none" if continues else None)  # an answer that is continued has had its thought
    if effort is not None and "max_thought" not in changes:
        if effort not in _EFFORTS:
            raise BodyError(f"reasoning_effort: one of {', '.join(_EFFORTS)}", param="reasoning_effort")
        changes["max_thought"] = int(_EFFORTS[effort] * settings.max_thought)
    if (most := body.max_completion_tokens or body.max_tokens) is not None:
        thought = changes.get("max_thought", settings.max_thought) if thinks else 0
        answer = max(most - thought, most // _LEAST_ANSWER, 1)
        changes["max_answer"] = min(answer, settings.max_answer)
        changes["max_thought"] = min(thought, most - changes["max_answer"])
    try:
        return msgspec.convert({**msgspec.structs.asdict(settings), **changes}, RunSettings)
    except msgspec.ValidationError as error:
        message, param = located(error)
        raise BodyError(message, param=param) from error
