"""A pair of models in memory: loaded, compared, ready for a session."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from glimp_local import crash_notes
from glimp_local.engines import domain
from glimp_local.engines.llama import proof
from glimp_local.engines.llama.binding import REBUILD_FOR_CUDA, gpus_left_alone
from glimp_local.engines.llama.drafting import PRIORS
from glimp_local.engines.llama.economy import Economy
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.engines.renderer import Renderer
from glimp_local.errors import ConfigError, MemoryShortError, ModelUnreadableError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.machine.choice import Offer
from glimp_local.machine.planning import make_plan, resolved, smaller_plan
from glimp_local.machine.survey import survey
from glimp_local.models import files as model_files
from glimp_local.models.catalogue import override
from glimp_local.models.footprint import footprint
from glimp_local.models.gguf.header import read_header
from glimp_local.models.markers import find_markers
from glimp_local.records.entropies import EntropyHistory
from glimp_local.routing import MODELS, Alone, Model, Policy, Random, Share, Speculative, Threshold
from glimp_local.settings import ModelSource, PairConfig, ThinkingMarkers

OnProgress = Callable[[Model, Path, float], None]
"""Hears the loaded fraction of a model's file, from 0 to 1."""


_LARGER = 1.5
_MOST_TEMPLATE_BYTES = 1_000_000
"""Of a chat template: the longest ones known take 30 kB."""


