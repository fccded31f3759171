"""vLLM: token ids both ways, prefixes reused in whole blocks, many requests computed in one batch."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from glimp_local.engines.remote.api import TOP, Chunk, Facts, Past, Prompt, Request, Stop, within
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.names import choose
from glimp_local.errors import ServerError
from glimp_local.messages import Message, Tool
from glimp_local.settings import SamplingSettings

_ID = "token_id:"
_STOPS: dict[str, Stop] = {"stop": "end", "length": "most"}


class _Choice(msgspec.Struct):
    text: str = ""
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Object(msgspec.Struct):
    """What is read of `/v1/completions`' objects."""

    choices: list[_Choice] = []


class Vllm:
    """A vLLM server; see `Api`. `model` is the name of the one meant, if it has several."""

    name: ClassVar = "vllm"
    takes_ids: ClassVar = True
    parses_always: ClassVar = True
    penalises_alike: ClassVar = False

    def __init__(self, client: Client, model: str | None, version: str) -> None:
        self.client = client
        self._model = model
        self._version = version
        self._salt = secrets.token_hex(8)

    def facts(self, cancel: threading.Event) -> Facts:
        """Ask for the model's name and context."""
        models = self.client.get("/v1/models", cancel=cancel)
        try:
            model = choose(models["data"], self._model, self.client)
            self._model = str(model["id"])
            return Facts(
                engine=f"vLLM {self._version}".rstrip(),
                model=self._model,
                context=int(model["max_model_len"]),
                identity=_identity(model),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._unknown("/v1/models") from error

    def identity(self, cancel: threading.Event) -> str:
        """Ask for the model's name."""
        models = self.client.get("/v1/models", cancel=cancel)
        try:
            return _identity(choose(models["data"], self._model, self.client))
        except (KeyError, TypeError) as error:
            raise self._unknown("/v1/models") from error

    def tokenize(self, text: str, *, control: bool, cancel: threading.Event) -> list[int]:
        """Turn text into token ids. vLLM makes control tokens of their spellings always: `text` has none of these."""
        del control
        return self._tokens({"prompt": text, "add_special_tokens": False}, cancel)

    def _tokens(self, body: dict[str, Any], cancel: threading.Event) -> list[int]:
        found = self.client.post("/tokenize", {"model": self._model, **body}, cancel=cancel)
        try:
            return msgspec.convert(found["tokens"], list[int])
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise self._unknown("/tokenize") from error

    def shown(self, ids: Sequence[int], cancel: threading.Event) -> str:
        """Return the text of tokens."""
        found = self.client.post("/detokenize", {"model": self._model, "tokens": list(ids)}, cancel=cancel)
        try:
            return msgspec.convert(found["prompt"], str)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise self._unknown("/detokenize") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], cancel: threading.Event) -> str:
        """Return a prompt of the server's template: it tells no source, but makes tokens of messages."""
        body: dict[str, Any] = {
            "messages": msgspec.to_builtins(messages),
            "add_generation_prompt": True,
            "chat_template_kwargs": {"enable_thinking": True},
        }
        if tools:
            body["tools"] = list(tools)
        return self.shown(self._tokens(body, cancel), cancel)

    def write(
        self, prompt: Prompt, most: int, sampling: SamplingSettings, *, seed: int, top: int, past: Past
    ) -> Request:
        """Ask for text. An era has a part of the prefix cache of its own."""
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "max_tokens": most,
            "stream": True,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "add_special_tokens": False,
            "seed": seed,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k or -1,
            "top_p": sampling.top_p or 1e-6,  # 0 is refused; both keep one token
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repeat_penalty,
            "presence_penalty": within(sampling.presence_penalty),
            "frequency_penalty": within(sampling.frequency_penalty),
        }
        if past.era:
            body["cache_salt"] = f"{self._salt}-{past.era}"
        if top:
            body["logprobs"] = min(top, TOP)
        return Request("/v1/completions", body)

    def read(self, prompt: Prompt, *, past: Past) -> Request:
        """Ask that a prompt be read: no fewer tokens than one can be asked for."""
        return self.write(prompt, 1, SamplingSettings(temperature=0), seed=0, top=0, past=past)

    def look(self, prompt: Sequence[int], ascii_token: int) -> Request | None:
        """Return None: all tokens are shown with their log-probabilities."""
        del prompt, ascii_token
        return None

    def chunk(self, found: Any, written: int) -> Chunk | None:
        """Read an object."""
        del written
        try:
            seen = msgspec.convert(found, _Object)
            if not seen.choices:
                return None
            choice = seen.choices[0]
            tops = (choice.logprobs or {}).get("top_logprobs") or ()
            found = [(int(name.removeprefix(_ID)), float(nats)) for name, nats in (tops[0] if tops else {}).items()]
            top = sorted(found, key=lambda each: each[1], reverse=True)
        except (msgspec.ValidationError, TypeError, ValueError, AttributeError) as error:
            raise self._unknown("/v1/completions") from error
        ids = tuple(choice.token_ids or ())
        if choice.finish_reason == "stop":
            ids = ids[:-1]  # the token that ends the text
        stop = _STOPS.get(choice.finish_reason or "")
        if choice.finish_reason is not None and stop is None:
            raise ServerError(
                f"{self.client.address.place}: vLLM ended the request ({choice.finish_reason})", why="lost"
            )
        return Chunk(choice.text, ids, len(ids), tuple(top[:TOP]), stop)

    def _unknown(self, path: str) -> ServerError:
        return ServerError(f"{self.client.address.place}: its reply to {path} is not vLLM's", hint="set api")


def _identity(model: Mapping[str, Any]) -> str:
    return f"vllm:{model['id']}:{model.get('root') or model['id']}"
