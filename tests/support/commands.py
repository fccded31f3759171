"""`glimp` as scripts use it: in a process of its own, on the tiny models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

GLIMP = [sys.executable, "-m", "glimp_local"]
QUESTION = "How many steps are there?"
ANSWER = "Answer \\boxed{3}\n"


class Result(msgspec.Struct):
    code: int
    out: str
    err: str


class Glimp:
    """Runs `glimp` in a process of its own."""

    def __init__(self, tiny: Path) -> None:
        self.tiny = tiny

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Result:
        done = subprocess.run([*GLIMP, *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def solve(self, *arguments: str | Path, small: str = "small", large: str = "large", stdin: bytes = b"") -> Result:
        return self("solve", *self.pair(small, large), *arguments, stdin=stdin)

    def pair(self, small: str = "small", large: str = "large") -> list[str]:
        paths = ["--small", str(self.tiny / f"{small}.gguf"), "--large", str(self.tiny / f"{large}.gguf")]
        return [*paths, "--temperature", "0"]

    def endless(self, *arguments: str | Path) -> list[str]:
        """Give a command that writes events for seconds."""
        return [*GLIMP, "solve", *self.pair("patient", "patient"), "--text", QUESTION, "--jsonl", *map(str, arguments)]


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
