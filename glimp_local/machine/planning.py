"""How the two models of a pair share the memory of a machine, so that both fit together.

Pure arithmetic on what `models/footprint.py` counts and `hardware.py` finds; loads nothing. What the user has set is
kept as it is, fit or not; what is "auto" is chosen here. In this order: everything on the GPUs, with the whole context,
then with a rounded cache, then with less context; else as many layers as fit, those of the model first that most passes
go through, and the rest on the CPU. Devices of RPC servers are GPUs of the models that name them, and get what this
machine's own have no room for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal

import msgspec

from glimp_local.machine.plan import CONTEXT, CPU, ModelPlan, Part, Plan, Room
from glimp_local.machine.survey import Gpu, Machine
from glimp_local.models.footprint import FLOAT, CacheType, Footprint, Layer, ubatch_of
from glimp_local.routing import Model
from glimp_local.settings import EngineOptions, PairConfig

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
_HALF = 0.5
USUAL_SHARE = 0.25
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
    return _Planner(footprints, config, machine).choose()


def smaller_plan(
    plan: Plan,
    footprints: Mapping[Model, Footprint],
    config: PairConfig,
    machine: Machine,
    short_of: Literal["weights", "context"],
) -> Plan | None:
    """Give the next smaller plan for what is short of memory although it was planned to fit; None where there is none.

    Weights mapped and attention fused first, then less context (a rounded cache before that) where that was what had no
    room, then fewer layers on the GPUs: as far as "auto" leaves a choice.
    """
    return _Planner(footprints, config, machine).smaller(plan, short_of)


def resolved(options: EngineOptions, plan: ModelPlan) -> EngineOptions:
    """Give options with nothing "auto" in them that a plan decides."""
    split = tuple(map(float, plan.tensor_split)) or options.tensor_split
    return msgspec.structs.replace(
        options,
        gpu_layers=plan.gpu_layers,
        cache_type=plan.cache_type,
        tensor_split=split,
        load_mode=plan.load_mode,
        flash_attention=plan.flash_attention,
        rpc=plan.rpc,
    )


def _wish(footprints: Mapping[Model, Footprint], config: PairConfig) -> Wish:
    shares = {"large": 1.0, "speculative": 1.0, "small": 0.0, "threshold": USUAL_SHARE}
    caches: dict[Model, tuple[CacheType, ...]] = {}
    layers: dict[Model, int | None] = {}
    for model in footprints:
        given = config.options(model)
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

    def __init__(self, footprints: Mapping[Model, Footprint], config: PairConfig, machine: Machine) -> None:
        self._footprints = footprints
        self._options = {model: config.options(model) for model in footprints}
        self._wish = wish = _wish(footprints, config)
        self._machine = machine
        self._is_short = False  # of memory, whatever is counted
        self._most = {model: len(footprint.layers) + 1 for model, footprint in footprints.items()}
        # Those go first that most passes go through.
        self._order = sorted(footprints, key=lambda model: (model == "large") == (wish.large_share <= _HALF))
        owns_memory = any(not (gpu.shares_memory or gpu.server) for gpu in machine.gpus)
        # Beside a GPU of its own memory, llama.cpp keeps the CPU's weights in the file's order: the GPU may read them.
        self._repacked = frozenset[str]() if owns_memory else machine.repacked

    def choose(self) -> Plan:
        """Find the first choice that fits, else the one that takes least."""
        tries = list(_tries(self._wish))
        if self._machine.gpus:
            most = {model: count if self._gpus(model) else 0 for model, count in self._most.items()}
            wanted = {model: most[model] if n is None else n for model, n in self._wish.gpu_layers.items()}
            for context, caches in tries:
                worth_it = context >= min(WORTH_A_CUT, self._wish.contexts[0])
                if worth_it and (plan := self._at(context, caches, wanted)).fits:
                    return plan
            # Not all of it: what is rounded leaves room for more layers.
            for context, caches in tries:
                if caches == tries[-1][1] and (plan := self._filled(context, caches)).fits:
                    if any(chosen.gpu_layers for chosen in plan.models.values()):
                        return plan
                    break  # there is no room on the GPU at all
        plans = (self._filled(context, caches) for context, caches in tries)
        fitting = next((plan for plan in plans if plan.fits), None)
        return fitting or self._filled(*tries[-1])

    def smaller(self, plan: Plan, short_of: Literal["weights", "context"]) -> Plan | None:
        """Give the next smaller plan."""
        wish, self._is_short = self._wish, True
        layers = {model: chosen.gpu_layers for model, chosen in plan.models.items()}
        caches: dict[Model, CacheType] = {model: chosen.cache_type for model, chosen in plan.models.items()}
        context = max(chosen.context for chosen in plan.models.values())
        if (again := self._at(context, caches, layers)).models != plan.models:
            return again
        if short_of == "context":
            last = {model: types[-1] for model, types in wish.cache_types.items()}
            if caches != last:
                return self._at(context, last, layers)
            if less := next((tokens for tokens in wish.contexts if 0 < tokens < context), None):
                return self._at(less, caches, layers)
        fewer = {model: n if wish.gpu_layers[model] is not None else n * 3 // 4 for model, n in layers.items()}
        return self._at(context, caches, fewer) if fewer != layers else None

    def _filled(self, context: int, caches: Mapping[Model, CacheType]) -> Plan:
        """Put as many layers onto the GPUs as fit."""
        layers = {model: n or 0 for model, n in self._wish.gpu_layers.items()}
        for model in self._order:
            if self._wish.gpu_layers[model] is None and self._gpus(model):
                counts = range(self._most[model], 0, -1)
                fitting = (n for n in counts if _gpus_fit(self._at(context, caches, {**layers, model: n})))
                layers[model] = next(fitting, 0)
        return self._at(context, caches, layers)

    def _at(self, context: int, caches: Mapping[Model, CacheType], gpu_layers: Mapping[Model, int]) -> Plan:
        """Count one choice, on as few GPUs as have room for it: each one that is used takes memory of its own."""
        gpus = sorted(self._machine.gpus, key=lambda gpu: (gpu.server is not None, -gpu.free_bytes))
        plans = [
            self._counted(context, caches, gpu_layers, {gpu.name for gpu in gpus[:count]})
            for count in range(1, len(gpus) + 1)
        ]
        return next(filter(_gpus_fit, plans), plans[-1]) if plans else self._counted(context, caches, gpu_layers, set())

    def _counted(
        self, context: int, caches: Mapping[Model, CacheType], gpu_layers: Mapping[Model, int], used: set[str]
    ) -> Plan:
        if not self._is_short:
            plan = self._loaded(context, caches, gpu_layers, used, is_short=False)
            if plan.fits:
                return plan
        # What is mapped runs even where it does not fit: its pages come and go. Fused attention keeps no scores.
        return self._loaded(context, caches, gpu_layers, used, is_short=True)

    def _loaded(
        self,
        context: int,
        caches: Mapping[Model, CacheType],
        gpu_layers: Mapping[Model, int],
        used: set[str],
        *,
        is_short: bool,
    ) -> Plan:
        models: dict[Model, ModelPlan] = {}
        parts: list[Part] = []
        for model in self._order:
            footprint = self._footprints[model]
            trained = footprint.trained_context or context
            tokens = min(context or trained, trained)
            gpus = self._gpus(model)
            layers = gpu_layers[model] if any(gpu.name in used for gpu in gpus) else 0
            attention = self._options[model].flash_attention
            if attention == "auto" and not (layers or is_short) and caches[model] == "f16":
                attention = "off"
            chosen = ModelPlan(layers, self._most[model], tokens, caches[model], flash_attention=attention)
            left = {room.device: _usable(room.free_bytes) - room.needed_bytes for room in self._rooms(parts)}
            usable = {gpu.name: left[gpu.name] for gpu in gpus if gpu.name in used}
            found = list(self._parts(model, chosen, usable))
            own = self._options[model].load_mode
            if own == "auto" and not is_short and 2 * found[0].mapped_bytes < found[0].weights_bytes:
                found[0] = msgspec.structs.replace(found[0], mapped_bytes=0)
                own = "read"
            chosen = msgspec.structs.replace(chosen, load_mode=own)
            counts = {part.device: part.layers for part in found}
            if self._is_free(model):
                gpus = tuple(gpu for gpu in gpus if gpu.server is None or self._has_layers(gpu.server, counts))
                split = tuple(counts.get(gpu.name, 0) for gpu in gpus)
                chosen = msgspec.structs.replace(chosen, tensor_split=split if len(gpus) > 1 and any(split) else ())
            rpc = tuple(dict.fromkeys(gpu.server for gpu in gpus if gpu.server)) if layers else ()
            chosen = msgspec.structs.replace(chosen, rpc=rpc)
            models[model] = chosen
            parts += found
        most = max(footprint.trained_context or context for footprint in self._footprints.values())
        return Plan(models, tuple(parts), tuple(self._rooms(parts)), most)

    def _gpus(self, model: Model) -> tuple[Gpu, ...]:
        """Return the GPUs that layers of a model may be on, in llama.cpp's order: those of servers first."""
        named = self._options[model].servers
        remote = (gpu for server in named for gpu in self._machine.gpus if gpu.server == server)
        return (*remote, *(gpu for gpu in self._machine.gpus if gpu.server is None))

    def _has_layers(self, server: str, counts: Mapping[str, int]) -> bool:
        return any(counts.get(gpu.name) for gpu in self._machine.gpus if gpu.server == server)

    def _is_free(self, model: Model) -> bool:
        """May the layers be spread over the GPUs as they fit?"""
        options = self._options[model]
        return options.split == "layer" and not any(options.tensor_split)

    def _parts(self, model: Model, chosen: ModelPlan, left: Mapping[str, int]) -> Iterator[Part]:
        """Count what a model takes of each device; `left` are the bytes of the GPUs to be used."""
        footprint, options = self._footprints[model], self._options[model]
        gpus = self._gpus(model)
        on_gpu = bool(gpus) and chosen.gpu_layers > 0
        batch = min(options.batch or (_BATCH_GPU if on_gpu else _BATCH_CPU), chosen.context)
        ubatch = ubatch_of(batch)
        blocks = [*footprint.layers, footprint.output]
        start = len(blocks) - min(chosen.gpu_layers, len(blocks)) if on_gpu else len(blocks)
        compute = footprint.compute_bytes(chosen.context, ubatch=ubatch, fused=chosen.flash_attention != "off")

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
            other_bytes=footprint.other_bytes()
            + footprint.snapshot_bytes(chosen.context, chosen.cache_type, full_window=options.swa_full),
        )
        overhead = _GPU_OVERHEAD // len(self._footprints)
        if self._is_free(model):
            room = {name: size - compute - overhead for name, size in left.items()}
            from_end = any(gpu.server for gpu in gpus)
            spread = _fill(blocks[start:], lambda layer: layer.weights_bytes + cache([layer]), room, from_end=from_end)
        else:
            spread = self._split(blocks[start:], options, gpus)
        for gpu, layers in spread:
            yield Part(
                model=model,
                device=gpu,
                layers=len(layers),
                weights_bytes=sum(layer.weights_bytes for layer in layers),
                mapped_bytes=0,
                cache_bytes=cache(layers),
                compute_bytes=compute,
                other_bytes=overhead,
            )

    def _cpu_weights(
        self, footprint: Footprint, held: Sequence[Layer], start: int, options: EngineOptions
    ) -> tuple[int, int]:
        """Count the weights the CPU works with, and those of them that are pages of the file."""
        kept_twice = frozenset[str]() if options.extra_buffers is False else self._repacked
        repacked = sum(size for layer in held for type_, size in layer.matrices_bytes.items() if type_ in kept_twice)
        with_output = start > len(footprint.layers)
        total = footprint.input_bytes + sum(layer.weights_bytes for layer in held)
        if with_output and footprint.output_is_input:
            # The table of embeddings is both, and there twice only where one of the two is in another order.
            table = footprint.input_bytes
            total -= 0 if any(type_ in kept_twice for type_ in footprint.output.matrices_bytes) else table
        is_mapped = options.load_mode in {"auto", "mmap", "mmap+mlock"}
        return total, total - repacked if is_mapped else 0

    def _split(
        self, layers: Sequence[Layer], options: EngineOptions, gpus: Sequence[Gpu]
    ) -> Iterator[tuple[str, Sequence[Layer]]]:
        """Spread layers over the GPUs as they are asked to be."""
        if not layers:
            return
        if options.split == "none":
            yield gpus[min(options.main_gpu, len(gpus) - 1)].name, layers
            return
        given = (*options.tensor_split, *([0.0] * len(gpus)))[: len(gpus)]
        parts = given if any(given) else tuple(float(max(gpu.free_bytes, 1)) for gpu in gpus)
        ends = [end / sum(parts) for end in accumulate(parts)]
        spread: list[list[Layer]] = [[] for _ in gpus]
        for i, layer in enumerate(layers):
            spread[min(bisect_right(ends, i / len(layers)), len(gpus) - 1)].append(layer)
        yield from ((gpu.name, held) for gpu, held in zip(gpus, spread, strict=True) if held)

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


