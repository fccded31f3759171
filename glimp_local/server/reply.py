"""What a run comes to for a client: text, thought and calls of tools, piece by piece, and the figures in the end.

The shapes in which interfaces send it are in modules of their own (`chat.py`, `responses.py`, `completions.py`). The
text holds nothing but what the models wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import time
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from glimp_local.events import AnyEvent, Finished, Notice, Started, StepEnded, StepStarted, Text
from glimp_local.messages import ToolCall
from glimp_local.routing import Model
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


class Said(NamedTuple):
    """A piece of a reply."""

    part: Literal["thought", "text"]
    text: str


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
    """One reply, put together from the events of its run. What a client reads is made by the classes below this one."""

    ends_with: ClassVar[bytes] = b""
    """What a stream has behind the last object."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.created = int(time())
        self.model = ""
        self.policy: str | None = None
        """Who decides who writes; None before it is known what is asked of which pair."""
        self.asked: Wanted
        self.content = self.thought = ""
        self.calls: list[ToolCall] = []
        self.notices: list[str] = []
        self.finished: Finished | None = None
        self.failed_model: Model = "small"
        """The model that could not continue, if one could not: without a step of its own, the one that glimpses."""
        self._stops, self._calls = Stops(()), Calls(())
        self._prompt_tokens = self._thought_tokens = 0

    def begin(self, model: str, asked: Wanted) -> None:
        """Note what is asked of the model with this id."""
        self.model, self.asked, self.policy = model, asked, asked.settings.policy
        self.notices = list(asked.notices)
        self._stops, self._calls = Stops(asked.stops), Calls(asked.tools)

    @property
    def has_stopped(self) -> bool:
        """Has the answer come to a stop text, or to the one call that is wanted? Then the run is to be ended."""
        return self._stops.has_stopped or self._has_called

    def objects(self, event: AnyEvent) -> Iterator[Object]:
        """Yield what a stream has of an event."""
        raise NotImplementedError

    def last(self) -> Iterator[Object]:
        """Yield what ends a stream."""
        raise NotImplementedError

    def failed(self, error: Object) -> Iterator[Object]:
        """Yield what ends a stream in which an error came; `error` is OpenAI's error object."""
        yield error

    def whole(self) -> Object:
        """Return the reply as one object."""
        raise NotImplementedError

    def encode(self, value: Object) -> bytes:
        """Write an object of a stream."""
        return b"data: " + msgspec.json.encode(value) + b"\n\n"

    def take(self, event: AnyEvent) -> Iterator[Said | ToolCall]:
        """Note an event, and yield what it adds to the reply."""
        match event:
            case Started():
                self._prompt_tokens = event.prompt_tokens
            case Notice(message):
                self.notices.append(message)
            case StepEnded(step):
                self._thought_tokens += step.tokens if step.part == "thought" else 0
                if step.end == "failed":
                    self.failed_model = step.model
            case Text(part="thought", text=text):
                self.thought += text
                yield Said("thought", text)
            case Text(text=text):
                yield from self._answer(self._calls.take(text))
            case Finished():
                self.finished = event
                yield from self._answer(self._calls.rest())
                yield from self._text(self._stops.rest())

    def _answer(self, pieces: Iterator[str | ToolCall]) -> Iterator[Said | ToolCall]:
        for piece in pieces:
            if self.has_stopped:
                return
            if isinstance(piece, str):
                yield from self._text(self._stops.take(piece))
            else:
                self.calls.append(piece)
                yield piece

    def _text(self, text: str) -> Iterator[Said]:
        if text and not self.asked.must_call:  # a call that was cut short is nothing to show
            self.content += text
            yield Said("text", text)

    @property
    def _has_called(self) -> bool:
        """Has the one call been made that is wanted?"""
        return self.calls != [] and self.asked.one_call

    # Figures.

    @property
    def finish_reason(self) -> str:
        """Why the reply ended, in the words that clients know."""
        if self.calls:
            return "tool_calls"
        if self.has_stopped or self.finished is None:
            return "stop"
        return FINISH[self.finished.finish_reason]

    @property
    def stats(self) -> Stats | None:
        """The figures of the run, when it is over."""
        return None if self.finished is None else self.finished.stats

    def usage(self) -> Object:
        """Count tokens as clients know them: the thought is a part of the completion."""
        written = 0 if self.stats is None else self.stats.tokens
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self._prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": self._cached(self.stats)},
            "completion_tokens_details": {"reasoning_tokens": self._thought_tokens},
        }

    def _cached(self, stats: Stats | None) -> int:
        """Count the tokens of the prompt that the first model to read it held already."""
        read = [model.prefill_tokens for model in _models(stats) if model.prefill_tokens]
        return max(self._prompt_tokens - max(read, default=0), 0) if stats is not None else 0

    def figures(self) -> Object:
        """Return what only glimp reports, and `timings`, which llama.cpp's clients show."""
        if self.finished is None:
            return {"glimp": {"notices": self.notices}}
        stats = self.finished.stats
        finish = "stop" if self.has_stopped else self.finished.finish_reason
        reasons = {"finish_reason": finish, "thought_end": self.finished.thought_end}
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


def step_of(event: StepStarted) -> Object:
    """Return who writes a step, and why."""
    return {
        "step": event.index,
        "part": event.part,
        "model": event.model,
        "reason": event.reason,
        "entropy_nats": event.entropy_nats,
        "threshold_nats": event.threshold_nats,
    }


def arguments_of(call: ToolCall) -> str:
    """Return a call's arguments as clients read them."""
    return json.dumps(call.arguments, ensure_ascii=False)
