"""From what a user names to a pair in memory. This is the one place that asks where a pair's models are.

A `LoadRequest` is made once (of flags in `cli/flags.py`, or of `load_pair`'s arguments) and handed on as it is; here
it becomes a checked configuration (`configured`) and a pair (`load`). A request can be made, and checked, without
llama.cpp: that is imported when a pair is loaded.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from glimp_local.errors import UsageError
from glimp_local.machine.choice import default_pair, offer, why_none
from glimp_local.models.catalogue import Catalogue, load_catalogue, override
from glimp_local.routing import Model
from glimp_local.settings import ModelSource, PairConfig

if TYPE_CHECKING:
    from glimp_local.engines.renderer import Renderer
    from glimp_local.load_files import Neighbours, OnProgress
    from glimp_local.pair import Pair


class LoadRequest(msgspec.Struct, frozen=True):
    """Which pair to load, and how: by its name, or by its files; without either, the default pair."""

    name: str | None = None
    """A pair of models.toml."""
    small: Path | None = None
    """A GGUF as the small model."""
    large: Path | None = None
    """A GGUF as the large model."""
    models_file: Path | None = None
    """A models.toml in place of the user's."""
    engine_options: dict[Model, dict[str, Any]] = {}
    """For each model, keys of `EngineOptions` that override the pair's."""
    settings: dict[str, Any] = {}
    """Keys of `PairConfig` that override the pair's."""

    @property
    def files(self) -> dict[Model, Path]:
        """The models that are named by their files."""
        files: dict[Model, Path | None] = {"small": self.small, "large": self.large}
        return {model: path for model, path in files.items() if path is not None}

    @property
    def is_default(self) -> bool:
        """Is no pair named?"""
        return not self.name and not self.files

    def named(self, name: str) -> LoadRequest:
        """Return the request for a pair of models.toml, with the same settings."""
        return msgspec.structs.replace(self, name=name, small=None, large=None)

    def changed(self, **settings: Any) -> LoadRequest:
        """Return the request with other settings over its own."""
        return msgspec.structs.replace(self, settings={**self.settings, **settings})


def load(
    request: LoadRequest,
    *,
    cancel: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    renderer: Renderer | None = None,
    neighbours: Neighbours | None = None,
) -> Pair:
    """Load the pair a request is for.

    `cancel` stops the loading with CancelledError; `on_progress` hears how much of each file is loaded. `renderer`, if
    it was started before, renders the chat templates; the pair closes it. `neighbours` are other pairs in memory, which
    may make room. Raises UsageError for an unknown name, ConfigError for a setting or a models.toml that cannot be
    used, and ModelError if a model is missing or unreadable.
    """
    from glimp_local.engines.renderer import Renderer  # noqa: PLC0415 - a request does without
    from glimp_local.load_files import FileLoader  # noqa: PLC0415 - loads llama.cpp, which a request does without
    from glimp_local.pair import Pair  # noqa: PLC0415 - a request does without

    catalogue = load_catalogue(request.models_file)
    name, config = configured(request, catalogue)
    offered = offer(catalogue) if config.only is not None else None
    is_fallback = config.only is not None and request.is_default and not catalogue.default
    fallback = why_none(catalogue) if is_fallback else None
    renderer = renderer or Renderer()  # now: it starts while the models load
    try:
        loader = FileLoader(
            name, config, cancel=cancel or threading.Event(), on_progress=on_progress, neighbours=neighbours
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
    ModelError if a model is missing or unreadable.
    """
    request = LoadRequest(
        name=name,
        small=_path(small),
        large=_path(large),
        models_file=_path(models_file or None),
        engine_options=engine_options or {},
        settings=settings,
    )
    return load(request, cancel=cancel, on_progress=on_progress, renderer=renderer)


def configured(request: LoadRequest, catalogue: Catalogue) -> tuple[str, PairConfig]:
    """Return the name and the configuration of the pair that `load` would load, the request's settings over its own.

    Raises UsageError for a name that is unknown or not alone, and ConfigError for a setting that cannot be used.
    """
    files = request.files
    if not files:
        name = request.name or default_pair(catalogue)
        config = catalogue.pair(name)
    elif request.name is not None:
        raise UsageError("a pair is given by its name or by two paths, not by both")
    else:
        name = " + ".join(path.stem for path in files.values())
        sources = {model: ModelSource(path=str(path)) for model, path in files.items()}
        config = PairConfig(small=sources.get("small"), large=sources.get("large"))
        alone = "large" if request.small is None else "small"
        if len(files) == 1 and request.settings.get("policy") != alone:
            raise UsageError(f"there is only a {alone} model", hint=f"give the other one, too, or the policy {alone!r}")
    given = request.engine_options.items()
    loading = {str(model): {"options": options} for model, options in given if config.source(model) is not None}
    return name, override(config, {**request.settings, **loading})


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
