"""On which servers the models of a pair are, as models.toml and the flags say. Connects to none."""

from __future__ import annotations

from collections.abc import Mapping

from glimp_local.engines.remote.address import address
from glimp_local.errors import UsageError
from glimp_local.routing import MODELS, Model
from glimp_local.settings import ModelSource, PairConfig

_UNUSABLE = "an address that cannot be used"


def place_of(source: ModelSource) -> str:
    """Return host and port of a model's server. No address that cannot be used is shown: it may hold a password."""
    try:
        return address(source.url or "").place
    except UsageError:
        return _UNUSABLE


def places_of(config: PairConfig) -> dict[Model, str]:
    """Return host and port of the servers of a pair's models, of those that its policy needs."""
    return {model: place for model, place in all_places_of(config).items() if model in config.remote_models}


def all_places_of(config: PairConfig) -> dict[Model, str]:
    """Return host and port of the servers of a pair's models, whatever its policy."""
    sources = {model: source for model in MODELS if (source := config.source(model)) is not None}
    return {model: place_of(source) for model, source in sources.items() if source.url is not None}


def problem_of(config: PairConfig) -> str | None:
    """Return what is wrong with the address of a server; None if nothing is."""
    for model in config.remote_models:
        source = config.source(model)
        try:
            address(source.url or "" if source is not None else "")
        except UsageError as error:
            return f"the {model} model: {error} ({error.hint})"
    return None


def in_words(places: Mapping[Model, str], *, alone: bool = False) -> str:
    """Return which models are where: "large on box:8000", or "on box:8000" for all of a pair (`alone`)."""
    if alone and len(set(places.values())) == 1:
        return f"on {next(iter(places.values()))}"
    return ", ".join(f"{model} on {place}" for model, place in places.items())
