"""A pair, from its name or its files to both models in memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.engines.renderer import Renderer
from glimp_local.errors import UsageError
from glimp_local.load_files import FileLoader, OnProgress
from glimp_local.machine.choice import default_pair, offer, why_none
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.settings import Catalogue, ModelSource, PairConfig, check_settings, load_catalogue, merge


def load_pair(
    name: str | None = None,
    *,
    small: str | Path | None = None,
    large: str | Path | None = None,
    models_file: str | Path | None = None,
    cancel: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    engine_options: dict[Model, dict[str, Any]] | None = None,
    renderer: Renderer | None = None,
    **settings: Any,
) -> Pair:
    """Load a pair: one of models.toml by its name (the default one without), or any two GGUFs by their paths.

    `settings` override keys of the pair: policy, threshold, share, sampling, max_thought and so on (`PairConfig`);
    `engine_options` override how each model is loaded (`EngineOptions`). `renderer`, if it was started before, renders
    the chat templates; the pair closes it.
    Raises UsageError for an unknown name, ConfigError for a setting or a models.toml that cannot be used, and
    ModelError where a model is missing or unreadable.
    """
    catalogue = load_catalogue(Path(models_file) if models_file else None)
    is_named = name is not None or small is not None or large is not None or bool(catalogue.default)
    name, config = configured(
        name, small=small, large=large, catalogue=catalogue, engine_options=engine_options, settings=settings
    )
    offered = offer(catalogue) if config.only is not None else None
    fallback = why_none(catalogue) if config.only is not None and not is_named else None
    renderer = renderer or Renderer()  # now: it starts while the models load
    try:
        loader = FileLoader(
            name, config, cancel=cancel or threading.Event(), on_progress=on_progress, unrounded=_unrounded
        )
        backends = loader.load(renderer)
    except BaseException:
        renderer.close()
        raise
    return Pair(
        name,
        config,
        backends,
        plan=loader.plan,
        notices=loader.notices,
        offer=offered,
        fallback=fallback,
        closing=[renderer.close],
    )


def configured(
    name: str | None,
    *,
    small: str | Path | None,
    large: str | Path | None,
    catalogue: Catalogue,
    engine_options: dict[Model, dict[str, Any]] | None,
    settings: dict[str, Any],
) -> tuple[str, PairConfig]:
    """Find the pair that `load_pair` would load with the same arguments, and lay its settings over it."""
    if small is None and large is None:
        name = name or default_pair(catalogue)
        config = catalogue.pair(name)
    elif name is not None:
        raise UsageError("a pair is given by its name or by two paths, not by both")
    else:
        name = " + ".join(Path(path).stem for path in (small, large) if path is not None)
        config = PairConfig(small=_local(small), large=_local(large))
        alone = "large" if small is None else "small"
        if (small is None or large is None) and settings.get("policy") != alone:
            raise UsageError(f"there is only a {alone} model", hint=f"give the other one, too, or the policy {alone!r}")
    given = (engine_options or {}).items()
    loading = {str(model): {"options": options} for model, options in given if config.source(model) is not None}
    return name, override(config, {**settings, **loading})


def override(config: PairConfig, settings: dict[str, Any]) -> PairConfig:
    """Give the configuration with some keys changed, checked like models.toml; raises ConfigError."""
    return check_settings(merge(msgspec.to_builtins(config), msgspec.to_builtins(settings)))


def _unrounded(config: PairConfig) -> PairConfig:
    """Give the configuration without a cache that may be rounded."""
    automatic = [model for model in config.models if config.options(model).cache_type == "auto"]
    return override(config, {model: {"options": {"cache_type": "f16"}} for model in automatic})


def _local(path: str | Path | None) -> ModelSource | None:
    return None if path is None else ModelSource(path=str(path))
