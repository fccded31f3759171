"""`glimp` as scripts use it, on the tiny models: in this process, or in one of its own where that is what is tested."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import reload
from pathlib import Path
from typing import BinaryIO

import msgspec
from click.testing import CliRunner

from glimp_local.cli import cli
from glimp_local.engines.llama import proof
from glimp_local.paths import user_file

GLIMP = [sys.executable, "-m", "glimp_local"]
QUESTION = "How many steps are there?"
ANSWER = "Answer \\boxed{3}\n"


class Result(msgspec.Struct):
    code: int
    out: str
    err: str


def invoke(*arguments: str | Path, stdin: bytes | BinaryIO = b"", **environment: str) -> Result:
    """Run `glimp` in this process as if it were one of its own.

    Only the parent process that tells of a crash (cli/supervisor.py) is left out. An exception that would end a process
    with a traceback is raised.
    """
    with _as_a_process("glimp", *map(str, arguments), **environment):
        done = CliRunner(catch_exceptions=False).invoke(cli, sys.argv[1:], input=stdin, prog_name="glimp")
    return Result(done.exit_code, done.stdout_bytes.decode(), done.stderr_bytes.decode())


def mine(text: str) -> None:
    """Write the user's models.toml."""
    user_file().parent.mkdir(parents=True)
    user_file().write_text(text)


@contextmanager
def _as_a_process(*arguments: str, **environment: str) -> Iterator[None]:
    """Set what a process has for itself, and put it back: arguments, environment, signals, settings read at import."""
    argv, environ = sys.argv, dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = list(arguments)
    os.environ.update(environment)
    os.environ.setdefault("COLUMNS", "80")  # the terminal that pytest runs in is not the one of the command
    proof.forget()
    read_hub_settings()
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environ)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        read_hub_settings()
        proof.forget()


def read_hub_settings() -> None:
    """Have the hub's library, which reads its variables when it is imported, read them again and reconnect."""
    if "huggingface_hub.constants" in sys.modules:
        from huggingface_hub import close_session, constants  # noqa: PLC0415 - or each run of tests would load it

        reload(constants)
        close_session()


class Glimp:
    """Runs `glimp` on the tiny models: in this process, or `apart` in one of its own."""

    def __init__(self, tiny: Path, *, apart: bool = False) -> None:
        self.tiny = tiny
        self._apart = apart

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Result:
        if not self._apart:
            return invoke(*arguments, stdin=stdin)
        done = subprocess.run([*GLIMP, *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def solve(self, *arguments: str | Path, small: str = "small", large: str = "large", stdin: bytes = b"") -> Result:
        return self("solve", *self.pair(small, large), *arguments, stdin=stdin)

    def pair(self, small: str = "small", large: str = "large") -> list[str]:
        paths = ["--small", str(self.tiny / f"{small}.gguf"), "--large", str(self.tiny / f"{large}.gguf")]
        return [*paths, "--temperature", "0"]

    def patient(self) -> list[str]:
        """Name a pair that writes for seconds, and never the same again."""
        return [*self.pair("patient", "patient"), "--temperature", "1"]

    def endless(self, *arguments: str | Path) -> list[str]:
        """Give a command that writes events for seconds."""
        return [*GLIMP, "solve", *self.patient(), "--text", QUESTION, "--jsonl", *map(str, arguments)]


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], list[bytes]]]:
    """Start a process that writes events, and read them up to the first text."""
    # Without a buffer: `communicate` would lose what is in it.
    with subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[bytes] = []
        while not lines or b'"type":"text"' not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()
        yield process, lines
