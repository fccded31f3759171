"""What a client asks for in a chat completion, checked: from the body of a request to messages and settings.

Unknown fields are ignored, and null is as good as leaving a field out. What glimp cannot do is refused in words, and
never ignored if the reply would be another one with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from glimp_local.errors import GlimpError
from glimp_local.messages import Message, Role
from glimp_local.routing import PolicyName
from glimp_local.settings import Fraction, Nats, Natural, Positive, RunSettings

Format = Literal["reasoning_content", "reasoning", "both", "think", "hidden"]
"""Where a reply has the thought."""

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_EFFORTS: dict[str, float] = {"none": 0.0, "minimal": 0.05, "low": 0.15, "medium": 0.5, "high": 1.0, "xhigh": 1.0}
"""Of the pair's tokens of thought."""
_LEAST_ANSWER = 4
"""The answer gets at least a fourth of `max_tokens`."""
_MOST_STOPS = 16
_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty"),
)


class BodyError(GlimpError):
    """A request that cannot be answered: `param` names the field."""

    exit_code = 2

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContentPart(msgspec.Struct):
    """A part of a message."""

    type: str
    text: str | None = None


class BodyMessage(msgspec.Struct):
    """One message. Thoughts that a client sends back are not read again."""

    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(msgspec.Struct):
    """What a stream has besides the text."""

    include_usage: bool | None = None


class GlimpFields(msgspec.Struct, forbid_unknown_fields=True):
    """Settings that only glimp has, for one request."""

    policy: PolicyName | None = None
    threshold: Nats | None = None
    share: Fraction | None = None
    answer_by: Literal["large", "small", "route"] | None = None
    max_thought: Natural | None = None
    anyway: bool | None = None
    """Ask what a pair made for one kind of question would decline."""


class ChatBody(msgspec.Struct):
    """The body of a chat completion."""

    messages: list[BodyMessage]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: int | None = None
    reasoning_effort: str | None = None
    reasoning_format: Format | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    glimp: GlimpFields | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What a request comes to."""

    messages: tuple[Message, ...]
    settings: RunSettings
    seed: int | None
    stops: tuple[str, ...]
    format: Format
    streams: bool
    with_usage: bool
    """Does a stream end with the usage?"""
    anyway: bool
    """Is it to be asked even if the pair is not for it?"""


_bodies = msgspec.json.Decoder(ChatBody)


def read_chat(body: bytes) -> ChatBody:
    """Read the body of a chat completion; raises BodyError."""
    try:
        return _bodies.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".") or None
        raise BodyError(f"{param}: {message}" if param else message, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(f"the body is no JSON: {error}") from error


def wanted(body: ChatBody, settings: RunSettings, *, thinks: bool, system: str) -> Wanted:
    """Check a request against the settings of its pair; raises BodyError.

    `system` is the message for conversations that bring none.
    """
    _refuse(body)
    messages = _messages(body.messages)
    if system and messages[0].role != "system":
        messages = [Message("system", system), *messages]
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stops) > _MOST_STOPS:
        raise BodyError(f"stop: at most {_MOST_STOPS} texts", param="stop")
    return Wanted(
        messages=tuple(messages),
        settings=_settings(body, settings, thinks=thinks),
        seed=None if body.seed is None else body.seed % 2**32,
        stops=tuple(stop for stop in stops if stop),
        format=body.reasoning_format or "reasoning_content",
        streams=bool(body.stream),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
        anyway=bool(body.glimp and body.glimp.anyway),
    )


def _refuse(body: ChatBody) -> None:
    """Refuse what would change the reply and cannot be done."""
    if body.n not in {None, 1}:
        raise BodyError("n: one reply is written at a time", param="n")
    for name in ("tools", "functions"):
        if getattr(body, name):
            raise BodyError(f"{name}: glimp calls no tools yet", param=name)
    kind = (body.response_format or {}).get("type", "text")
    if kind != "text":
        raise BodyError(f"response_format: glimp writes text, not {kind!r}, yet", param="response_format")
    if body.logit_bias:
        raise BodyError("logit_bias: glimp does not change single tokens", param="logit_bias")
    if set(body.modalities or ()) - {"text"}:
        raise BodyError("modalities: glimp writes text", param="modalities")
    if body.logprobs:
        raise BodyError("logprobs: glimp does not report them", param="logprobs")


def _messages(given: Sequence[BodyMessage]) -> list[Message]:
    if not given:
        raise BodyError("messages: there is none", param="messages")
    messages: list[Message] = []
    for i, message in enumerate(given):
        at = f"messages[{i}]"
        if message.role not in _ROLES:
            raise BodyError(f"{at}.role: glimp reads {', '.join(_ROLES)}, not {message.role!r}", param=f"{at}.role")
        if message.tool_calls:
            raise BodyError(f"{at}.tool_calls: glimp calls no tools yet", param=f"{at}.tool_calls")
        messages.append(Message(_ROLES[message.role], _text(message.content, f"{at}.content")))
    if messages[-1].role != "user" or not messages[-1].content.strip():
        raise BodyError("messages: the last one must be the user's, and not empty", param="messages")
    return messages


def _text(content: str | list[ContentPart] | None, at: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for i, part in enumerate(content):
        if part.type not in {"text", "input_text", "output_text"} or part.text is None:
            raise BodyError(f"{at}[{i}]: glimp reads text, not {part.type!r}", param=f"{at}[{i}]")
    return "".join(part.text or "" for part in content)


def _settings(body: ChatBody, settings: RunSettings, *, thinks: bool) -> RunSettings:
    changes: dict[str, Any] = {}
    if body.glimp is not None:
        changes = {name: value for name, value in msgspec.structs.asdict(body.glimp).items() if value is not None}
        changes.pop("anyway", None)
        if "policy" not in changes:
            # A threshold or a share alone asks for the policy that goes by it, as the flags do.
            changes |= next(({"policy": name} for name in ("threshold", "share") if name in changes), {})
    sampling = {name: value for name in _SAMPLING if (value := getattr(body, name)) is not None}
    if sampling.get("top_k") == -1:  # vLLM's word for all
        sampling["top_k"] = 0
    if sampling:
        changes["sampling"] = {**msgspec.structs.asdict(settings.sampling), **sampling}
    if (effort := body.reasoning_effort) is not None and "max_thought" not in changes:
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
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".").removeprefix("sampling.") or None
        raise BodyError(f"{param}: {message}" if param else message, param=param) from error
