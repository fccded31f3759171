"""What it costs to ask over HTTP, against `glimp solve` and beside llama-server, and what a kept prompt saves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import msgspec

from benchmarks.document import table
from benchmarks.figures import median, ratio
from benchmarks.raw_http import exchange, post, sent, strict_json
from benchmarks.serving import Serving, free_port, serving
from benchmarks.setup import QUESTION, Files, Setup
from glimp_local.errors import GlimpError
from glimp_local.events import Finished
from glimp_local.hardware import cpus
from glimp_local.records.event_log import read_events

HEADING = "The server: what HTTP costs, and what a prompt that is read already saves"

_CONTEXT = 4096
_PATH = "/v1/chat/completions"
_LOAD_SECONDS = 120.0
_PARAGRAPHS = 24
"""Of the long prompt."""
_FEW = 4
"""Tokens of a reply that is only begun."""


class Timed(msgspec.Struct, frozen=True):
    """A streamed reply, as its client saw it."""

    seconds: float
    first_seconds: float
    """Until the first text, whichever part it is of."""
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    inside_seconds: float
    """What the session took, as glimp reports it; 0 if another server replied."""
    text: str

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def measure(setup: Setup) -> list[str]:
    """Measure the pair of two vocabularies; raises MissingError."""
    files = setup.two_vocabularies()
    flags = ["--temperature", "0", "--ctx", str(_CONTEXT), "--draft", "off"]
    flags += ["--max-thought", str(setup.tokens), "--max-answer", str(setup.tokens)]
    flags += ["--small", str(files.small), "--large", str(files.large)]
    with serving(*flags) as served:
        asyncio.run(ask(served.port, [_user("Hello.")]))  # warm, as solve has its own warm-up
        blocks = [*_against_solve(setup, served, flags), *_prompts(setup, served, files)]
        if setup.llama_server is None:
            return [*blocks, "Not measured beside llama-server: --llama-server names none."]
        assert files.large is not None
        return [*blocks, *_beside(setup, served, setup.llama_server, files.large)]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _system(number: int) -> str:
    """Give a system message that begins as no other one, so that nothing of the prompt has been read."""
    return f"{number} is the number of this question."


def _asked(number: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": _system(number)}, _user(QUESTION)]


# Against `glimp solve`.


def _against_solve(setup: Setup, served: Serving, flags: Sequence[str]) -> list[str]:
    solved: list[float] = []
    asked: list[Timed] = []
    same = 0
    for number in range(setup.rounds):
        for turn in (number % 2, 1 - number % 2):
            if turn:
                asked.append(asyncio.run(ask(served.port, _asked(number))))
            else:
                speed, tokens = _solve([*flags, "--system", _system(number)])
                solved.append(speed)
        same += tokens == asked[-1].tokens
    inside = [each.inside_seconds for each in asked]
    rows = [
        ["glimp solve", median(solved), ""],
        ["glimp serve, seen by its client", median([each.speed for each in asked]), ratio(_speeds(asked), solved)],
        ["the session's part of that time", "", ratio(inside, [each.seconds for each in asked])],
    ]
    about = (
        f"{setup.rounds} rounds in turns, another prompt each, greedy, without drafts, up to {setup.tokens} tokens; in "
        f"{same} of them both wrote the same number. `solve` counts from the question on, not the loading."
    )
    return [table(("by", "tokens/s", "ratio"), rows), about]


def _speeds(replies: list[Timed]) -> list[float]:
    return [each.speed for each in replies]


def _solve(flags: Sequence[str]) -> tuple[float, int]:
    """Solve in a process of its own; give tokens per second, and their number."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.jsonl")
        command = [sys.executable, "-m", "glimp_local", "solve", "--text", QUESTION, "--save", str(file), "-q", *flags]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - glimp itself
        stats = next(event.stats for event in read_events(file) if isinstance(event, Finished))
        return stats.tokens / stats.seconds, stats.tokens


# Prompts.


def _prompts(setup: Setup, served: Serving, files: Files) -> list[str]:
    cold: list[Timed] = []
    warm: list[Timed] = []
    for number in range(setup.rounds):
        told = " ".join(f"({part}) {QUESTION}" for part in range(_PARAGRAPHS))
        messages = [{"role": "system", "content": _system(2000 + number)}, _user(told)]
        cold.append(asyncio.run(ask(served.port, messages, _FEW)))
        messages += [{"role": "assistant", "content": cold[-1].text}, _user("Go on.")]
        warm.append(asyncio.run(ask(served.port, messages, _FEW)))
    rows = [
        [
            name,
            median([each.prompt_tokens for each in replies]),
            median([each.cached_tokens for each in replies]),
            median([each.first_seconds for each in replies]),
        ]
        for name, replies in (("a new conversation", cold), ("its next question", warm))
    ]
    quicker = ratio([each.first_seconds for each in cold], [each.first_seconds for each in warm])
    about = f"{files.name}, {setup.rounds} rounds: the first text of the next question comes {quicker} times as soon."
    return [table(("prompt", "tokens", "of these kept", "seconds to the first text"), rows), about]


