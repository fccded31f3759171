"""How the two models of a pair share the memory of a machine, so that both fit together.

Pure arithmetic on what `memory.py` counts and `machine.py` finds; loads nothing. What the user has set is kept as it
is, fit or not; what is "auto" is chosen here. In this order: everything on the GPUs, with the whole context, then with
a rounded cache, then with less context; else as many layers as fit, those of the model first that most passes go
through, and the rest on the CPU.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import msgspec

from glimp_local.config import EngineOptions, PairConfig
from glimp_local.machine import Gpu, Machine
from glimp_local.memory import FLOAT, CacheType, Footprint, Layer, ubatch_of
from glimp_local.plan import CONTEXT, CPU, ModelPlan, Part, Plan, Room
from glimp_local.routing import Model

CONTEXTS = (CONTEXT, 12288, 8192, 6144, 4096)
"""What it is cut to where there is not."""
WORTH_A_CUT = 8192
"""The context is cut down to this so that all layers are on the GPU, and further only so that the pair fits at all."""
_BATCH_GPU, _BATCH_CPU = 512, 128
_KEPT_FREE = 0.05
"""Part of a device's free memory that is left alone, for whatever else the machine does,..."""
_MOST_KEPT_FREE = 2**30
"""...but no more than this."""
_GPU_OVERHEAD = 300 * 2**20
"""What a GPU's own libraries take for a process, beside what llama.cpp asks for."""
_USUAL_SHARE = 0.25
"""Part of the steps the large model writes under a threshold: the paper's is 0.2 to 0.3."""


class Wish(msgspec.Struct, frozen=True):
    """What a configuration asks for: of "auto", what is tried, in this order."""

    contexts: tuple[int, ...]
    cache_types: dict[Model, tuple[CacheType, ...]]
    gpu_layers: dict[Model, int | None]
    """None is "auto"."""
    large_share: float
    """Part of the steps that the large model writes."""


def make_plan(footprints: Mapping[Model, Footprint], config: PairConfig, machine: Machine) -> Plan:
    """Choose for the models of a pair (those in `footprints`) what is "auto", so that they fit where that can be."""
    options = {model: config.options(model) for model in footprints}
    planner = _Planner(footprints, options, machine)
    return planner.choose(_wish(footprints, config, options))


