"""A server under load: clients that ask, leave at every moment and send nonsense, while its worker is killed.

Every question has one right answer, so that a reply that went to the wrong client is noticed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Literal, get_args

import h11
import msgspec
import psutil

from benchmarks.document import table
from benchmarks.raw_http import Answer, events_of, exchange, post, sent, strict_json
from benchmarks.serving import Serving, serving
from benchmarks.setup import Setup
from glimp_local.errors import GlimpError

HEADING = "A server under load"

Kind = Literal["whole", "stream", "wrong body", "leaves early", "leaves the stream", "half a body"]
"""What a client does."""
_OFTEN: dict[Kind, int] = {
    "whole": 6,
    "stream": 5,
    "wrong body": 3,
    "leaves early": 3,
    "leaves the stream": 3,
    "half a body": 1,
}
_PATH = "/v1/chat/completions"
_LONGEST_SECONDS = 120.0
"""A request that takes longer hangs."""
_EARLY_SECONDS = 0.4
"""Who leaves early does so within this time: waiting, or not yet read, or just begun."""
_WRONG: tuple[tuple[bytes, int, str], ...] = (
    (b"{", 400, "invalid_body"),
    (b"", 400, "invalid_body"),
    (b"[]", 400, "invalid_body"),
    (b'{"messages": 7}', 400, "invalid_body"),
    (b'{"messages": [{"role": "user", "content": "what is 2*7?"}], "temperature": "hot"}', 400, "invalid_body"),
    (b'{"messages": [{"role": "user", "content": "\xff"}]}', 400, "invalid_body"),
    (b'{"model": "other", "messages": [{"role": "user", "content": "what is 2*7?"}]}', 404, "model_not_found"),
    (b'{"messages": [{"role": "user", "content": "Who was the first king of France?"}]}', 400, "declined"),
)
_MOST_GROWTH_MIB = 24.0
"""Of a process, beyond what it took when it was warm."""


class State(msgspec.Struct, frozen=True):
    """What the processes hold while nothing is asked."""

    server_mib: float
    worker_mib: float
    threads: int
    files: int
    connections: int
    """That are not only listened on."""
    worker_threads: int
    worker_files: int
    processes: int


class Load:
    """Clients of one server, and what became of their requests."""

    def __init__(self, served: Serving, *, seed: int = 1) -> None:
        self._served = served
        self._random = random.Random(seed)
        self.seen: Counter[tuple[Kind, str]] = Counter()
        """How requests ended, by kind."""
        self.wrong: list[str] = []
        """What must not happen, in words."""
        self.kills = 0
        self._orphans: list[psutil.Process] = []
        self.answers = self.errors = self.left = 0
        self.done = 0

    async def run(self, requests: int, *, clients: int, kills: int = 0) -> None:
        """Send `requests` requests from `clients` clients, and kill the worker `kills` times meanwhile."""
        kinds = self._random.choices(list(_OFTEN), list(_OFTEN.values()), k=requests)
        waiting = [(kind, self._random.random(), self._random.randrange(2, 30), i) for i, kind in enumerate(kinds)]
        begun = self.done

        async def client() -> None:
            while waiting:
                kind, chance, left, number = waiting.pop()
                try:
                    outcome = await asyncio.wait_for(self._one(kind, chance, left, number), _LONGEST_SECONDS)
                except TimeoutError:
                    outcome = "hangs"
                    self.wrong.append(f"{kind}: no end after {_LONGEST_SECONDS:g} s")
                except (OSError, h11.RemoteProtocolError, ValueError) as error:
                    outcome = "broken"
                    self.wrong.append(f"{kind}: {error!r}")
                self.seen[kind, outcome] += 1
                self.done += 1

        async def killer() -> None:
            for number in range(kills):
                while self.done - begun < (number + 0.5) * requests / (kills + 1):  # noqa: ASYNC110 - a number is due
                    await asyncio.sleep(0.01)
                await self._kill()

        killing = asyncio.create_task(killer())
        await asyncio.gather(*(client() for _ in range(clients)))
        await killing

    async def _kill(self) -> None:
        """Kill the worker while something is being answered, if that can be had."""
        worker = None
        for _ in range(200):
            worker = self._served.worker()
            if worker is not None and (await self._served.metrics())["requests_running", ""]:
                break
            await asyncio.sleep(0.01)
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                self._orphans += worker.children(recursive=True)
                worker.kill()
                self.kills += 1

    async def _one(self, kind: Kind, chance: float, left: int, number: int) -> str:
        """Do what a client of this kind does; return in words how it ended."""
        right = 2 + number % 11
        body: dict[str, Any] = {"messages": [{"role": "user", "content": f"what is {left}*{right}?"}]}
        match kind:
            case "whole":
                return self._judged(kind, await self._sent(body), left * right)
            case "stream":
                return self._judged(kind, await self._sent({**body, "stream": True}), left * right)
            case "wrong body":
                nonsense, status, code = _WRONG[number % len(_WRONG)]
                return self._refused(kind, await exchange(self._served.port, post(_PATH, nonsense)), status, code)
            case "leaves early":
                request = post(_PATH, json.dumps({**body, "stream": chance < 1 / 2}).encode())
                async with sent(self._served.port, request) as _:
                    await asyncio.sleep(chance * _EARLY_SECONDS)
            case "leaves the stream":
                await self._leave_stream(body, 1 + int(chance * 12))
            case "half a body":
                request = post(_PATH, json.dumps(body).encode())
                async with sent(self._served.port, request[:-20]) as _:
                    await asyncio.sleep(chance * _EARLY_SECONDS)
        self.left += kind != "half a body"
        return "left"

    async def _sent(self, body: dict[str, Any]) -> Answer:
        return await exchange(self._served.port, post(_PATH, json.dumps(body).encode()))

    async def _leave_stream(self, body: dict[str, Any], after: int) -> None:
        chunks = 0
        async with sent(self._served.port, post(_PATH, json.dumps({**body, "stream": True}).encode())) as events:
            async for event in events:
                chunks += isinstance(event, h11.Data)
                if chunks >= after:
                    return

    def _judged(self, kind: Kind, answer: Answer, expected: int) -> str:
        """Say how a request for a sum ended."""
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            if kind == "stream":
                *data, end = events_of(answer.body)
                chunks = [strict_json(each.encode()) for each in data]
                errors = [chunk["error"] for chunk in chunks if "error" in chunk]
                deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
                said = "".join(delta.get("content", "") for delta in deltas)
                if end != "[DONE]":
                    self.wrong.append(f"{kind}: it ends with {end[:100]!r}")
            else:
                errors, said = [], answer.json()["choices"][0]["message"]["content"]
            if not errors:
                return self._checked(kind, said, expected)
        else:
            errors = [answer.json()["error"]]
        self.errors += 1
        code = str(errors[0]["code"])
        if code != "worker_crashed" or not self.kills:
            self.wrong.append(f"{kind}: status {answer.status}, {errors[0]}")
        return code

    def _checked(self, kind: Kind, said: str, expected: int) -> str:
        self.answers += 1
        if f"boxed{{{expected}}}" not in said:
            self.wrong.append(f"{kind}: {said!r} does not say {expected}")
            return "another answer"
        return "answered"

    def _refused(self, kind: Kind, answer: Answer, status: int, code: str) -> str:
        found = answer.json()["error"]["code"]
        self.errors += 1
        if (answer.status, found) == (status, code):
            return "refused"
        if not (found == "worker_crashed" and self.kills):
            self.wrong.append(f"{kind}: {answer.status} {found} where {status} {code} is due")
        return str(found)

    async def state(self) -> State:
        """Wait until the server is idle and see what it holds."""
        await self._served.until_idle()
        await asyncio.sleep(0.5)  # closed connections are forgotten
        process, worker = self._served.process, self._served.worker()
        assert worker is not None
        return State(
            server_mib=process.memory_info().rss / 2**20,
            worker_mib=worker.memory_info().rss / 2**20,
            threads=process.num_threads(),
            files=process.num_fds(),
            connections=sum(each.status != psutil.CONN_LISTEN for each in process.net_connections("tcp")),
            worker_threads=worker.num_threads(),
            worker_files=worker.num_fds(),
            processes=len(process.children(recursive=True)),
        )

    def compare(self, before: State, after: State) -> None:
        """Note what the server holds more of than before, and processes that outlived a killed worker."""
        self.wrong += [f"still there: {process}" for process in self._orphans if process.is_running()]
        for name in ("server_mib", "worker_mib"):
            grown = getattr(after, name) - getattr(before, name)
            if grown > _MOST_GROWTH_MIB:
                self.wrong.append(f"{name} grew by {grown:.1f}")
        for name in ("threads", "files", "connections", "worker_threads", "worker_files", "processes"):
            was, is_ = getattr(before, name), getattr(after, name)
            if is_ > was:
                self.wrong.append(f"{name}: {is_} after {was}")

    async def compare_metrics(self) -> dict[str, float]:
        """Compare the server's counters with what the clients saw, and return them by name."""
        counted = await self._served.until_idle()
        replies = {labels: value for (name, labels), value in counted.items() if name == "requests_total"}
        done = replies.get('finish_reason="done"', 0)
        failed, crashes = counted["request_errors_total", ""], counted["worker_crashes_total", ""]
        # Who left may have had a reply, or an error, on its way.
        for name, value, least, most in (
            ("replies that are done", done, self.answers, self.answers + self.left),
            ("replies of all kinds", sum(replies.values()), self.answers, self.answers + self.left),
            ("errors", failed, self.errors, self.errors + self.left),
            ("crashes", crashes, self.kills, self.kills),
        ):
            if not least <= value <= most:
                self.wrong.append(f"/metrics: {value:g} {name}, where the clients saw {least} to {most}")
        return {"done": done, "replies": sum(replies.values()), "errors": failed, "crashes": crashes}


