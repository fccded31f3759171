"""The endpoints that have models write something, and the one that steers them meanwhile."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from secrets import token_hex
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from glimp_local.errors import GlimpError
from glimp_local.events import AnyEvent, Finished, Started, Text
from glimp_local.routing import MODELS, Model
from glimp_local.server import failures, names, wire
from glimp_local.server.bodies import BodyError, ChatBody, Options, read
from glimp_local.server.chat import ChatReply
from glimp_local.server.completions import CompletionBody, CompletionReply, completion_wanted, prompt_of
from glimp_local.server.hand import Hand, Run
from glimp_local.server.inputs import ResponseBody, as_chat
from glimp_local.server.line import BusyError, EndingError
from glimp_local.server.options import ServerOptions
from glimp_local.server.pairs import Pairs
from glimp_local.server.reply import Reply
from glimp_local.server.requests import Wanted, wanted
from glimp_local.server.responses import ResponseReply, echoed
from glimp_local.server.streams import Stream, after, as_json, until_gone
from glimp_local.settings import RunSettings

_PING = b": waiting\n\n"
Check = Callable[[RunSettings, wire.Ready], Wanted]
"""Checks a request against the settings that its model's id stands for, and its pair."""


class Control(msgspec.Struct):
    """What is to happen to a reply."""

    id: str
    action: str

    def __post_init__(self) -> None:
        """Refuse an action that there is not."""
        actions = ("reasoning_end", "force_small", "force_large")
        if self.action not in actions:
            raise ValueError(f"action: one of {', '.join(actions)}")


class Answers:
    """What is asked of the pairs, and the replies that are being written."""

    def __init__(self, pairs: Pairs, options: ServerOptions) -> None:
        self._pairs = pairs
        self._line = pairs.line
        self._options = options
        self._runs: dict[str, tuple[Reply, Run]] = {}

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/responses", self.respond, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/chat/completions/control", self.control, methods=["POST"]),
        ]

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        body = read(await request.body(), ChatBody)
        return await self._reply(request, body, ChatReply(f"chatcmpl-{token_hex(12)}"), partial(wanted, body))

    async def respond(self, request: Request) -> Response:
        """Answer a conversation, as OpenAI's Responses do."""
        body = read(await request.body(), ResponseBody)
        reply = ResponseReply(f"resp_{token_hex(12)}", echoed(body))
        return await self._reply(request, body, reply, partial(wanted, as_chat(body)))

    async def complete(self, request: Request) -> Response:
        """Continue a text."""
        body = read(await request.body(), CompletionBody)
        reply = CompletionReply(f"cmpl-{token_hex(12)}", echoes=prompt_of(body) if body.echo else "")
        return await self._reply(request, body, reply, partial(completion_wanted, body))

    async def _reply(self, request: Request, body: Options, reply: Reply, check: Check) -> Response:
        hand = self._pairs.of(body.model)
        if body.glimp and body.glimp.wait is False and (hand.ready is None or hand.places.is_full):
            raise BusyError("the pair is in use, or being loaded", hint="leave glimp.wait out to wait for it")

        def make(ready: wire.Ready) -> wire.Ask:
            asked = check(names.settings_of(body.model, ready), ready)
            reply.begin(body.model or ready.pair, asked)
            return self._ask(asked)

        run = hand.run(make)
        if body.stream:
            chunks = self._stream(reply, run, hand)
            first = await until_gone(request, anext(chunks))  # what is refused gets a status of its own
            headers = _headers(reply, hand) | {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return Stream(after(first, chunks), media_type="text/event-stream", headers=headers)
        await until_gone(request, self._answer(reply, run, hand))
        return as_json(reply.whole(), _headers(reply, hand))

    def _log(self, reply: Reply) -> None:
        """Write what was asked and answered to stderr, if that is wanted."""
        if self._options.logs_content and reply.policy is not None:
            said = {"thought": reply.thought, "answer": reply.content, "tool_calls": reply.calls}
            line = {"id": reply.id, "model": reply.model, "messages": reply.asked.messages, **said}
            sys.stderr.write(json.dumps(msgspec.to_builtins(line)) + "\n")  # ASCII: it steers no terminal
            sys.stderr.flush()

    def _ask(self, asked: Wanted) -> wire.Ask:
        return wire.Ask(
            asked.messages,
            asked.settings,
            self._options.seed if asked.seed is None else asked.seed,
            anyway=asked.anyway,
            tools=asked.tools,
            constraint=asked.constraint,
            opening=asked.opening,
            is_raw=asked.is_raw,
        )

    async def _answer(self, reply: Reply, run: Run, hand: Hand) -> None:
        with self._named(reply, run):
            async for event in run:
                for _ in reply.objects(event):
                    pass
                _check(event, reply, run, hand)

    async def _stream(self, reply: Reply, run: Run, hand: Hand) -> AsyncGenerator[bytes, None]:
        """Yield a reply as server-sent events. What fails behind the first chunk is sent as one."""
        begun = False
        try:
            with self._named(reply, run):
                async with aclosing(run.with_pings(self._options.ping_seconds)) as events:
                    async for event in events:
                        begun = begun or event == "ping" or isinstance(event, Started)
                        if event == "ping":
                            yield _PING
                            continue
                        for value in reply.objects(event):
                            yield reply.encode(value)
                        _check(event, reply, run, hand)
        except GlimpError as error:
            if not begun:
                raise
            self._line.metrics.failed += 1
            for value in reply.failed(failures.described(error)[1]):
                yield reply.encode(value)
        else:
            for value in reply.last():
                yield reply.encode(value)
        if reply.ends_with:
            yield reply.ends_with

    @contextmanager
    def _named(self, reply: Reply, run: Run) -> Iterator[None]:
        """Let `control` find the run by the reply's id, and close it in the end."""
        self._runs[reply.id] = reply, run
        try:
            yield
        finally:
            del self._runs[reply.id]
            run.close()
            self._log(reply)

    async def control(self, request: Request) -> Response:
        """End the thought of a reply that is being written, or let a model write its next step."""
        asked = read(await request.body(), Control)
        reply, run = self._runs.get(asked.id, (None, None))
        if reply is None or run is None or not run.is_under_way:
            raise BodyError(f"id: no reply {asked.id[:100]!r} is being written", param="id")
        if asked.action == "reasoning_end":
            run.answer_now()
            return as_json({"success": True})
        model: Model = "small" if asked.action == "force_small" else "large"
        if reply.policy in MODELS and reply.policy != model:
            raise BodyError(f"action: the {reply.policy} model alone writes this reply", param="action")
        run.force(model)
        return as_json({"success": True})


def _check(event: AnyEvent, reply: Reply, run: Run, hand: Hand) -> None:
    """End a run whose answer came to a stop text; raises GlimpError if it did not come to an end of its own."""
    if isinstance(event, Text) and reply.has_stopped:
        run.cancel()
    elif isinstance(event, Finished) and event.finish_reason == "cancelled" and not reply.has_stopped:
        raise EndingError
    elif isinstance(event, Finished) and event.finish_reason == "failed":
        served = {} if hand.known is None else hand.known.models
        if (model := served.get(reply.failed_model)) is not None and model.is_remote:
            raise failures.RemoteError(reply.notices[-1])
        raise GlimpError("llama.cpp could not continue the reply")


def _headers(reply: Reply, hand: Hand) -> dict[str, str]:
    headers = {"x-request-id": reply.id}
    if (ready := hand.known) is not None and reply.policy is not None:
        headers |= {"x-glimp-pair": quote(ready.pair, safe=" +/:=."), "x-glimp-policy": reply.policy}
    return headers
