"""The models of a pair that are on servers: connections, made before this machine loads anything of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from glimp_local.engines.protocol import Backend
from glimp_local.engines.remote.address import warning
from glimp_local.engines.remote.backend import RemoteBackend
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.routing import Model
from glimp_local.settings import PairConfig


class ServerLoader:
    """Connects to the servers of one pair. After `settle`, `notices` says what came up.

    Raises ServerError if one cannot be used, ConfigError for a setting that cannot be used, and CancelledError.
    """

    def __init__(self, config: PairConfig, cancel: threading.Event) -> None:
        self._config = config
        self._cancel = cancel
        self.notices: list[str] = []
        self.backends: dict[Model, RemoteBackend] = {}
        context = config.context if isinstance(config.context, int) and config.context else None
        try:
            for model in config.models:
                source = config.source(model)
                if source is not None and source.url is not None:
                    self.backends[model] = RemoteBackend(source, context=context, cancel=cancel)
        except BaseException:
            self.close()
            raise

    def settle(
        self,
        backends: Mapping[Model, Backend],
        renderer: Renderer,
        template: str | None,
        templates: Mapping[Model, ChatTemplate],
    ) -> None:
        """Find out how the models work together, all of which are given.

        `template` is the pair's own in place of the models'; `templates` are those of models on this machine.
        """
        for model, backend in self.backends.items():
            other = next((one.vocabulary for name, one in backends.items() if name != model), None)
            spare = next(iter(templates.values()), None)
            self.notices += backend.settle(renderer, other, self._cancel, template=template, spare=spare)
            if self._config.sampling.penalises and not backend.api.penalises_alike:
                self.notices.append(
                    f"{backend.place} counts penalties in its own way: over a step, or over all of the text, and "
                    "penalty_tokens is not known there"
                )
            if said := warning(backend.address):
                self.notices.append(said)

    def close(self) -> None:
        """End all connections."""
        for backend in self.backends.values():
            backend.close()
