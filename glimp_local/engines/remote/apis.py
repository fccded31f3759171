"""Finding out what a server speaks."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

from glimp_local.engines.remote.api import Api
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.llama_server import LlamaServer
from glimp_local.engines.remote.ollama import Ollama
from glimp_local.engines.remote.openai import OpenAi
from glimp_local.engines.remote.vllm import Vllm
from glimp_local.errors import CancelledError, ServerError
from glimp_local.settings import ServerApi

LOADING_SECONDS = 120.0
"""Longest time to wait for a server that is loading its model."""
_LOOK_SECONDS = 0.5


def find_api(
    client: Client,
    wanted: ServerApi,
    model: str | None,
    cancel: threading.Event,
    *,
    context: int | None = None,
    loading_seconds: float = LOADING_SECONDS,
) -> Api:
    """Return what a server speaks; waits this long while it loads its model. `context` is the one wanted, if any.

    Raises ServerError if it cannot be reached, refuses the key or speaks something else, and CancelledError.
    """
    ready(client, cancel, seconds=loading_seconds)
    if wanted in {"auto", "llama-server"}:
        props = _asked(client, "/props", cancel)
        if isinstance(props, dict) and "default_generation_settings" in props:
            return LlamaServer(client, model)
    if wanted in {"auto", "vllm"}:
        version = _asked(client, "/version", cancel)
        if isinstance(version, dict) and isinstance(version.get("version"), str):
            return Vllm(client, model, version["version"])
    models = _asked(client, "/v1/models", cancel)
    if wanted in {"auto", "openai"} and isinstance(models, dict) and isinstance(models.get("data"), list):
        version = _asked(client, "/api/version", cancel)
        if isinstance(version, dict) and isinstance(version.get("version"), str):
            return Ollama(client, model, version["version"], context)
        return OpenAi(client, model)
    what = "llama-server, vLLM or OpenAI's completions" if wanted == "auto" else wanted
    raise ServerError(
        f"{client.address.place} does not speak {what}", hint="is the address right, without a path behind it?"
    )


def ready(client: Client, cancel: threading.Event, *, seconds: float = LOADING_SECONDS, refused: float = 0.0) -> None:
    """Wait until a server has loaded its model, and `refused` seconds for one that cannot be reached.

    Raises ServerError after that, and CancelledError.
    """
    began = monotonic()
    while True:
        try:
            client.get("/v1/models", cancel=cancel)
        except ServerError as error:
            if error.why == "unknown":
                return  # it answers, if not this: what is asked next shows what it is
            patience = seconds if error.why == "loading" else refused if error.may_pass else 0.0
            if monotonic() - began >= patience:
                raise
        else:
            return
        if cancel.wait(_LOOK_SECONDS):
            raise CancelledError(f"cancelled while waiting for {client.address.place}")


def _asked(client: Client, path: str, cancel: threading.Event) -> Any:
    """Return the JSON at a path; None if the server knows none there."""
    try:
        return client.get(path, cancel=cancel)
    except ServerError as error:
        if error.why != "unknown":
            raise
        return None
