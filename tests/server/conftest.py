"""`glimp serve` in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import httpx2
import openai
import psutil
import pytest


class Served:
    """A server that was started."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "glimp_local", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.said: list[str] = []
        self._is_ready = threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        assert self._is_ready.wait(60), "".join(self.said)
        found = re.search(r"serving (http\S+)/v1", "".join(self.said))
        assert found is not None, "".join(self.said)
        self.url = found[1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if "Ctrl-C stops" in line:
                self._is_ready.set()
        self._is_ready.set()

    @cached_property
    def client(self) -> openai.OpenAI:
        """OpenAI's own client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0, timeout=60)

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        return httpx2.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", headers=headers, timeout=60)

    @property
    def worker(self) -> psutil.Process:
        """The process that computes."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        if "client" in vars(self):
            self.client.close()
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(30)
        self._listening.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def is_gone(process: psutil.Process) -> bool:
    """Has it ended? Nobody may be there to bury it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


Serve = Callable[..., Served]


@pytest.fixture
def serving(tiny: Path) -> Iterator[Serve]:
    """Start servers of the tiny pair, or of the one that is named."""
    started: list[Served] = []

    def serve(*arguments: str, small: str = "small", large: str = "large") -> Served:
        pair = ("--small", str(tiny / f"{small}.gguf"), "--large", str(tiny / f"{large}.gguf"))
        named = () if "--pair" in arguments else pair
        started.append(Served(*named, "--temperature", "0", "--draft", "off", *arguments))
        return started[-1]

    yield serve
    for served in started:
        served.stop()


@pytest.fixture(scope="module")
def served(tiny: Path) -> Iterator[Served]:
    """The tiny pair, for the tests of one module."""
    pair = ("--small", str(tiny / "small.gguf"), "--large", str(tiny / "large.gguf"))
    server = Served(*pair, "--temperature", "0", "--draft", "off")
    yield server
    server.stop()
