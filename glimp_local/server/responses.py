"""OpenAI's Responses, stateless: a request as a chat completion, and the reply as a list of items with their events.

The thought is an item `reasoning` with its text, the answer an item `message`, each call an item `function_call`. What
only glimp reports is in `glimp` and `timings` of the response, and in events `response.glimp.step`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from glimp_local.events import AnyEvent, Started, StepStarted
from glimp_local.messages import ToolCall
from glimp_local.server.reply import Object, Reply, arguments_of, step_of

_TEXT_PARTS = {"reasoning": "reasoning_text", "message": "output_text"}


class ResponseReply(Reply):
    """The reply to a request for a response."""

    def __init__(self, id_: str, echoed: Object) -> None:
        super().__init__(id_)
        self._echoed = echoed
        """Fields of the request that a response repeats."""
        self._output: list[Object] = []
        self._open: Object | None = None  # the item that is being written
        self._number = -1

    def objects(self, event: AnyEvent) -> Iterator[Object]:
        """Yield the events that an event comes to."""
        if isinstance(event, Started):
            yield self._event("response.created", response=self._response("in_progress"))
            yield self._event("response.in_progress", response=self._response("in_progress"))
        elif isinstance(event, StepStarted):
            yield self._event("response.glimp.step", glimp=step_of(event))
        for piece in self.take(event):
            if isinstance(piece, ToolCall):
                yield from self._call(piece)
            elif piece.part == "text" or self.asked.format != "hidden":
                yield from self._written("reasoning" if piece.part == "thought" else "message", piece.text)

    def _written(self, kind: str, text: str) -> Iterator[Object]:
        if self._open is None or self._open["type"] != kind:
            yield from self._close()
            item = self._begin(kind, content=[])
            yield self._of_item("response.output_item.added", item=item)
            item["content"].append(_part(_TEXT_PARTS[kind]))
            yield self._of_item("response.content_part.added", content_index=0, part=item["content"][0])
        assert self._open is not None
        self._open["content"][0]["text"] += text
        yield self._of_item(f"response.{_TEXT_PARTS[kind]}.delta", content_index=0, delta=text, **_logprobs(kind))

    def _call(self, call: ToolCall) -> Iterator[Object]:
        yield from self._close()
        item = self._begin("function_call", call_id=call.id, name=call.name, arguments="")
        yield self._of_item("response.output_item.added", item=item)
        item["arguments"] = arguments_of(call)
        yield self._of_item("response.function_call_arguments.delta", delta=item["arguments"])
        yield self._of_item("response.function_call_arguments.done", arguments=item["arguments"])
        yield from self._close()

    def _begin(self, kind: str, **fields: Any) -> Object:
        prefix = {"reasoning": "rs", "message": "msg"}.get(kind, "fc")
        item: Object = {"id": f"{prefix}_{self.id[5:]}{len(self._output)}", "type": kind, "status": "in_progress"}
        if kind == "message":
            item["role"] = "assistant"
        elif kind == "reasoning":
            item["summary"] = []
        self._open = {**item, **fields}
        self._output.append(self._open)
        return self._open

    def _close(self, status: str = "completed") -> Iterator[Object]:
        """End the item that is being written."""
        item = self._open
        if item is None:
            return
        item["status"] = status
        if (part := _TEXT_PARTS.get(item["type"])) is not None:
            done, content = f"response.{part}.done", item["content"][0]
            yield self._of_item(done, content_index=0, text=content["text"], **_logprobs(item["type"]))
            yield self._of_item("response.content_part.done", content_index=0, part=content)
        yield self._of_item("response.output_item.done", item=item)
        self._open = None

    def last(self) -> Iterator[Object]:
        """Yield what ends a stream."""
        is_whole = self.finish_reason != "length"
        yield from self._close("completed" if is_whole else "incomplete")
        yield self._event("response.completed" if is_whole else "response.incomplete", response=self._ended())

    def failed(self, error: Object) -> Iterator[Object]:
        """Yield what ends a stream in which an error came."""
        yield from self._close("incomplete")
        what = error["error"]
        response = self._response("failed") | {"error": {"code": "server_error", "message": what["message"]}}
        yield self._event("response.failed", response=response)

    def whole(self) -> Object:
        """Return the reply as one object."""
        for _ in self._close("completed" if self.finish_reason != "length" else "incomplete"):
            pass
        return self._ended()

    def _ended(self) -> Object:
        usage = self.usage()
        response = self._response("completed" if self.finish_reason != "length" else "incomplete")
        if self.finish_reason == "length":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        response["usage"] = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {**usage["prompt_tokens_details"], "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": usage["completion_tokens_details"],
            "total_tokens": usage["total_tokens"],
        }
        return response | self.figures()

    def _response(self, status: str) -> Object:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": list(self._output),
            "usage": None,
            **self._echoed,
        }

    def _of_item(self, kind: str, **fields: Any) -> Object:
        """Return an event of the item that is being written."""
        assert self._open is not None
        if "item" not in fields:
            fields["item_id"] = self._open["id"]
        return self._event(kind, output_index=len(self._output) - 1, **fields)

    def _event(self, kind: str, **fields: Any) -> Object:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **fields}

    def encode(self, value: Object) -> bytes:
        """Write an event of a stream."""
        return f"event: {value['type']}\n".encode() + super().encode(value)


def _part(kind: str) -> Object:
    more: Object = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    return {"type": kind, "text": "", **more}


def _logprobs(kind: str) -> Object:
    return {"logprobs": []} if kind == "message" else {}


def echoed(body: msgspec.Struct) -> Object:
    """Return the fields of a request that a response repeats."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}
    names = ("instructions", "max_output_tokens", "metadata", "temperature", "top_p", "reasoning", "text", "truncation")
    usual: Object = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "store": False}
    kept = {name: given[name] for name in (*names, *usual) if name in given}
    return {**dict.fromkeys(names), **usual, **kept, "previous_response_id": None, "store": False}
