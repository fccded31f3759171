"""Where each setting of a pair comes from: the default, or the models.toml that set it last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.models.catalogue import Catalogue


class Setting(msgspec.Struct, frozen=True):
    """One setting as it holds, and where it comes from."""

    key: str
    """Its tables before it, as in `small.options.threads`."""
    value: Any
    """null is: not set."""
    origin: Path | None
    """The models.toml; None for the default."""


def settings(catalogue: Catalogue, pair: str) -> list[Setting]:
    """Give all settings of a pair, in the order of their explanations; a model the pair does without has none."""
    return list(_walk(catalogue.pairs[pair], catalogue.origins[pair], ""))


def _walk(table: msgspec.Struct, origins: Mapping[str, Any], above: str) -> Iterator[Setting]:
    for key in table.__struct_fields__:
        value, origin = getattr(table, key), origins.get(key)
        if isinstance(value, msgspec.Struct):
            yield from _walk(value, origin if isinstance(origin, Mapping) else {}, f"{above}{key}.")
        else:
            yield Setting(above + key, value, origin)
