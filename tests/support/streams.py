"""Raw streams of the real servers, read by tests that know nothing of our own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec


@contextmanager
def streamed(
    url: str, path: str, body: dict[str, Any], *, key: str | None = None, verify: Any = True
) -> Iterator[Iterator[dict[str, Any]]]:
    """Ask for a stream over a connection of its own and give its events, without `[DONE]`.

    Leaving the block closes the connection, wherever the stream is.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        httpx2.Client(timeout=30, verify=verify, trust_env=False) as client,
        client.stream("POST", url + path, json={**body, "stream": True}, headers=headers) as response,
    ):
        if response.status_code != 200:
            response.read()
            raise AssertionError(f"{response.status_code}: {response.text}")
        yield _events(response)


def until_lost(events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the events up to the loss of the connection; fails if the stream comes to its end."""
    seen = []
    try:
        for event in events:
            seen.append(event)  # noqa: PERF402 - `list(events)` would lose them
    except httpx2.TransportError:
        return seen
    raise AssertionError(f"the stream came to its end after {len(seen)} events")


def _events(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield msgspec.json.decode(line.removeprefix("data: "))