class Pair:
    """The engines of one pair and what joins them. A context manager: leaving it frees both models.

    Under the policies `small` and `large` only that model is loaded.
    """

    def __init__(
        self,
        name: str,
        config: PairConfig,
        *,
        cancel: threading.Event | None = None,
        on_progress: OnProgress | None = None,
        offer: Offer | None = None,
        fallback: str | None = None,
        renderer: Renderer | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.fallback = fallback
        """Why it is used though it is narrow and nobody named it; None where it is not so."""
        self.offer = offer
        """A pair to offer to somebody whose question this one is not for."""
        self.cancel = cancel or threading.Event()
        self.engines: dict[Model, Engine] = {}
        self.economies: dict[Model, Economy] = {model: Economy(PRIORS) for model in MODELS}
        """What drafting has cost each model, and brought: what a session learns, the next one knows."""
        self.prompts: dict[Model, PromptBuilder] = {}
        self.notices: list[str] = []
        self.closed = False
        # Both files are found before the first is loaded: what is missing is said at once.
        paths = model_files.find_all({model: _source(name, config, model) for model in config.models}, name)
        self._renderer = renderer or Renderer()  # now: it starts while the models load
        self._renderer.cancel = self.cancel
        try:
            self._load_planned(paths, on_progress)
            crash_notes.note("doing", f"at work with {' and '.join(path.name for path in paths.values())}")
            self._join()
            self._check_offload()
            self.reads_along = self._may_read_along()
            """Does each model read what the other one writes at once, and not when its turn comes?"""
        except BaseException:
            self.close()
            raise

    def _load_planned(self, paths: dict[Model, Path], on_progress: OnProgress | None) -> None:
        """Load the models as the plan says; where memory is short all the same, as a smaller one does."""
        proof.settle(self.cancel)
        footprints = {model: footprint(read_header(path)) for model, path in paths.items()}
        machine, config = survey(), self.config
        self.plan = make_plan(footprints, config, machine)
        """Where the models are: layers, context, memory."""
        short: MemoryShortError | None = None
        while True:
            try:
                for model, path in paths.items():
                    self.engines[model] = self._load(model, path, on_progress)
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
            self.notices += self.plan.remarks(self.config)
        if news := proof.take_news():
            self.notices.append(news)
        weights = {model: found.weights_bytes for model, found in footprints.items()}
        if len(weights) > 1 and weights["small"] > _LARGER * weights["large"]:
            self.notices.append("the small model is larger than the large one: are they the wrong way round?")

    def _load(self, model: Model, path: Path, on_progress: OnProgress | None) -> Engine:
        chosen = self.plan.models[model]
        options = resolved(_source(self.name, self.config, model).options, chosen)
        report = None if on_progress is None else lambda fraction: on_progress(model, path, fraction)
        crash_notes.note("doing", f"loading {path.name}")
        return Engine(path, options, context=chosen.context, cancel=self.cancel, on_progress=report)

    def _join(self) -> None:
        own = self._own_template()
        try:
            self._build_prompts(own)
        except ModelUnreadableError as error:
            if own is None:
                raise
            raise ModelUnreadableError(f"{self.config.chat_template}: {error}", hint=error.hint) from error
        self.shares_vocabulary = True
        if len(self.engines) > 1:
            difference = self.engines["small"].vocabulary.difference(self.engines["large"].vocabulary)
            if difference is not None:
                self.shares_vocabulary = False
                self.notices.append(
                    f"the two models are not of one vocabulary ({difference}): steps are handed over as text, and "
                    "pairs of one family work better together"
                )

    def _build_prompts(self, template: str | None) -> None:
        templates = {model: engine.template(self._renderer, template) for model, engine in self.engines.items()}
        self.markers = self._choose_markers({model: find_markers(found.source) for model, found in templates.items()})
        for model, engine in self.engines.items():
            self.prompts[model] = PromptBuilder(templates[model], engine.vocabulary, self.markers)
            # A template that cannot take a question is known now, not when one is asked.
            self.prompts[model].prompt([{"role": "user", "content": "?"}])

    def _check_offload(self) -> None:
        """Say it where layers were asked onto a GPU that llama.cpp does not see."""
        if gpus_left_alone():
            self.notices.append(
                "llama.cpp crashed on this machine's GPU when it was tried out, so everything is on the CPU; after an "
                "update of its driver, glimp doctor tries again"
            )
            return
        sources = (_source(self.name, self.config, model) for model in self.engines)
        wanted = [source.options.gpu_layers for source in sources]
        if any(isinstance(layers, int) and layers > 0 for layers in wanted) and not self.plan.gpus:
            self.notices.append(
                "layers were to go to the GPU, but llama.cpp sees none: everything is on the CPU. If there is one, "
                f"llama-cpp-python was built without it; for NVIDIA rebuild with: {REBUILD_FOR_CUDA}"
            )

    def objection(self, question: str) -> str | None:
        """Say it, and what to do, where a question is not, or hardly, of the one kind the pair was made for."""
        if self.config.only is None:
            return None
        reason = domain.objection(question, next(iter(self.engines.values())).vocabulary)
        if reason is None:
            return None
        message = f"the pair {self.name!r} can do {self.config.only} and nothing else, and {reason}"
        return message if self.offer is None else f"{message}. One that reasons about anything: {self.offer}"

    def _own_template(self) -> str | None:
        if self.config.chat_template is None:
            return None
        try:
            path = Path(self.config.chat_template)
            return read_limited(path, _MOST_TEMPLATE_BYTES, str(path), hint="name a Jinja file").decode("utf-8-sig")
        except OSError as error:
            raise ConfigError(f"{self.config.chat_template} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.config.chat_template} is not UTF-8 text") from error

    def _choose_markers(self, found: dict[Model, ThinkingMarkers | None]) -> ThinkingMarkers | None:
        if isinstance(self.config.thinking, ThinkingMarkers):
            return self.config.thinking
        if self.config.thinking == "none":
            return None
        chosen = found.get("large") or found.get("small")
        if chosen is not None and any(markers != chosen for markers in found.values()):
            self.notices.append(
                f"only one of the two chat templates marks its thought with {chosen.close}: the other model is shown "
                "the markers as text"
            )
        return chosen

    def _may_read_along(self) -> bool:
        if self.config.catch_up != "auto":
            return self.config.catch_up == "eager"
        devices = [engine.devices for engine in self.engines.values()]
        return len(devices) == len(MODELS) and devices[0].isdisjoint(devices[1])

    @property
    def history(self) -> EntropyHistory | None:
        """The entropies this pair has shown; None where only one model is loaded."""
        if len(self.engines) < len(MODELS):
            return None
        paths = self.engines["small"].path, self.engines["large"].path
        return EntropyHistory(*paths, top_k=self.config.top_k, task=self.config.task)

    def policy(self, seed: int) -> Policy:
        """Make the policy the configuration asks for."""
        config = self.config
        match config.policy:
            case "threshold":
                return Threshold(config.threshold)
            case "share":
                seen = self.history.read() if self.history else []
                return Share(config.share, threshold_nats=config.threshold, history=seen)
            case "random":
                return Random(config.share, seed)
            case "small" | "large":
                return Alone(config.policy)
            case "speculative":
                return Speculative()

    def empty_caches(self) -> None:
        """Let both models forget all they have read: what comes next owes nothing to what was before."""
        for engine in self.engines.values():
            engine.rewind(0)

    def close(self) -> None:
        """Free both models. Safe to call twice."""
        self.closed = True
        self._renderer.close()
        self._free()

    def _free(self) -> None:
        for engine in self.engines.values():
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unrounded(config: PairConfig) -> PairConfig:
    """Give the configuration without a cache that may be rounded."""
    automatic = [model for model in config.models if config.options(model).cache_type == "auto"]
    return override(config, {model: {"options": {"cache_type": "f16"}} for model in automatic})


def _source(name: str, config: PairConfig, model: Model) -> ModelSource:
    source = config.source(model)
    if source is None:
        raise ConfigError(f"{name} has no {model} model", hint=f"give one with --{model} PATH, or use --policy")
    return source