def measure(setup: Setup) -> list[str]:
    """Load the built-in pair's server; raises GlimpError if anything happened that must not."""
    with serving("--pair", "builtin", "--queue", "100", "--temperature", "0") as served:
        blocks, wrong = asyncio.run(under_load(served, setup.requests))
    if wrong:
        raise GlimpError("\n".join([*blocks, "", *wrong]))
    return blocks


async def under_load(
    served: Serving, requests: int, *, clients: int = 16, kills: int = 3
) -> tuple[list[str], list[str]]:
    """Warm a server up, load it and let it come to rest; return what was seen, and what must not have been."""
    load = Load(served)
    await load.run(max(requests // 4, clients), clients=clients, kills=1)  # warm: also after a crash
    before = await load.state()
    warm, begin = load.done, time.monotonic()
    await load.run(requests, clients=clients, kills=kills)
    seconds = time.monotonic() - begin
    after = await load.state()
    load.compare(before, after)
    counted = await load.compare_metrics()
    rows = [[kind, outcome, f"{count:,}"] for (kind, outcome), count in sorted(load.seen.items())]
    figures = [
        [name.replace("_", " "), f"{getattr(before, name):.4g}", f"{getattr(after, name):.4g}"]
        for name in State.__struct_fields__
    ]
    about = (
        f"{requests:,} requests from {clients} clients in {seconds:.1f} s, after {warm} to warm up; the worker was "
        f"killed {load.kills} times. Every question has an answer of its own, and each client got its own. `/metrics` "
        f"has {counted['done']:.0f} replies that came to their end, of {counted['replies']:.0f}, and "
        f"{counted['errors']:.0f} errors; clients saw {load.answers} and {load.errors}, and {load.left} left."
    )
    return [table(("client", "outcome", "requests"), rows), table(("idle", "warm", "end"), figures), about], load.wrong


assert set(_OFTEN) == set(get_args(Kind))
