"""Any server with OpenAI's text completions: text in, text out. Good enough for a large model, not for a glimpse."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from glimp_local.engines.remote.api import Chunk, Facts, Past, Prompt, Request, within
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.names import choose
from glimp_local.errors import ServerError
from glimp_local.messages import Message, Tool
from glimp_local.settings import SamplingSettings

UNKNOWN_CONTEXT = 8192
"""Tokens of context that a server counts as having which tells nothing of it."""


class _Choice(msgspec.Struct):
    text: str | None = None
    finish_reason: str | None = None


class _Object(msgspec.Struct):
    """What is read of `/v1/completions`' objects."""

    choices: list[_Choice] = []


class OpenAi:
    """A server that speaks OpenAI's completions; see `Api`."""

    name: ClassVar = "openai"
    takes_ids: ClassVar = False
    parses_always: ClassVar = True
    penalises_alike: ClassVar = False

    def __init__(self, client: Client, model: str | None) -> None:
        self.client = client
        self.model = model

    def facts(self, cancel: threading.Event) -> Facts:
        """Ask for the model's name. Some servers tell its context, too."""
        models = self.client.get("/v1/models", cancel=cancel)
        try:
            model = choose(models["data"], self.model, self.client)
            self.model = str(model["id"])
            context = next((int(model[key]) for key in ("max_model_len", "context_length") if model.get(key)), None)
        except (KeyError, TypeError, ValueError) as error:
            raise self.unknown("/v1/models") from error
        return Facts(
            engine="a server with OpenAI's completions",
            model=self.model,
            context=context or UNKNOWN_CONTEXT,
            identity=f"openai:{self.model}",
        )

    def identity(self, cancel: threading.Event) -> str:
        """Ask for the model's name."""
        return self.facts(cancel).identity

    def tokenize(self, text: str, *, control: bool, cancel: threading.Event) -> list[int]:
        """Not known to these servers."""
        raise NotImplementedError

    def shown(self, ids: Sequence[int], cancel: threading.Event) -> str:
        """Not known to these servers."""
        raise NotImplementedError

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], cancel: threading.Event) -> str:
        """Not known to these servers."""
        raise NotImplementedError

    def write(
        self, prompt: Prompt, most: int, sampling: SamplingSettings, *, seed: int, top: int, past: Past
    ) -> Request:
        """Ask for text. What OpenAI does not know of sampling is sent only if it is not off."""
        del top, past
        assert isinstance(prompt, str)
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": most,
            "stream": True,
            "seed": seed % 2**31,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p or 1e-6,  # 0 is refused by some; both keep one token
            "presence_penalty": within(sampling.presence_penalty),
            "frequency_penalty": within(sampling.frequency_penalty),
        }
        if sampling.top_k and sampling.temperature > 0:
            body["top_k"] = sampling.top_k
        if sampling.repeat_penalty != 1.0:
            body["repeat_penalty"] = sampling.repeat_penalty
        if sampling.min_p:
            body["min_p"] = sampling.min_p
        return Request("/v1/completions", body)

    def read(self, prompt: Prompt, *, past: Past) -> Request:
        """Ask that a prompt be read."""
        return self.write(prompt, 1, SamplingSettings(temperature=0), seed=0, top=0, past=past)

    def look(self, prompt: Sequence[int], ascii_token: int) -> Request | None:
        """Not known to these servers."""
        raise NotImplementedError

    def chunk(self, found: Any, written: int) -> Chunk | None:
        """Read an object; a token is counted for each that has text, which is what most servers send."""
        del written
        try:
            seen = msgspec.convert(found, _Object)
        except msgspec.ValidationError as error:
            raise self.unknown("/v1/completions") from error
        if not seen.choices:
            return None
        choice = seen.choices[0]
        stop = choice.finish_reason
        text = choice.text or ""
        return Chunk(text, tokens=bool(text), stop=None if stop is None else "most" if stop == "length" else "end")

    def unknown(self, path: str) -> ServerError:
        """Return the error that a reply is not what it should be."""
        return ServerError(
            f"{self.client.address.place}: its reply to {path} is not that of OpenAI's API",
            hint="is the address right?",
        )