def smaller_plans(
    plan: Plan, footprints: Mapping[Model, Footprint], config: PairConfig, machine: Machine
) -> Iterator[Plan]:
    """Give plans that take less and less, as far as "auto" leaves a choice: first less context, then fewer layers.

    For what is short of memory although it was planned to fit.
    """
    options = {model: config.options(model) for model in footprints}
    planner = _Planner(footprints, options, machine)
    wish = _wish(footprints, config, options)
    layers = {model: chosen.gpu_layers for model, chosen in plan.models.items()}
    caches: dict[Model, CacheType] = {model: chosen.cache_type for model, chosen in plan.models.items()}
    context = max(chosen.context for chosen in plan.models.values())
    for fewer in (tokens for tokens in wish.contexts if tokens < context):
        context = fewer
        yield planner.at(context, caches, layers)
    while any(layers[model] for model in layers if wish.gpu_layers[model] is None):
        layers = {model: n if wish.gpu_layers[model] is not None else n * 3 // 4 for model, n in layers.items()}
        yield planner.at(context, caches, layers)


def resolved(options: EngineOptions, plan: ModelPlan) -> EngineOptions:
    """Give options with nothing "auto" in them that a plan decides."""
    return msgspec.structs.replace(options, gpu_layers=plan.gpu_layers, cache_type=plan.cache_type)


def _wish(footprints: Mapping[Model, Footprint], config: PairConfig, options: Mapping[Model, EngineOptions]) -> Wish:
    shares = {"large": 1.0, "speculative": 1.0, "small": 0.0, "threshold": _USUAL_SHARE}
    caches: dict[Model, tuple[CacheType, ...]] = {}
    layers: dict[Model, int | None] = {}
    for model, given in options.items():
        if given.cache_type != "auto":
            caches[model] = (given.cache_type,)
        else:
            rounded = footprints[model].roundable and given.flash_attention != "off"
            caches[model] = ("f16", "q8_0") if rounded else ("f16",)
        most = len(footprints[model].layers) + 1
        layers[model] = None if given.gpu_layers == "auto" else most
        if isinstance(given.gpu_layers, int) and given.gpu_layers >= 0:
            layers[model] = min(given.gpu_layers, most)
    return Wish(
        contexts=CONTEXTS if config.context == "auto" else (config.context,),
        cache_types=caches,
        gpu_layers=layers,
        large_share=shares.get(config.policy, config.share),
    )


class _Planner:
    """Tries one choice after another on one machine."""

    def __init__(
        self, footprints: Mapping[Model, Footprint], options: Mapping[Model, EngineOptions], machine: Machine
    ) -> None:
        self._footprints = footprints
        self._options = options
        self._machine = machine
        self._most = {model: len(footprint.layers) + 1 for model, footprint in footprints.items()}
        owns_memory = any(not gpu.shares_memory for gpu in machine.gpus)
        # Beside a GPU of its own memory, llama.cpp keeps the CPU's weights in the file's order: the GPU may read them.
        self._repacked = frozenset[str]() if owns_memory else machine.repacked

    def choose(self, wish: Wish) -> Plan:
        """Find the first choice that fits, else the one that takes least."""
        tries = list(_tries(wish))
        wanted = {model: self._most[model] if n is None else n for model, n in wish.gpu_layers.items()}
        if self._machine.gpus:
            for context, caches in tries:
                if context >= min(WORTH_A_CUT, wish.contexts[0]) and (plan := self.at(context, caches, wanted)).fits:
                    return plan
            # Not all of it: what is rounded leaves room for more layers.
            tries = [choice for choice in tries if choice[1] == tries[-1][1]]
        plans = (self._filled(context, caches, wish) for context, caches in tries)
        found = None
        for plan in plans:
            found = plan
            if plan.fits:
                return plan
        assert found is not None  # there is always a last try
        return found

    def at(self, context: int, caches: Mapping[Model, CacheType], gpu_layers: Mapping[Model, int]) -> Plan:
        """Count one choice."""
        models: dict[Model, ModelPlan] = {}
        parts: list[Part] = []
        for model, footprint in self._footprints.items():
            trained = footprint.trained_context or context
            tokens = min(context or trained, trained)
            layers = gpu_layers[model] if self._machine.gpus else 0
            models[model] = ModelPlan(layers, self._most[model], tokens, caches[model])
            parts += self._parts(model, models[model])
        most = max(footprint.trained_context or context for footprint in self._footprints.values())
        return Plan(models, tuple(parts), tuple(self._rooms(parts)), most)

    def _filled(self, context: int, caches: Mapping[Model, CacheType], wish: Wish) -> Plan:
        """Put as many layers onto the GPUs as fit, those of the model first that most passes go through."""
        layers = {model: n or 0 for model, n in wish.gpu_layers.items()}
        order = sorted(layers, key=lambda model: (model == "large") == (wish.large_share <= 0.5))  # noqa: PLR2004 - half
        for model in order:
            if wish.gpu_layers[model] is None and self._machine.gpus:
                fitting = (
                    n
                    for n in range(self._most[model], 0, -1)
                    if all(
                        room.fits for room in self.at(context, caches, {**layers, model: n}).rooms if room.device != CPU
                    )
                )
                layers[model] = next(fitting, 0)
        return self.at(context, caches, layers)

    def _parts(self, model: Model, chosen: ModelPlan) -> Iterator[Part]:
        footprint, options = self._footprints[model], self._options[model]
        on_gpu = bool(self._machine.gpus) and chosen.gpu_layers > 0
        batch = min(options.batch or (_BATCH_GPU if on_gpu else _BATCH_CPU), chosen.context)
        ubatch = ubatch_of(batch)
        blocks = [*footprint.layers, footprint.output]
        start = len(blocks) - min(chosen.gpu_layers, len(blocks)) if on_gpu else len(blocks)
        compute = footprint.compute_bytes(chosen.context, ubatch=ubatch, fused=options.flash_attention != "off")

        def cache(layers: Sequence[Layer]) -> int:
            return footprint.cache_bytes(
                layers, chosen.context, chosen.cache_type, ubatch=ubatch, full_window=options.swa_full
            )

        held = blocks[:start]
        weights, mapped = self._cpu_weights(footprint, held, start, options)
        yield Part(
            model=model,
            device=CPU,
            layers=start,
            weights_bytes=weights,
            mapped_bytes=mapped,
            cache_bytes=cache(held),
            # Without a layer of its own the CPU only looks up the tokens' vectors.
            compute_bytes=compute if start else FLOAT * ubatch * footprint.embedding,
            other_bytes=footprint.other_bytes(),
        )
        for gpu, layers in self._split(blocks[start:], options):
            yield Part(
                model=model,
                device=gpu.name,
                layers=len(layers),
                weights_bytes=sum(layer.weights_bytes for layer in layers),
                mapped_bytes=0,
                cache_bytes=cache(layers),
                compute_bytes=compute,
                other_bytes=_GPU_OVERHEAD // len(self._footprints),
            )

    def _cpu_weights(
        self, footprint: Footprint, held: Sequence[Layer], start: int, options: EngineOptions
    ) -> tuple[int, int]:
        """Count the weights the CPU works with, and those of them that are pages of the file."""
        repacked = sum(
            size for layer in held for type_, size in layer.matrices_bytes.items() if type_ in self._repacked
        )
        with_output = start > len(footprint.layers)
        total = footprint.input_bytes + sum(layer.weights_bytes for layer in held)
        if with_output and footprint.output_is_input:
            # The table of embeddings is both, and there twice only where one of the two is in another order.
            table = footprint.input_bytes
            total -= 0 if any(type_ in self._repacked for type_ in footprint.output.matrices_bytes) else table
        is_mapped = options.load_mode in {"auto", "mmap", "mmap+mlock"}
        return total, total - repacked if is_mapped else 0

    def _split(self, layers: Sequence[Layer], options: EngineOptions) -> Iterator[tuple[Gpu, list[Layer]]]:
        """Spread layers over the GPUs as llama.cpp does: by what is asked for, else by free memory."""
        gpus = self._machine.gpus
        if not layers:
            return
        if options.split == "none":
            yield gpus[min(options.main_gpu, len(gpus) - 1)], list(layers)
            return
        given = (*options.tensor_split, *([0.0] * len(gpus)))[: len(gpus)]
        parts = given if any(given) else tuple(float(max(gpu.free_bytes, 1)) for gpu in gpus)
        ends = [end / sum(parts) for end in accumulate(parts)]
        spread: list[list[Layer]] = [[] for _ in gpus]
        for i, layer in enumerate(layers):
            spread[min(bisect_right(ends, i / len(layers)), len(gpus) - 1)].append(layer)
        yield from ((gpu, held) for gpu, held in zip(gpus, spread, strict=True) if held)

    def _rooms(self, parts: Sequence[Part]) -> Iterator[Room]:
        needed = dict.fromkeys([CPU, *(gpu.name for gpu in self._machine.gpus)], 0)
        for part in parts:
            needed[part.device] += part.total_bytes
        shared = sum(needed[gpu.name] for gpu in self._machine.gpus if gpu.shares_memory)
        yield _room_of(CPU, self._machine.free_bytes, needed[CPU] + shared)
        for gpu in self._machine.gpus:
            yield _room_of(gpu.name, gpu.free_bytes, needed[gpu.name])


def _tries(wish: Wish) -> Iterator[tuple[int, dict[Model, CacheType]]]:
    """Give contexts and types of the cache, the best first: a cache is rounded before a context is cut."""
    first: dict[Model, CacheType] = {model: types[0] for model, types in wish.cache_types.items()}
    last: dict[Model, CacheType] = {model: types[-1] for model, types in wish.cache_types.items()}
    yield wish.contexts[0], first
    for context in wish.contexts:
        if (context, last) != (wish.contexts[0], first):
            yield context, last


def _room_of(device: str, free_bytes: int, needed_bytes: int) -> Room:
    kept_free = min(_MOST_KEPT_FREE, int(free_bytes * _KEPT_FREE))
    return Room(device, free_bytes, needed_bytes, needed_bytes <= free_bytes - kept_free)
