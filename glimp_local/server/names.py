"""The ids that clients know a pair by: PAIR is routed, PAIR:small and PAIR:large are its models alone.

PAIR:share=0.2 and PAIR:threshold=1.0 are understood too, for clients that can set nothing but a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import isfinite

import msgspec

from glimp_local.routing import Model
from glimp_local.server.bodies import BodyError
from glimp_local.server.wire import Ready
from glimp_local.settings import RunSettings

_LONGEST_SHOWN = 100


def ids_of(pair: str, models: Iterable[Model]) -> list[str]:
    """Name the ids of a pair."""
    return [pair, *(f"{pair}:{model}" for model in sorted(models, reverse=True))]


def listed(ready: Ready) -> list[str]:
    """Name the ids of a pair that is loaded."""
    return ids_of(ready.pair, ready.models)


def is_of(name: str, pair: str) -> bool:
    """Is this an id of a pair, as far as its name tells?"""
    return name == pair or name.startswith(f"{pair}:")


def settings_of(name: str | None, ready: Ready) -> RunSettings:
    """Return the settings that an id asks for; the pair's own without one. Raises UnknownModelError."""
    settings = ready.settings
    if not name or name in {ready.pair, f"{ready.pair}:latest"}:
        return settings
    if not name.startswith(f"{ready.pair}:"):  # which may have a colon of its own
        raise UnknownModelError(name, listed(ready))
    choice = name[len(ready.pair) + 1 :]
    key, equals, value = choice.partition("=")
    if choice in ready.models:
        return msgspec.structs.replace(settings, policy=choice, answer_by=choice)
    if equals and key in {"share", "threshold"}:
        with suppress(ValueError, msgspec.ValidationError):
            if isfinite(number := float(value)):
                return msgspec.convert({**msgspec.structs.asdict(settings), "policy": key, key: number}, RunSettings)
    raise UnknownModelError(name, listed(ready))


class UnknownModelError(BodyError):
    """A model id that is not served."""

    def __init__(self, name: str, served: Sequence[str]) -> None:
        shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
        super().__init__(f"there is no model {shown!r} here: {', '.join(served)} can be asked", param="model")
