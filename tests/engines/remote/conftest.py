"""A real llama-server with each built-in model, and pairs that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from glimp_local import load_pair
from glimp_local.pair import Pair
from tests.conftest import BUILTIN
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay

SETTINGS: dict[str, Any] = {
    "threshold": 0.3,
    "max_thought": 1024,
    "max_answer": 64,
    "context": 2048,
    "sampling": {"temperature": 0},
    "draft": "off",
}
"""The built-in pair's own."""

OpenRemote = Callable[..., Pair]


@pytest.fixture(scope="module")
def large_server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf") as started:
        yield started


@pytest.fixture(scope="module")
def small_server() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "small.gguf") as started:
        yield started


@pytest.fixture
def relay(large_server: LlamaServer) -> Iterator[Relay]:
    with Relay(large_server.url) as between:
        yield between


@pytest.fixture
def open_pair() -> Iterator[OpenRemote]:
    """Load pairs that are closed at the end: the built-in models, unless others are named."""
    with ExitStack() as stack:

        def load(**given: Any) -> Pair:
            settings = {**SETTINGS, **given}
            alone = settings.get("policy")
            for model in ("small", "large"):
                if not {model, f"{model}_url"} & settings.keys() and alone in {None, model, "threshold"}:
                    settings[model] = BUILTIN / f"{model}.gguf"
            return stack.enter_context(load_pair(**settings))

        yield load
