"""A server in a process of its own: it starts, is ready, stops or is killed, and can start again on its port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

_LOG_CHARACTERS = 1500
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.02


class StartError(RuntimeError):
    """A server did not become ready; the message says why, with the end of its log."""


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class ServerProcess:
    """A server on 127.0.0.1, from `with` to the end of its block; see `LlamaServer` and `VllmServer`.

    Everything it starts is of one process group, which dies with it. Each also ends when its standard input does, so
    that none outlives a test run that was killed.
    """

    def __init__(self, *, name: str, port: int, key: str | None, seconds: float) -> None:
        self.name = name
        self.port = port or free_port()
        self.key = key
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="server-")
        self._log = Path(self._folder.name, "log")
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None

    # What a kind of server says.

    def command(self) -> Sequence[str]:
        """Give the command that starts it on its port."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Give the variables its environment has besides ours."""
        return {}

    def models(self) -> int:
        """Ask for the models, which needs the key, and return the status; raises httpx2.TransportError."""
        return self.get("/v1/models", seconds=2).status_code

    # What tests use.

    @property
    def url(self) -> str:
        """Its base, without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it printed, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """Its process; it must be running."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until its model is loaded; raises StartError."""
        assert self._process is None, f"{self.name} is running"
        if _is_taken(self.port):
            raise StartError(f"{self.name} cannot start: port {self.port} of 127.0.0.1 is taken")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment()},
                start_new_session=True,
            )
        end = time.monotonic() + self._seconds
        while not self._is_ready():
            if self._process.poll() is not None:
                status = self.kill()
                raise StartError(f"{self.name} ended with status {status}: {self.log[-_LOG_CHARACTERS:]}")
            if time.monotonic() > end:
                self.kill()
                raise StartError(f"{self.name} is not ready in {self._seconds:g} s: {self.log[-_LOG_CHARACTERS:]}")
            time.sleep(_LOOK_SECONDS)
        return self

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its status; does nothing if it is not running. It may be started again.

        llama-server ends with 0, or with -14 (SIGALRM) after a second in which a client held its stream open.
        """
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Kill it at once with all its processes (SIGKILL), in whatever it is doing; return its status."""
        return self._end(signal.SIGKILL)

    def get(self, path: str, *, seconds: float = 10) -> httpx2.Response:
        return httpx2.get(self.url + path, headers=self._headers(), timeout=seconds, trust_env=False)

    def post(self, path: str, body: object, *, seconds: float = 60) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, headers=self._headers(), timeout=seconds, trust_env=False)

    def tokenize(self, text: str) -> list[int]:
        """Have the server turn a text into ids, special tokens among them where they are spelled."""
        raise NotImplementedError

    def close(self) -> None:
        """Kill it if it runs still, and remove its log."""
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.close()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _is_ready(self) -> bool:
        with suppress(httpx2.TransportError):
            return self.models() == 200
        return False

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None
        with process.stdin, suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        try:
            status = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            status = -1
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if status == -1:
            process.wait()
            raise StartError(f"{self.name} did not stop in {_STOP_SECONDS:g} s: {self.log[-_LOG_CHARACTERS:]}")
        return status


def _is_taken(port: int) -> bool:
    """Find out whether somebody listens; of two servers on one port the other one would answer that it is ready."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def json_of(response: httpx2.Response) -> Any:
    """Read a response's JSON; fails with its text if it is an error."""
    assert response.status_code == 200, response.text
    return response.json()
