"""Completions: raw text in, and what the models write behind it out, with no chat template between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from glimp_local.events import AnyEvent, Started, StepStarted
from glimp_local.messages import Message, ToolCall
from glimp_local.server.bodies import BodyError, Options
from glimp_local.server.reply import Object, Reply, step_of
from glimp_local.server.requests import Wanted, options_of
from glimp_local.server.wire import Ready
from glimp_local.settings import RunSettings


class CompletionBody(Options):
    """The body of a completion."""

    prompt: str | list[Any] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


def completion_wanted(body: CompletionBody, settings: RunSettings, ready: Ready) -> Wanted:
    """Check a request against a pair, and the settings that the model's id stands for; raises BodyError."""
    if body.suffix:
        raise BodyError("suffix: glimp writes behind a text, not into it", param="suffix")
    if body.best_of not in {None, 1}:
        raise BodyError("best_of: one reply is written at a time", param="best_of")
    return options_of(body, settings, ready, messages=[Message("user", prompt_of(body))], is_raw=True)


def prompt_of(body: CompletionBody) -> str:
    """Return the text to be continued; raises BodyError."""
    prompt = body.prompt
    if isinstance(prompt, list) and len(prompt) == 1:
        (prompt,) = prompt
    if not isinstance(prompt, str) or not prompt.strip():
        raise BodyError("prompt: one text is wanted, and not an empty one", param="prompt")
    return prompt


class CompletionReply(Reply):
    """The reply to a completion."""

    ends_with: ClassVar[bytes] = b"data: [DONE]\n\n"

    def __init__(self, id_: str, *, echoes: str) -> None:
        super().__init__(id_)
        self._echoes = echoes
        """The prompt, if the client wants it back."""

    def objects(self, event: AnyEvent) -> Iterator[Object]:
        """Yield the chunks that an event comes to."""
        if isinstance(event, Started) and self._echoes:
            yield self._object(self._echoes)
        elif isinstance(event, StepStarted):
            yield self._object("", glimp=step_of(event))
        for piece in self.take(event):
            if not isinstance(piece, ToolCall):
                yield self._object(piece.text)

    def last(self) -> Iterator[Object]:
        """Yield what ends a stream."""
        yield self._object("", finish=self.finish_reason, **self.figures())
        if self.asked.with_usage:
            yield {**self._object(""), "choices": [], "usage": self.usage()}

    def whole(self) -> Object:
        """Return the reply as one object."""
        text = f"{self._echoes}{self.thought}{self.content}"
        return self._object(text, finish=self.finish_reason, usage=self.usage(), **self.figures())

    def _object(self, text: str, *, finish: str | None = None, **more: Any) -> Object:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        head = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}
        return {**head, "choices": [choice], **more}