def _fill(
    layers: Sequence[Layer], size: Callable[[Layer], int], room: Mapping[str, int], *, from_end: bool = False
) -> Iterator[tuple[str, Sequence[Layer]]]:
    """Fill one GPU after the other; the last one takes what is left, whether it fits or not.

    With `from_end`, it begins with the last layers and the last GPU: what this machine has no room for is left to the
    servers, which stand first.
    """
    if from_end:
        filled = list(_fill(layers[::-1], size, dict(reversed(list(room.items())))))
        yield from ((name, held[::-1]) for name, held in reversed(filled))
        return
    at = 0
    for i, (name, free_bytes) in enumerate(room.items()):
        end, taken = at, 0
        while end < len(layers) and (i == len(room) - 1 or taken + size(layers[end]) <= free_bytes):
            taken += size(layers[end])
            end += 1
        if end > at:
            yield name, layers[at:end]
        at = end


def _gpus_fit(plan: Plan) -> bool:
    return all(room.fits for room in plan.rooms if room.device != CPU)


def _usable(free_bytes: int) -> int:
    return free_bytes - min(_MOST_KEPT_FREE, int(free_bytes * _KEPT_FREE))


def _room_of(device: str, free_bytes: int, needed_bytes: int) -> Room:
    return Room(device, free_bytes, needed_bytes, needed_bytes <= _usable(free_bytes))
