"""Replies to chat completions: from the events of a run to what a client reads, at once or piece by piece.

A chunk that begins a step says under `glimp` who writes it and why; the last one has the figures of the run there, and
in `timings`, which llama.cpp's clients show. The text holds nothing but what the models wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import time
from typing import Any, Literal

import msgspec

from glimp_local.events import AnyEvent, Finished, Notice, Started, StepEnded, StepStarted, Text, ThoughtEnded
from glimp_local.messages import ToolCall
from glimp_local.runs import FinishReason, ModelStats, Stats
from glimp_local.server.calls import Calls
from glimp_local.server.requests import Wanted

Object = dict[str, Any]
"""A JSON object."""

FINISH: dict[FinishReason, Literal["stop", "length"]] = {
    "done": "stop",
    "answer_budget": "length",
    "context_full": "length",
    "loop": "length",
    "cancelled": "stop",
    "failed": "stop",
}
"""What clients know of our reasons; the last two never reach one: nobody listens, or an error is sent."""


class Stops:
    """Finds the texts that end an answer, also if they come in pieces."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.has_stopped = False

    def take(self, text: str) -> str:
        """Return what can be shown of the text so far: nothing that may be the beginning of a stop."""
        if not self._stops or self.has_stopped:
            return "" if self.has_stopped else text
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.has_stopped, self._held = True, ""
            return text[: min(found)]
        ends = (size for stop in self._stops for size in range(min(len(stop) - 1, len(text)), 0, -1))
        held = max((size for size in ends if any(stop.startswith(text[-size:]) for stop in self._stops)), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """Return what was held back and turned out to be no stop."""
        held, self._held = self._held, ""
        return held


class Reply:
    """One reply, put together from the events of its run."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self._head: Object = {"id": id_, "created": int(time())}
        self._asked: Wanted
        self._stops, self._calls = Stops(()), Calls(())
        self.calls: list[Object] = []
        """Calls of tools, as clients know them."""
        self.policy: str | None = None
        """Who decides who writes; None before it is known what is asked of which pair."""
        self._prompt_tokens = 0
        self._thought_tokens = 0
        self._begun = False
        self._finished: Finished | None = None
        self.content = self.thought = ""
        self.notices: list[str] = []

    def begin(self, model: str, asked: Wanted) -> None:
        """Note what is asked of the model with this id."""
        self._head["model"] = model
        self._asked, self.policy = asked, asked.settings.policy
        self._stops, self._calls = Stops(asked.stops), Calls(asked.tools)

    @property
    def has_stopped(self) -> bool:
        """Has the answer come to a stop text, or to the one call that is wanted? Then the run is to be ended."""
        return self._stops.has_stopped or self._has_called

    # What a stream has.

    def deltas(self, event: AnyEvent) -> Iterator[Object]:
        """Yield the chunks that an event comes to."""
        match event:
            case Started():
                self._prompt_tokens = event.prompt_tokens
                yield self._chunk({"role": "assistant", "content": ""})
            case StepStarted():
                yield self._chunk({}, glimp=_step(event))
            case Notice(message):
                self.notices.append(message)
            case StepEnded(step) if step.part == "thought":
                self._thought_tokens += step.tokens
            case _:
                yield from (self._chunk(delta) for delta in self._said(event) if delta)

    def _said(self, event: AnyEvent) -> Iterator[Object]:
        """Yield what an event adds to the message."""
        match event:
            case Text(part="thought", text=text):
                yield self._thought(text)
            case ThoughtEnded() if self._asked.format == "think" and self._begun:
                yield self._text("\n</think>\n\n")
            case Text(text=text):
                yield from map(self._found, self._calls.take(self._stops.take(text)))
            case Finished():
                self._finished = event
                yield from map(self._found, self._calls.take(self._stops.rest()))
                yield from map(self._found, self._calls.rest())

    def _found(self, found: str | ToolCall) -> Object:
        """Return what a piece of the answer adds to the message."""
        if isinstance(found, str):
            return self._text(found) if found and not self._has_called else {}
        if self._has_called:
            return {}
        self.calls.append(_call(found))
        return {"tool_calls": [{"index": len(self.calls) - 1, **self.calls[-1]}]}

    @property
    def _has_called(self) -> bool:
        """Has the one call been made that is wanted?"""
        return self._asked.one_call and bool(self.calls)

    def _thought(self, text: str) -> Object:
        self.thought += text
        wanted = self._asked.format
        if wanted == "hidden":
            return {}
        if wanted == "think":
            opened, self._begun = self._begun, True
            return self._text(text if opened else f"<think>\n{text}")
        names = ("reasoning_content", "reasoning") if wanted == "both" else (wanted,)
        return dict.fromkeys(names, text)

    def _text(self, text: str) -> Object:
        self.content += text
        return {"content": text}

    def _chunk(self, delta: Object, *, finish: str | None = None, **more: Any) -> Object:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **more}

    def last_chunks(self) -> Iterator[Object]:
        """Yield what ends a stream."""
        yield self._chunk({}, finish=self.finish_reason, **self._figures())
        if self._asked.with_usage:
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self.usage()}

    # What is sent at once.

    def whole(self) -> Object:
        """Return the reply as one object."""
        content = None if self.calls and not self.content.strip() else self.content
        message: Object = {"role": "assistant", "content": content, "refusal": None}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.thought and self._asked.format in {"reasoning_content", "both"}:
            message["reasoning_content"] = self.thought
        if self.thought and self._asked.format in {"reasoning", "both"}:
            message["reasoning"] = self.thought
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        more = {"usage": self.usage(), **self._figures()}
        return {**self._head, "object": "chat.completion", "choices": [choice], **more}

    # Figures.

    @property
    def finish_reason(self) -> str:
        """Why the reply ended, in the words that clients know."""
        if self.calls:
            return "tool_calls"
        if self.has_stopped or self._finished is None:
            return "stop"
        return FINISH[self._finished.finish_reason]

    def usage(self) -> Object:
        """Count tokens as clients know them: the thought is a part of the completion."""
        stats = None if self._finished is None else self._finished.stats
        written = 0 if stats is None else stats.tokens
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self._prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": self._cached(stats)},
            "completion_tokens_details": {"reasoning_tokens": self._thought_tokens},
        }

    def _cached(self, stats: Stats | None) -> int:
        """Count the tokens of the prompt that the first model to read it held already."""
        read = [model.prefill_tokens for model in _models(stats) if model.prefill_tokens]
        return max(self._prompt_tokens - max(read, default=0), 0) if stats is not None else 0

    def _figures(self) -> Object:
        if self._finished is None:
            return {"glimp": {"notices": self.notices}}
        stats = self._finished.stats
        reasons = {"finish_reason": self._finished.finish_reason, "thought_end": self._finished.thought_end}
        figures: Object = {"stats": msgspec.to_builtins(stats), **reasons}
        if self.notices:
            figures["notices"] = self.notices
        return {"glimp": figures, "timings": self._timings(stats)}

    def _timings(self, stats: Stats) -> Object:
        """Report what llama-server reports, and the shares of the large model beside it."""
        models = _models(stats)
        read, read_seconds = sum(m.prefill_tokens for m in models), sum(m.prefill_seconds for m in models)
        write_seconds = max(stats.seconds - read_seconds, 0.0)
        return {
            "cache_n": self._cached(stats),
            "prompt_n": read,
            "prompt_ms": 1000 * read_seconds,
            "prompt_per_second": read / read_seconds if read_seconds else 0.0,
            "predicted_n": stats.tokens,
            "predicted_ms": 1000 * write_seconds,
            "predicted_per_second": stats.tokens / write_seconds if write_seconds else 0.0,
            "share_steps": stats.share_steps,
            "share_tokens": stats.share_tokens,
            "switches": stats.switches,
        }


def _models(stats: Stats | None) -> list[ModelStats]:
    return [] if stats is None else [model for model in (stats.small, stats.large) if model is not None]


def _call(call: ToolCall) -> Object:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _step(event: StepStarted) -> Object:
    return {
        "step": event.index,
        "part": event.part,
        "model": event.model,
        "reason": event.reason,
        "entropy_nats": event.entropy_nats,
        "threshold_nats": event.threshold_nats,
    }
