"""llama.cpp's own server: token ids both ways, exact reuse of prefixes, timings of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from glimp_local.engines.remote.api import TOP, Chunk, Facts, Past, Prompt, Request, Timings
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.names import choose
from glimp_local.errors import ServerError
from glimp_local.messages import Message, Tool
from glimp_local.settings import SamplingSettings

_FIGURES = ("n_vocab", "n_params", "size", "ftype")
"""Of a model, which tell it from others."""
_FORCED = 1000.0
"""A bias that lets no other token be drawn; what is shown of the likeliest ones is not touched by it."""
_SAMPLERS = ("penalties", "top_k", "top_p", "min_p", "temperature")
"""Those that our own sampler has, in its order."""


class _Object(msgspec.Struct):
    """What is read of `/completion`'s objects."""

    content: str = ""
    tokens: list[int] = []
    tokens_predicted: int = 0
    stop: bool = False
    stop_type: str = ""
    truncated: bool = False
    timings: dict[str, Any] = {}
    completion_probabilities: list[dict[str, Any]] = []


class LlamaServer:
    """A llama-server; see `Api`.

    `model` is the name of the one meant, if it has several; `shown_tokens` are spellings of control tokens that are
    part of the text.
    """

    name: ClassVar = "llama-server"
    takes_ids: ClassVar = True
    parses_always: ClassVar = False
    penalises_alike: ClassVar = True

    def __init__(self, client: Client, model: str | None) -> None:
        self.client = client
        self._model = model
        self.shown_tokens: list[str] = []

    def facts(self, cancel: threading.Event) -> Facts:
        """Ask for the model's name and figures."""
        props = self.client.get("/props", cancel=cancel)
        models = self.client.get("/v1/models", cancel=cancel)
        try:
            model = choose(models["data"], self._model, self.client)
            self._model = str(model["id"])
            meta = model.get("meta") or {}
            context = int(props["default_generation_settings"]["n_ctx"])
            build = str(props.get("build_info", ""))
            bos = self.client.post("/tokenize", {"content": "", "add_special": True}, cancel=cancel)["tokens"]
            return Facts(
                engine=f"llama-server {build}" if build and not build.startswith("b0-") else "llama-server",
                model=str(model["id"]),
                context=context,
                identity=_identity(model),
                trained_context=int(meta["n_ctx_train"]) if meta.get("n_ctx_train") else None,
                slots=int(props.get("total_slots", 1)),
                vocabulary_size=int(meta["n_vocab"]) if meta.get("n_vocab") else None,
                template=str(props.get("chat_template") or "") or None,
                bos=str(props.get("bos_token", "")) if bos else "",
                eos=str(props.get("eos_token", "")),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._unknown("/props") from error

    def identity(self, cancel: threading.Event) -> str:
        """Ask for the model's name and figures."""
        models = self.client.get("/v1/models", cancel=cancel)
        try:
            return _identity(choose(models["data"], self._model, self.client))
        except (KeyError, IndexError, TypeError) as error:
            raise self._unknown("/v1/models") from error

    def tokenize(self, text: str, *, control: bool, cancel: threading.Event) -> list[int]:
        """Turn text into token ids."""
        body = {"content": text, "add_special": False, "parse_special": control}
        found = self.client.post("/tokenize", body, cancel=cancel)
        try:
            return msgspec.convert(found["tokens"], list[int])
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise self._unknown("/tokenize") from error

    def shown(self, ids: Sequence[int], cancel: threading.Event) -> str:
        """Return the text of tokens."""
        found = self.client.post("/detokenize", {"tokens": list(ids)}, cancel=cancel)
        try:
            return msgspec.convert(found["content"], str)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise self._unknown("/detokenize") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], cancel: threading.Event) -> str:
        """Return a prompt of the server's template."""
        body: dict[str, Any] = {"messages": msgspec.to_builtins(messages)}
        if tools:
            body["tools"] = list(tools)
        found = self.client.post("/apply-template", body, cancel=cancel)
        try:
            return msgspec.convert(found["prompt"], str)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise self._unknown("/apply-template") from error

    def write(
        self, prompt: Prompt, most: int, sampling: SamplingSettings, *, seed: int, top: int, past: Past
    ) -> Request:
        """Ask for text."""
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "n_predict": most,
            "stream": True,
            "return_tokens": True,
            "timings_per_token": True,
            "cache_prompt": past.is_known,
            "preserved_tokens": self.shown_tokens,
            "seed": seed,
            "samplers": _SAMPLERS,
            **drawn_by_llama_cpp(sampling),
        }
        if top:
            body["n_probs"] = top
        return Request("/completion", body)

    def read(self, prompt: Prompt, *, past: Past) -> Request:
        """Ask that a prompt be read. One token is written all the same."""
        body = {
            "model": self._model,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "n_predict": 0,
            "stream": True,
            "timings_per_token": True,
            "cache_prompt": past.is_known,
            "samplers": ["top_k"],
            "top_k": 1,
        }
        return Request("/completion", body)

    def look(self, prompt: Sequence[int], ascii_token: int) -> Request | None:
        """Ask for the likeliest tokens alone.

        A stream has none for a token that is no whole character: so one that is a character is forced.
        """
        path, body = self.write(
            prompt, 1, SamplingSettings(temperature=0), seed=0, top=TOP, past=Past(0, is_known=True)
        )
        return Request(path, {**body, "logit_bias": [[ascii_token, _FORCED]], "samplers": []})

    def chunk(self, found: Any, written: int) -> Chunk | None:
        """Read an object."""
        try:
            seen = msgspec.convert(found, _Object)
            timings = None if not seen.timings else _timings(seen.timings)
            first = seen.completion_probabilities[0] if seen.completion_probabilities else {}
            top = tuple((int(one["id"]), float(one["logprob"])) for one in first.get("top_logprobs", ()))
        except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
            raise self._unknown("/completion") from error
        if seen.stop:
            return Chunk(stop=_stop(seen), timings=timings)
        tokens = max(len(seen.tokens), seen.tokens_predicted - written)
        return Chunk(
            text=seen.content,
            ids=tuple(seen.tokens),
            tokens=tokens,
            top=top if tokens == 1 else (),
            timings=timings,
        )

    def _unknown(self, path: str) -> ServerError:
        return ServerError(
            f"{self.client.address.place}: its reply to {path} is not llama-server's",
            hint="is it a version of 2026? else set api",
        )


def _identity(model: Mapping[str, Any]) -> str:
    meta = model.get("meta") or {}
    return ":".join(["llama-server", str(model["id"]), *(str(meta.get(key, "")) for key in _FIGURES)])


def drawn_by_llama_cpp(sampling: SamplingSettings) -> dict[str, float]:
    """Return how a token is drawn, in the names that llama.cpp's server has, and Ollama with it."""
    return {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": sampling.penalty_tokens,
    }


def _timings(found: dict[str, Any]) -> Timings:
    return Timings(
        read=int(found.get("prompt_n", 0)),
        cached=int(found.get("cache_n", 0)),
        read_seconds=float(found.get("prompt_ms", 0)) / 1000,
        write_seconds=float(found.get("predicted_ms", 0)) / 1000,
    )


def _stop(seen: _Object) -> Literal["end", "most", "full"]:
    if seen.stop_type in {"eos", "word"}:
        return "end"
    return "full" if seen.truncated else "most"
