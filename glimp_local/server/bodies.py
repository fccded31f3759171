"""The shape of a request's body. Unknown fields are ignored, and null is as good as leaving a field out."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from glimp_local.errors import GlimpError
from glimp_local.routing import PolicyName
from glimp_local.settings import Fraction, Nats, Natural, Positive

Format = Literal["reasoning_content", "reasoning", "both", "think", "hidden"]
"""Where a reply has the thought."""

_T = TypeVar("_T")


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
    tool_call_id: str | None = None


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
    wait: bool | None = None
    """Wait for other requests, and for the pair to be loaded? False: be refused at once instead."""


class Options(msgspec.Struct, kw_only=True):
    """What all interfaces have: the model, how it is sampled, and how the reply comes."""

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
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    glimp: GlimpFields | None = None


class ChatBody(Options, kw_only=True):
    """The body of a chat completion."""

    messages: list[BodyMessage]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None


def read(body: bytes, kind: type[_T]) -> _T:
    """Read a body; raises BodyError that names the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, param = located(error)
        raise BodyError(message, param=param) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BodyError(f"the body is no JSON: {error}") from error


def located(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """Return msgspec's message with the name of the field in front, and that name."""
    message, _, path = str(error).partition(" - at `$")
    param = path.rstrip("`").lstrip(".").removeprefix("sampling.") or None
    return (f"{param}: {message}" if param else message), param


def read_value(value: Any, kind: type[_T], *, at: str = "") -> _T:
    """Read what was decoded already; `at` is where it stands. Raises BodyError that names the field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, param = located(error)
        raise BodyError(f"{at}: {message}" if at else message, param=at or param) from error
