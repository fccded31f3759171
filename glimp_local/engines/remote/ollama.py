"""Ollama, by its own interface: what it has of OpenAI's puts each prompt into the model's chat template once more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from glimp_local.engines.remote.api import Chunk, Facts, Past, Prompt, Request, Timings
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.llama_server import drawn_by_llama_cpp
from glimp_local.engines.remote.openai import UNKNOWN_CONTEXT, OpenAi
from glimp_local.settings import SamplingSettings

_NANOSECONDS = 1e9


class _Object(msgspec.Struct):
    """What is read of `/api/generate`'s objects; durations in nanoseconds."""

    response: str = ""
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0


class Ollama(OpenAi):
    """An Ollama; see `Api`. `context` is the length it is asked for with each request; it would cut a longer prompt."""

    name: ClassVar = "ollama"
    penalises_alike: ClassVar = True

    def __init__(self, client: Client, model: str | None, version: str, context: int | None) -> None:
        super().__init__(client, model)
        self._version = version
        self._context = context or UNKNOWN_CONTEXT

    def facts(self, cancel: threading.Event) -> Facts:
        """Ask for the model's name."""
        found = super().facts(cancel)
        return msgspec.structs.replace(
            found, engine=f"Ollama {self._version}", context=self._context, identity=f"ollama:{found.model}"
        )

    def write(
        self, prompt: Prompt, most: int, sampling: SamplingSettings, *, seed: int, top: int, past: Past
    ) -> Request:
        """Ask for text."""
        del top, past
        options = {
            "num_ctx": self._context,
            "num_predict": most,
            "seed": seed,
            **drawn_by_llama_cpp(sampling),
        }
        body = {"model": self.model, "prompt": prompt, "raw": True, "stream": True, "options": options}
        return Request("/api/generate", body)

    def read(self, prompt: Sequence[int] | str, *, past: Past) -> Request:
        """Ask that a prompt be read."""
        return self.write(prompt, 1, SamplingSettings(temperature=0), seed=0, top=0, past=past)

    def chunk(self, found: Any, written: int) -> Chunk | None:
        """Read an object: a token each, and the server's own account in the last one."""
        del written
        try:
            seen = msgspec.convert(found, _Object)
        except msgspec.ValidationError as error:
            raise self.unknown("/api/generate") from error
        if not seen.done:
            return Chunk(seen.response, tokens=bool(seen.response))
        timings = Timings(
            read=seen.prompt_eval_count,
            cached=0,
            read_seconds=seen.prompt_eval_duration / _NANOSECONDS,
            write_seconds=seen.eval_duration / _NANOSECONDS,
        )
        return Chunk(
            seen.response,
            tokens=bool(seen.response),
            stop="most" if seen.done_reason == "length" else "end",
            timings=timings,
        )
