"""A process of its own that loads a pair, solves, and prints what memory it took: `python -m benchmarks.resident`."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

import msgspec
import psutil

from benchmarks.apart import asked_for, tell
from benchmarks.setup import Files, Setup, fresh_session
from glimp_local.engines.llama.backend import engine_of
from glimp_local.events import fold
from glimp_local.pair import Pair

_BUFFER = re.compile(r"(CPU|CPU_Mapped|CPU_REPACK|\w+_Host) +(model|KV|compute|output) buffer size = +([\d.]+) MiB")
_WARM = 20
"""Solves after which everything that is allocated once is there."""


class Asked(msgspec.Struct, frozen=True):
    """What the process is to do: one JSON object on its standard input."""

    setup: Setup
    files: Files
    solves: int


class Resident(msgspec.Struct, frozen=True):
    """What it printed, in bytes."""

    before: int
    """Python and the libraries, before a pair was loaded."""
    files: int
    kv_caches: int
    mapped: int
    """Weights that are pages of the file."""
    weights: int
    """Weights in memory of their own: read, or copied into the order in which this processor computes them fastest."""
    compute: int
    """Buffers of the computation and its outputs."""
    peak: int
    warm: int
    """After the first solves."""
    last: int
    """After the last one."""
    solves: int


class Buffers(logging.Handler):
    """Adds up the buffers in the machine's own memory that llama.cpp says it makes, by what they are for.

    The weights it reads from the mapped file are `mapped`, those in memory of their own are `model`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of llama.cpp's log."""
        if found := _BUFFER.search(record.getMessage()):
            self.bytes["mapped" if found[1] == "CPU_Mapped" else found[2]] += round(float(found[3]) * 2**20)


def main() -> None:
    """Do what is asked and print the result."""
    asked = asked_for(Asked)
    process, buffers, log = psutil.Process(), Buffers(), logging.getLogger("glimp_local.llama")
    log.setLevel(logging.DEBUG)
    log.addHandler(buffers)
    before = process.memory_info().rss
    with asked.setup.open(asked.files, policy="threshold", max_answer=asked.setup.tokens) as pair:
        log.setLevel(logging.CRITICAL)
        sizes, warm = sum(engine_of(backend).path.stat().st_size for backend in pair.backends.values()), 0
        for number in range(asked.solves):
            _solve(asked, pair)
            if number < min(_WARM, asked.solves):
                warm = process.memory_info().rss
        last = process.memory_info().rss
        made = buffers.bytes
        found = Resident(
            before=before,
            files=sizes,
            kv_caches=made["KV"],
            mapped=made["mapped"],
            weights=made["model"],
            compute=made["compute"] + made["output"],
            peak=_peak(last),
            warm=warm,
            last=last,
            solves=asked.solves,
        )
    tell(found)


def _solve(asked: Asked, pair: Pair) -> None:
    fold(fresh_session(pair).ask(asked.files.asked(pair)))


def _peak(now: int) -> int:
    """Give the process's peak; where the system does not tell it, what it holds now."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) * 1024
    return now


if __name__ == "__main__":
    main()
