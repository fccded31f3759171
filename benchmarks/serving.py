"""`glimp serve` in a process of its own, as its users start it, and what it says of itself."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from benchmarks.raw_http import exchange
from glimp_local.errors import GlimpError

_SECONDS = 120
_METRIC = re.compile(r"^glimp_(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_IDLE_SECONDS = 30.0


class Serving(msgspec.Struct, frozen=True):
    """A server that runs."""

    port: int
    process: psutil.Process
    """The one that speaks HTTP."""

    @property
    def url(self) -> str:
        """The base of OpenAI's endpoints."""
        return f"http://127.0.0.1:{self.port}/v1"

    def worker(self) -> psutil.Process | None:
        """Find the process that computes; None while there is none."""
        with suppress(psutil.NoSuchProcess):
            for child in self.process.children():
                if child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    async def metrics(self) -> dict[tuple[str, str], float]:
        """Read the counters: by name, without the program's, and labels."""
        answer = await exchange(self.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = _METRIC.findall(answer.body.decode())
        return {(name, labels): float(value) for name, labels, value in found}

    async def until_idle(self) -> dict[tuple[str, str], float]:
        """Wait until nothing is asked, and a worker is there; return the counters. Raises TimeoutError."""
        end = time.monotonic() + _IDLE_SECONDS
        while True:
            counted = await self.metrics()
            if not (counted["requests_running", ""] or counted["requests_waiting", ""]) and self.worker() is not None:
                return counted
            if time.monotonic() > end:
                raise TimeoutError(f"the server is still busy after {_IDLE_SECONDS:g} s: {counted}")
            await asyncio.sleep(0.05)


def free_port() -> int:
    """Find a port that nobody listens on, for a server that cannot choose one."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    """Start a server with these flags and stop it in the end; raises GlimpError if it does not begin."""
    command = [sys.executable, "-m", "glimp_local", "serve", "--port", "0", "-q", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "said")
        with said.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=out)  # noqa: S603 - glimp itself
        try:
            yield Serving(_port(process, said), psutil.Process(process.pid))
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGINT)
            process.wait(_SECONDS)


def _port(process: subprocess.Popen[bytes], said: Path) -> int:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        words = said.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"serving http://\S+:(\d+)/v1", words)
        if found and "Ctrl-C stops" in words:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise GlimpError(f"glimp serve did not begin: {said.read_text(encoding='utf-8', errors='replace')[-500:]}")
