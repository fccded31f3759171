"""A server that is sent nonsense: it fails at nothing, refuses in words, and answers others all along."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import h11

from benchmarks.document import table
from benchmarks.fuzz_bodies import request
from benchmarks.raw_http import Answer, exchange, post
from benchmarks.serving import Serving, serving
from benchmarks.setup import Setup
from glimp_local.errors import GlimpError

HEADING = "A server that is sent nonsense"
FLAGS = ("--max-thought", "24", "--max-answer", "24")
"""Of the server: a body that is right costs little."""

_CLIENTS = 4
_LONGEST_SECONDS = 60.0
_LOOK_EVERY = 100
"""Bodies between two proper questions, which have to be answered."""
_OK, _REFUSED, _FAILED = 200, 400, 500


def measure(setup: Setup) -> list[str]:
    """Send bodies to the built-in pair's server; raises GlimpError if anything happened that must not."""
    with serving("--pair", "builtin", *FLAGS) as served:
        begin = time.monotonic()
        seen, wrong = asyncio.run(send(served, range(setup.bodies)))
        seconds = time.monotonic() - begin
    rows = [[str(status), code, f"{count:,}"] for (status, code), count in sorted(seen.items())]
    about = (
        f"{setup.bodies:,} bodies from {_CLIENTS} clients in {seconds:.0f} s; a question behind every hundredth was "
        "answered each time. An error within a stream counts by its code."
    )
    blocks = [table(("status", "code", "requests"), rows), about]
    if wrong:
        raise GlimpError("\n".join([*blocks, "", *wrong]))
    return blocks


async def send(served: Serving, numbers: range) -> tuple[Counter[tuple[int, str]], list[str]]:
    """Send the requests with these numbers; return how they ended, and in words what must not happen."""
    seen: Counter[tuple[int, str]] = Counter()
    wrong: list[str] = []
    waiting = list(reversed(numbers))

    async def client() -> None:
        while waiting:
            number = waiting.pop()
            ended = await _sent(served, number)
            if isinstance(ended, str):
                wrong.append(f"body {number}: {ended}")
                continue
            seen[ended] += 1
            if number % _LOOK_EVERY == 0:
                await _look(served, number, wrong)

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    await _look(served, numbers.stop, wrong)
    return seen, wrong


async def _sent(served: Serving, number: int) -> tuple[int, str] | str:
    """Send one request; return its status and code, or in words what is wrong."""
    try:
        answer = await asyncio.wait_for(exchange(served.port, request(number)), _LONGEST_SECONDS)
        code = judged(answer)
    except (OSError, TimeoutError, h11.RemoteProtocolError, ValueError, LookupError, TypeError) as error:
        return repr(error)
    if answer.status >= _FAILED or code in {"internal_error", "worker_crashed"}:
        return f"status {answer.status}: {answer.body[-300:]!r}"
    return answer.status, code


def judged(answer: Answer) -> str:
    """Give the code of what came back, "" without an error; raises what reading it as a strict client raises."""
    if answer.status == _OK and answer.media_type == "text/event-stream":
        chunks = answer.chunks()
        errors = [chunk["error"] for chunk in chunks if "error" in chunk]
        if not errors:
            assert [chunk for chunk in chunks if chunk["choices"]][-1]["choices"][0]["finish_reason"] in {
                "stop",
                "length",
            }
            return ""
        (error,) = errors
    else:
        if answer.media_type != "application/json":
            raise ValueError(f"status {answer.status}, {answer.media_type}: {answer.body[:200]!r}")
        reply = answer.json()
        if answer.status < _REFUSED:
            reply["choices"][0]["message"]["content"].encode()  # without lone surrogates
            return ""
        error = reply["error"]
    _check_error(error)
    return str(error["code"])


def _check_error(error: Any) -> None:
    if set(error) != {"message", "type", "param", "code"} or not error["message"].strip():
        raise ValueError(f"no error object: {error}")


async def _look(served: Serving, number: int, wrong: list[str]) -> None:
    """Ask what has a right answer."""
    body = {"messages": [{"role": "user", "content": "what is 12*7?"}], "temperature": 0}
    try:
        answer = await asyncio.wait_for(
            exchange(served.port, post("/v1/chat/completions", json.dumps(body).encode())), _LONGEST_SECONDS
        )
        if "84" not in answer.json()["choices"][0]["message"]["content"]:
            wrong.append(f"behind body {number}: {answer.body[:300]!r}")
    except (OSError, TimeoutError, h11.RemoteProtocolError, ValueError, LookupError) as error:
        wrong.append(f"behind body {number}: {error!r}")
