"""Which of a server's models is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glimp_local.engines.remote.client import Client
from glimp_local.errors import ServerError
from glimp_local.models.checking import did_you_mean
from glimp_local.text import one_line

_MOST_SHOWN = 20


def choose(models: Sequence[Mapping[str, Any]], wanted: str | None, client: Client) -> Mapping[str, Any]:
    """Return the model of this name; without one the only model. Raises ServerError if it cannot be told."""
    names = [one_line(str(model["id"])) for model in models]
    shown = ", ".join(names[:_MOST_SHOWN]) or "none"
    if wanted is not None:
        if wanted in names:
            return models[names.index(wanted)]
        close = did_you_mean(wanted, names)
        raise ServerError(
            f"{client.address.place} serves no model {wanted!r}{close}", hint=f"it serves: {shown}", why="changed"
        )
    if len(models) == 1:
        return models[0]
    raise ServerError(f"{client.address.place} serves {len(models)} models", hint=f"set model to one of: {shown}")
