"""Requests as bytes, also such as no library would send, and what comes back; one connection each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import h11
import msgspec

_CHUNK_BYTES = 1 << 16


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    """Their names are in lower case."""
    body: bytes

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    def json(self) -> Any:
        """Read the body strictly: NaN and infinities are no JSON."""
        return strict_json(self.body)

    def chunks(self) -> list[Any]:
        """Read the body as server-sent events; raises ValueError unless it ends as OpenAI's streams do."""
        *events, end = events_of(self.body)
        if end != "[DONE]":
            raise ValueError(f"the stream ends with {end[:200]!r}")
        return [strict_json(event.encode()) for event in events]


def strict_json(text: bytes) -> Any:
    """Read JSON as a strict client does; raises ValueError for NaN, infinities and what is no UTF-8."""
    return json.loads(text.decode("utf-8"), parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def events_of(body: bytes) -> list[str]:
    """Return the data of server-sent events; comments are left out."""
    lines = body.decode("utf-8").split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Write a POST request. A keyword replaces the header of that name, with - for _."""
    named = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    named |= {"connection": "close"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@asynccontextmanager
async def sent(port: int, request: bytes) -> AsyncIterator[AsyncGenerator[h11.Event, None]]:
    """Send a request and give the events of its reply; leaving the context closes the connection.

    Iterating raises h11.RemoteProtocolError if the reply is no HTTP or ends early, and OSError if the connection
    breaks.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with aclosing(_events(reader)) as events:
            yield events
    finally:
        writer.transport.abort()  # what has not been sent by now is not to be sent


async def _events(reader: asyncio.StreamReader) -> AsyncGenerator[h11.Event, None]:
    ours = h11.Connection(h11.CLIENT)
    # What was sent may be no HTTP; the parser is told of something that is.
    ours.send(h11.Request(method="GET", target="/", headers=[("host", "x"), ("connection", "close")]))
    ours.send(h11.EndOfMessage())
    while True:
        event = ours.next_event()
        if event is h11.NEED_DATA:
            ours.receive_data(await reader.read(_CHUNK_BYTES))
            continue
        assert not isinstance(event, type)
        yield event
        if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return


async def exchange(port: int, request: bytes) -> Answer:
    """Send a request and read the whole reply; raises what `sent` raises."""
    status, headers, body = 0, {}, b""
    async with sent(port, request) as events:
        async for event in events:
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    return Answer(status, headers, body)