# Beside llama-server.


def _beside(setup: Setup, served: Serving, program: Path, model: Path) -> list[str]:
    alone = asyncio.run(_large(served.port))
    with _llama_server(program, model) as port:
        ports = {f"glimp serve, {alone}": (served.port, alone), "llama-server": (port, "any")}
        replies: dict[str, list[Timed]] = {name: [] for name in ports}
        for number in range(-1, setup.rounds):
            turns = list(ports) if number % 2 else list(ports)[::-1]
            for name in turns:
                where, asked = ports[name]
                reply = asyncio.run(ask(where, _asked(1000 + number), setup.tokens, model=asked))
                if number >= 0:  # the one before is to warm up
                    replies[name].append(reply)
    ours, theirs = replies.values()
    rows = [
        [
            name,
            median(_speeds(each)),
            median([reply.first_seconds for reply in each]),
            median([reply.tokens for reply in each]),
            median([reply.prompt_tokens for reply in each]),
        ]
        for name, each in replies.items()
    ]
    about = f"Tokens per second of those of llama-server: {ratio(_speeds(ours), _speeds(theirs))}."
    return [table(("the large model alone", "tokens/s", "seconds to the first text", "tokens", "prompt"), rows), about]


async def _large(port: int) -> str:
    answer = await exchange(port, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return next(str(model["id"]) for model in answer.json()["data"] if model["id"].endswith(":large"))


@contextmanager
def _llama_server(program: Path, model: Path) -> Iterator[int]:
    """Run a llama-server on a free port; raises GlimpError if it does not begin."""
    port = free_port()
    command = [str(program), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["-c", str(_CONTEXT), "-t", str(cpus().threads)]
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, **quiet)  # noqa: S603 - the one that was named
    try:
        end = time.monotonic() + _LOAD_SECONDS
        while not asyncio.run(_is_ready(port)):
            if process.poll() is not None or time.monotonic() > end:
                raise GlimpError(f"{program} does not serve {model}", hint="it is called with llama-server's own flags")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


async def _is_ready(port: int) -> bool:
    try:
        answer = await exchange(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    except (OSError, h11.RemoteProtocolError):
        return False
    return answer.status == 200  # noqa: PLR2004 - HTTP


async def ask(
    port: int, messages: Sequence[dict[str, str]], tokens: int | None = None, *, model: str | None = None
) -> Timed:
    """Ask for a stream and time it; raises GlimpError if it does not come to its end."""
    body: dict[str, Any] = {"messages": list(messages), "stream": True, "temperature": 0, "max_tokens": tokens}
    body |= {"stream_options": {"include_usage": True}} | ({} if model is None else {"model": model})
    first, text = 0.0, ""
    last: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    begin = time.perf_counter()
    async with sent(port, post(_PATH, json.dumps(body).encode())) as events:
        async for chunk in _chunks(events):
            if "error" in chunk:
                raise GlimpError(str(chunk["error"]["message"]))
            usage = chunk.get("usage") or usage
            for choice in chunk.get("choices", ()):
                delta = choice["delta"]
                piece = (delta.get("reasoning_content") or "") + (delta.get("content") or "")
                first = first or (time.perf_counter() - begin if piece else 0.0)
                text += delta.get("content") or ""
            last = chunk.get("glimp", last)
    seconds = time.perf_counter() - begin
    return Timed(
        seconds=seconds,
        first_seconds=first,
        tokens=usage["completion_tokens"],
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        inside_seconds=last.get("stats", {}).get("seconds", 0.0),
        text=text,
    )


async def _chunks(events: AsyncIterator[h11.Event]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of a stream as they come."""
    left = b""
    async for event in events:
        if isinstance(event, h11.Response) and event.status_code != 200:  # noqa: PLR2004 - HTTP
            raise GlimpError(f"the server answers with status {event.status_code}")
        if not isinstance(event, h11.Data):
            continue
        *lines, left = (left + bytes(event.data)).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield strict_json(line.removeprefix(b"data: "))
