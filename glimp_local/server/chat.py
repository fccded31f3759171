"""Chat completions, as clients read them: at once, or piece by piece.

A chunk that begins a step says under `glimp` who writes it and why; the last one has the figures of the run there, and
in `timings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from glimp_local.events import AnyEvent, Started, StepStarted, ThoughtEnded
from glimp_local.messages import ToolCall
from glimp_local.server.reply import Object, Reply, Said, arguments_of, step_of


class ChatReply(Reply):
    """The reply to a chat completion."""

    ends_with: ClassVar[bytes] = b"data: [DONE]\n\n"

    def objects(self, event: AnyEvent) -> Iterator[Object]:
        """Yield the chunks that an event comes to."""
        if isinstance(event, Started):
            yield self._chunk({"role": "assistant", "content": ""})
        elif isinstance(event, StepStarted):
            yield self._chunk({}, glimp=step_of(event))
        elif isinstance(event, ThoughtEnded) and self.asked.format == "think" and self.thought:
            yield self._chunk({"content": "\n</think>\n\n"})
        for piece in self.take(event):
            if delta := self._delta(piece):
                yield self._chunk(delta)

    def _delta(self, piece: Said | ToolCall) -> Object:
        if isinstance(piece, ToolCall):
            return {"tool_calls": [{"index": len(self.calls) - 1, **_call(piece)}]}
        if piece.part == "text":
            return {"content": piece.text}
        wanted = self.asked.format
        if wanted == "hidden":
            return {}
        if wanted == "think":
            return {"content": piece.text if len(self.thought) > len(piece.text) else f"<think>\n{piece.text}"}
        return dict.fromkeys(self._thought_names, piece.text)

    @property
    def _thought_names(self) -> tuple[str, ...]:
        """The fields that hold the thought."""
        wanted = self.asked.format
        names = ("reasoning_content", "reasoning")
        return names if wanted == "both" else tuple(name for name in names if name == wanted)

    def _chunk(self, delta: Object, *, finish: str | None = None, **more: Any) -> Object:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **more}

    def _head(self, kind: str) -> Object:
        return {"id": self.id, "created": self.created, "model": self.model, "object": kind}

    def last(self) -> Iterator[Object]:
        """Yield what ends a stream."""
        yield self._chunk({}, finish=self.finish_reason, **self.figures())
        if self.asked.with_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def whole(self) -> Object:
        """Return the reply as one object."""
        content: str | None = self.content
        if self.asked.format == "think" and self.thought:
            content = f"<think>\n{self.thought}\n</think>\n\n{self.content}"
        elif self.calls and not self.content.strip():
            content = None
        message: Object = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        if self.calls:
            message["tool_calls"] = [_call(call) for call in self.calls]
        if self.thought:
            message |= dict.fromkeys(self._thought_names, self.thought)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage(), **self.figures()}


def _call(call: ToolCall) -> Object:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_of(call)}}
