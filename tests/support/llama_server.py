"""The real llama-server, as PyPI's `xllamacpp` holds it, in a process of its own on 127.0.0.1.

Facts that tests need: it closes a connection after each streamed reply; it looks whether a client is gone after each
batch of the prompt (`batch`) and each token; /slots, too, is answered only then; `n_predict: 0` writes one token.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.server_process import ServerProcess, json_of

ROOT = Path(__file__).parents[2]


class LlamaServer(ServerProcess):
    """A llama-server with a model; a context manager."""

    def __init__(
        self,
        model: Path,
        *,
        context: int = 2048,
        parallel: int = 1,
        threads: int = 1,
        api_key: str | None = None,
        port: int = 0,
        batch: int = 512,
        alias: str | None = None,
    ) -> None:
        super().__init__(name="llama-server", port=port, key=api_key, seconds=60)
        self.model = model
        """May be another one for the next start."""
        self.alias = alias
        self._numbers = {"context": context, "parallel": parallel, "threads": threads, "batch": batch}

    def command(self) -> Sequence[str]:
        numbers = [part for name, number in self._numbers.items() for part in (f"--{name}", str(number))]
        key = ["--api-key", self.key] if self.key else []
        alias = ["--alias", self.alias] if self.alias else []
        program = [sys.executable, str(ROOT / "benchmarks" / "llama_server.py"), str(self.model)]
        return [*program, "--port", str(self.port), *numbers, *key, *alias]

    def slots(self) -> list[dict[str, Any]]:
        """Ask what each slot does: `id`, `n_ctx`, `is_processing`, and more while it works."""
        found: list[dict[str, Any]] = json_of(self.get("/slots"))
        return found

    def is_idle(self) -> bool:
        """Does no slot work?"""
        return not any(slot["is_processing"] for slot in self.slots())

    def seconds_until_idle(self, most: float = 10) -> float:
        """Wait until no slot works and return how long that took; raises TimeoutError."""
        began = time.monotonic()
        while not self.is_idle():
            if time.monotonic() - began > most:
                raise TimeoutError(f"a slot still works after {most:g} s")
            time.sleep(0.01)
        return time.monotonic() - began

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = json_of(self.post("/tokenize", {"content": text}))["tokens"]
        return ids
