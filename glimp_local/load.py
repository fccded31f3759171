"""From what a user names to a pair in memory. This is the one place that asks where a pair's models are.

A `LoadRequest` is made once (of flags in `cli/flags.py`, or of `load_pair`'s arguments) and handed on as it is; here
it becomes a checked configuration (`configured`) and a pair (`load`). A request can be made, and checked, without
llama.cpp: that is imported when a pair is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from glimp_local.errors import UsageError
from glimp_local.machine.choice import default_pair, offer, why_none
from glimp_local.models.catalogue import Catalogue, load_catalogue, override
from glimp_local.routing import MODELS, Model
from glimp_local.settings import SERVER_TOP_K, ModelSource, PairConfig

if TYPE_CHECKING:
    from glimp_local.engines.protocol import Backend
    from glimp_local.engines.renderer import Renderer
    from glimp_local.engines.template import ChatTemplate
    from glimp_local.load_files import Neighbours, OnProgress
    from glimp_local.load_servers import ServerLoader
    from glimp_local.machine.plan import Plan
    from glimp_local.pair import Pair


class LoadRequest(msgspec.Struct, frozen=True):
    """Which pair to load, and how: by its name, or by its files; without either, the default pair."""

    name: str | None = None
    """A pair of models.toml."""
    small: Path | None = None
    """A GGUF as the small model."""
    large: Path | None = None
    """A GGUF as the large model."""
    small_url: str | None = None
    """A server with the small model, in the place of a pair's own or beside the other model's file."""
    large_url: str | None = None
    """A server with the large model."""
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
    def urls(self) -> dict[Model, str]:
        """The models that are named by their servers."""
        urls: dict[Model, str | None] = {"small": self.small_url, "large": self.large_url}
        return {model: url for model, url in urls.items() if url is not None}

    @property
    def is_default(self) -> bool:
        """Is no pair named?"""
        return not (self.name or self.files or self.urls)

    def named(self, name: str) -> LoadRequest:
        """Return the request for a pair of models.toml, with the same settings."""
        return msgspec.structs.replace(self, name=name, small=None, large=None, small_url=None, large_url=None)

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
    from glimp_local.engines.template import read_template  # noqa: PLC0415 - a request does without
    from glimp_local.pair import Pair  # noqa: PLC0415 - a request does without

    catalogue = load_catalogue(request.models_file)
    name, config = configured(request, catalogue)
    offered = offer(catalogue) if config.only is not None else None
    is_fallback = config.only is not None and request.is_default and not catalogue.default
    fallback = why_none(catalogue) if is_fallback else None
    renderer = renderer or Renderer()  # now: it starts while the models load
    cancel = cancel or threading.Event()
    backends: dict[Model, Backend] = {}
    notices: list[str] = []
    templates: dict[Model, ChatTemplate] = {}
    plan: Plan | None = None
    servers: ServerLoader | None = None
    try:
        if config.remote_models:
            from glimp_local.load_servers import ServerLoader  # noqa: PLC0415 - a pair of files does without

            servers = ServerLoader(config, cancel)  # at first: a server that is down is reported at once
            backends |= servers.backends
        if config.local_models:
            from glimp_local.load_files import FileLoader  # noqa: PLC0415 - loads llama.cpp, which servers do without

            loader = FileLoader(name, config, cancel=cancel, on_progress=on_progress, neighbours=neighbours)
            loaded = loader.load(renderer)
            backends.update(cast("Mapping[Model, Backend]", loaded))
            templates = {model: backend.template for model, backend in loaded.items()}
            plan, notices = loader.plan, loader.notices
        if servers is not None:
            servers.settle(backends, renderer, read_template(config), templates)
            notices += servers.notices
        return Pair(
            name,
            config,
            {model: backends[model] for model in config.models},
            plan=plan,
            notices=notices,
            offer=offered,
            fallback=fallback,
            closing=[renderer.close],
        )
    except BaseException:
        for backend in backends.values():
            backend.close()
        renderer.close()
        raise


def load_pair(
    name: str | None = None,
    *,
    small: str | Path | None = None,
    large: str | Path | None = None,
    small_url: str | None = None,
    large_url: str | None = None,
    models_file: str | Path | None = None,
    cancel: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    engine_options: dict[Model, dict[str, Any]] | None = None,
    renderer: Renderer | None = None,
    **settings: Any,
) -> Pair:
    """Load a pair: one of models.toml by its name (the default one without), or any two models.

    A model is a GGUF (`small`, `large`) or on an inference server (`small_url`, `large_url`), which can also take the
    place of a named pair's own.

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
        small_url=small_url,
        large_url=large_url,
        models_file=_path(models_file or None),
        engine_options=engine_options or {},
        settings=settings,
    )
    return load(request, cancel=cancel, on_progress=on_progress, renderer=renderer)


def configured(request: LoadRequest, catalogue: Catalogue) -> tuple[str, PairConfig]:
    """Return the name and the configuration of the pair that `load` would load, the request's settings over its own.

    Raises UsageError for a name that is unknown or not alone, and ConfigError for a setting that cannot be used.
    """
    files, urls = request.files, request.urls
    if both := files.keys() & urls.keys():
        raise UsageError(f"the {min(both)} model is given by a file and by a server", hint="leave one of the two out")
    if files and request.name is not None:
        raise UsageError("a pair is given by its name or by two paths, not by both")
    if request.name is not None or not (files or urls):
        name = request.name or default_pair(catalogue)
        config = catalogue.pair(name)
        if urls:
            config = override(config, {model: _elsewhere(config.source(model), url) for model, url in urls.items()})
    else:
        sources = {model: ModelSource(path=str(path)) for model, path in files.items()}
        sources |= {model: ModelSource(url=url) for model, url in urls.items()}
        given_by = {model: files[model].stem if model in files else urls[model] for model in sources}
        name = " + ".join(given_by[model] for model in MODELS if model in given_by)
        config = PairConfig(small=sources.get("small"), large=sources.get("large"))
        alone = "large" if config.small is None else "small"
        if len(sources) == 1 and request.settings.get("policy") != alone:
            raise UsageError(f"there is only a {alone} model", hint=f"give the other one, too, or the policy {alone!r}")
    given = request.engine_options.items()
    loading = {str(model): {"options": options} for model, options in given if config.source(model) is not None}
    config = override(config, {**request.settings, **loading})
    if "small" in config.remote_models and config.top_k is None:
        config = override(config, {"top_k": SERVER_TOP_K})  # a server shows no more of a distribution
    return name, config


def _elsewhere(source: ModelSource | None, url: str) -> dict[str, Any]:
    """Return the settings of a model that another server has: the key of the one before is not for it."""
    if source is None or source.url is None or urlsplit(source.url).netloc == urlsplit(url).netloc:
        return {"url": url}
    return {"url": url, "model": None, "api": "auto", "key_env": None, "key_file": None}


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
