"""The GGUFs of a pair, into memory as the plan says; if memory is short all the same, as a smaller plan says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from glimp_local import crash_notes
from glimp_local.engines.llama import binding, proof, rpc  # binding first: it says what keeps llama.cpp from loading
from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import read_template
from glimp_local.errors import ConfigError, MemoryShortError, ModelUnreadableError, UsageError
from glimp_local.machine.plan import Plan
from glimp_local.machine.planning import make_plan, resolved, smaller_plan
from glimp_local.machine.survey import Machine, survey, with_servers
from glimp_local.models import files
from glimp_local.models.catalogue import override
from glimp_local.models.footprint import Footprint, footprint
from glimp_local.models.gguf.header import read_header
from glimp_local.routing import Model
from glimp_local.settings import ModelSource, PairConfig

OnProgress = Callable[[Model, Path, float], None]
"""Hears the loaded fraction of a model's file, from 0 to 1."""


class Neighbours(Protocol):
    """Other pairs in this machine's memory."""

    @property
    def mapped_bytes(self) -> int:
        """Pages of their files: free to the system, and needed."""
        ...

    def make_room(self) -> bool:
        """Free what the least used of them takes; return whether there was one."""
        ...


_LARGER = 1.5


class FileLoader:
    """Loads the models of one pair. After `load`, `plan` says where they are and `notices` what came up.

    Raises ModelMissingError if a file is missing, before the first is loaded.
    """

    def __init__(
        self,
        name: str,
        config: PairConfig,
        *,
        cancel: threading.Event,
        on_progress: OnProgress | None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._neighbours = neighbours
        self._name = name
        self._config = config
        self._cancel = cancel
        self._on_progress = on_progress
        self.notices: list[str] = []
        self.plan: Plan
        # Both files are found before the first is loaded: what is missing is reported at once.
        self._paths = files.find_all({model: self._source(model) for model in config.local_models}, name)
        self._engines: dict[Model, Engine] = {}

    def load(self, renderer: Renderer) -> dict[Model, LlamaBackend]:
        """Load them; if that fails, nothing stays in memory. Raises what `Engine` and `LlamaBackend` raise."""
        try:
            self._load_planned()
            crash_notes.note("doing", f"at work with {' and '.join(path.name for path in self._paths.values())}")
            backends = self._with_templates(renderer)
            self._check_offload()
            self._warn_of_networks()
        except BaseException:
            self._free()
            raise
        return backends

    def _load_planned(self) -> None:
        proof.settle(self._cancel)
        footprints = {model: footprint(read_header(path)) for model, path in self._paths.items()}
        config = self._config
        machine, self.plan = self._planned(footprints)
        short: MemoryShortError | None = None
        while True:
            try:
                for model, path in self._paths.items():
                    self._engines[model] = self._load_one(model, path)
                break
            except MemoryShortError as error:
                self._free()
                less = smaller_plan(self.plan, footprints, config, machine, error.of)
                if less is None:
                    raise
                self.plan, short = less, error
            except UsageError:
                unrounded = _unrounded(config)
                if unrounded == config or not self.plan.is_rounded:
                    raise
                # It was not asked for, and this model, or this GPU, cannot keep a rounded cache.
                self._free()
                config = unrounded
                self.plan = make_plan(footprints, config, machine)
        if short is not None:
            self.notices.append(f"{short}. So it was loaded with less: {self.plan.line()}")
        else:
            self.notices += self.plan.remarks(self._config)
        if news := proof.take_news():
            self.notices.append(news)
        weights = {model: found.weights_bytes for model, found in footprints.items()}
        if len(weights) > 1 and weights["small"] > _LARGER * weights["large"]:
            self.notices.append("the small model is larger than the large one: are they the wrong way round?")

    def _planned(self, footprints: Mapping[Model, Footprint]) -> tuple[Machine, Plan]:
        """Plan for the memory that is free, and for more of it if others can make room."""
        while True:
            machine, others = with_servers(survey(), self._config), self._neighbours
            if others is not None:
                free = max(0, machine.free_bytes - others.mapped_bytes)
                machine = msgspec.structs.replace(machine, free_bytes=free)
            plan = make_plan(footprints, self._config, machine)
            is_whole = plan.fits and plan.cut(self._config) is None
            if others is None or is_whole or not others.make_room():
                return machine, plan

    def _load_one(self, model: Model, path: Path) -> Engine:
        chosen, hear = self.plan.models[model], self._on_progress
        options = resolved(self._source(model).options, chosen)
        report = None if hear is None else lambda fraction: hear(model, path, fraction)
        crash_notes.note("doing", f"loading {path.name}")
        return Engine(path, options, context=chosen.context, cancel=self._cancel, on_progress=report)

    def _with_templates(self, renderer: Renderer) -> dict[Model, LlamaBackend]:
        own = read_template(self._config)
        try:
            backends = {model: LlamaBackend(engine, renderer, template=own) for model, engine in self._engines.items()}
            for backend in backends.values():
                backend.check()
        except ModelUnreadableError as error:
            if own is None:
                raise
            raise ModelUnreadableError(f"{self._config.chat_template}: {error}", hint=error.hint) from error
        return backends

    def _check_offload(self) -> None:
        """Add a notice if layers were asked onto a GPU that llama.cpp does not see."""
        if binding.gpus_left_alone():
            self.notices.append(
                "llama.cpp crashed on this machine's GPU when it was tried out, so everything is on the CPU; after an "
                "update of its driver, glimp doctor tries again"
            )
            return
        wanted = {model: self._source(model).options.gpu_layers for model in self._engines}
        unplaced = [model for model, chosen in self.plan.models.items() if not chosen.gpu_layers]
        if any(isinstance(layers := wanted[model], int) and layers > 0 for model in unplaced):
            self.notices.append(
                "layers were to go to the GPU, but llama.cpp sees none: everything is on the CPU. If there is one, "
                f"llama-cpp-python was built without it; for NVIDIA rebuild with: {binding.REBUILD_FOR_CUDA}"
            )

    def _warn_of_networks(self) -> None:
        """Add a notice if layers are on a server outside of this machine and of any private network."""
        used = dict.fromkeys(server for chosen in self.plan.models.values() for server in chosen.rpc)
        if public := [server for server in used if rpc.is_public(server)]:
            self.notices.append(
                f"{' and '.join(public)} is reached over the open network: llama.cpp's RPC has no password and no "
                "encryption, so whoever stands between reads and changes what is computed, and whoever finds the port "
                "can take the server's machine over. Use an SSH tunnel or a VPN"
            )

    def _source(self, model: Model) -> ModelSource:
        source = self._config.source(model)
        if source is None:
            raise ConfigError(
                f"{self._name} has no {model} model", hint=f"give one with --{model} PATH, or use --policy"
            )
        return source

    def _free(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()


def _unrounded(config: PairConfig) -> PairConfig:
    """Return the configuration without a cache that may be rounded."""
    automatic = [model for model in config.local_models if config.options(model).cache_type == "auto"]
    return override(config, {model: {"options": {"cache_type": "f16"}} for model in automatic})
