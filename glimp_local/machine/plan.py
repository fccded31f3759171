"""Where the two models of a pair are: layers on each device, context, type of the cache, and the memory that takes.

Records, and how they are said in words; `planning.py` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glimp_local import units
from glimp_local.models.footprint import CacheType
from glimp_local.routing import MODELS, Model
from glimp_local.settings import FlashAttention, LoadMode, PairConfig

CONTEXT = 16384
"""Tokens of an "auto" context where there is room for them."""
CPU = "CPU"


class Part(msgspec.Struct, frozen=True):
    """What one model takes of one device."""

    model: Model
    device: str
    """"CPU", llama.cpp's name of a GPU, or the address of an RPC server."""
    layers: int
    """The output counts as one."""
    weights_bytes: int
    """On the CPU: those that are at work. A copy in the page cache that nobody needs any more is not counted."""
    mapped_bytes: int
    """Of them, those that are pages of the file."""
    cache_bytes: int
    compute_bytes: int
    """Intermediate results of a pass."""
    other_bytes: int
    """The tokeniser's tables, the logits, and on the CPU the snapshots of a model that cannot go back to any length."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes + self.other_bytes


class ModelPlan(msgspec.Struct, frozen=True):
    """What is chosen for one model."""

    gpu_layers: int
    """Layers on GPUs, here or on RPC servers; the output counts as one."""
    layers: int
    """All of it, the output counted."""
    context: int
    cache_type: CacheType
    tensor_split: tuple[int, ...] = ()
    """Layers on each of several GPUs, in llama.cpp's order (devices of RPC servers first); empty where there is one, or
    where the user has set it."""
    load_mode: LoadMode = "auto"
    """How its file gets into memory."""
    flash_attention: FlashAttention = "auto"
    rpc: tuple[str, ...] = ()
    """RPC servers that have layers."""


class Room(msgspec.Struct, frozen=True):
    """A device's memory."""

    device: str
    free_bytes: int
    needed_bytes: int
    fits: bool

    def __str__(self) -> str:
        """Say what is taken of what is free."""
        return f"{units.memory_size(self.needed_bytes)} of {units.memory_size(self.free_bytes)} on {_the(self.device)}"


class Plan(msgspec.Struct, frozen=True):
    """Where a pair goes."""

    models: dict[Model, ModelPlan]
    parts: tuple[Part, ...]
    rooms: tuple[Room, ...]
    most_context: int
    """Tokens of context that a model was trained for, the greatest of both."""

    @property
    def fits(self) -> bool:
        """Is there room on every device?"""
        return all(room.fits for room in self.rooms)

    @property
    def runs(self) -> bool:
        """Can it be loaded? On the CPU pages of a file that do not fit are read again and again, but it runs."""
        mapped = sum(part.mapped_bytes for part in self.parts if part.device == CPU)
        return all(
            room.fits or (room.device == CPU and room.needed_bytes - mapped <= room.free_bytes) for room in self.rooms
        )

    @property
    def is_rounded(self) -> bool:
        """Is a cache kept as anything less than f16?"""
        return any(plan.cache_type != "f16" for plan in self.models.values())

    @property
    def gpus(self) -> list[str]:
        """The GPUs there are, by llama.cpp's names."""
        return [room.device for room in self.rooms if room.device != CPU]

    def cut(self, config: PairConfig) -> str | None:
        """Say what was made smaller than usual so that it fits; None where nothing was."""
        said = []
        context = max(plan.context for plan in self.models.values())
        if config.context == "auto" and context < min(CONTEXT, self.most_context):
            said.append(f"the context is {context:,} tokens instead of {min(CONTEXT, self.most_context):,} (--ctx)")
        rounded = [
            model
            for model, plan in self.models.items()
            if config.options(model).cache_type == "auto" and plan.cache_type != "f16"
        ]
        if rounded:
            whose = "models have" if len(rounded) > 1 else f"{rounded[0]} model has"
            said.append(f"what the {whose} read is kept as q8_0 (--cache-type)")
        return f"Memory is short, so {' and '.join(said)}" if said else None

    def limited(self, config: PairConfig) -> str | None:
        """Say it where a model was trained for less context than is asked for."""
        if config.context == "auto":
            return None
        less = [
            f"{plan.context:,} of the {m} model" for m, plan in self.models.items() if plan.context < config.context
        ]
        return f"The context is what the models were trained for: {' and '.join(less)}" if less else None

    def remarks(self, config: PairConfig) -> list[str]:
        """Say what is not as it was asked for, or as it usually is."""
        said = (self.shortage(), self.cut(config), self.limited(config))
        return [*(sentence for sentence in said if sentence is not None), *self.idle(config)]

    def idle(self, config: PairConfig) -> list[str]:
        """Say which RPC servers are named for a model, and get nothing of it."""
        said = []
        for model, plan in self.models.items():
            options = config.options(model)
            if idle := [server for server in options.rpc if server not in plan.rpc]:
                why = " (gpu_layers is 0)" if options.gpu_layers == 0 else ""
                said.append(f"No layer of the {model} model goes to {' and '.join(idle)}{why}")
        return said

    def line(self) -> str:
        """Say it in one line: "large 28/36 layers on CUDA0, small all, context 16,384"."""
        return f"{self.where()}; {', '.join(map(str, self.rooms))}"

    def where(self) -> str:
        """Say where the models are, and the context."""
        where = [f"{model} {_placed(self.models[model], self.gpus, self.parts, model)}" for model in self._order()]
        if not any(plan.gpu_layers for plan in self.models.values()):
            where = ["both models on the CPU" if len(self.models) > 1 else "on the CPU"]
        contexts = sorted({plan.context for plan in self.models.values()})
        context = " and ".join(f"{tokens:,}" for tokens in contexts)
        caches = sorted({plan.cache_type for plan in self.models.values()} - {"f16"})
        rounded = f" ({' and '.join(caches)} cache)" if caches else ""
        return f"{', '.join(where)}, context {context}{rounded}"

    def shortage(self) -> str | None:
        """Say what does not fit, and what will come of it; None where all does."""
        short = [room for room in self.rooms if not room.fits]
        if not short:
            return None
        what = ", ".join(
            f"{units.memory_size(room.needed_bytes)} on {_the(room.device)}, where "
            f"{units.memory_size(room.free_bytes)} are free"
            for room in short
        )
        if self.runs:
            return f"The pair takes {what}: weights will be read from the disk again and again, which is very slow"
        return f"The pair takes {what}: it does not fit"

    def _order(self) -> list[Model]:
        return [model for model in reversed(MODELS) if model in self.models]


def _placed(plan: ModelPlan, gpus: Sequence[str], parts: Sequence[Part], model: Model) -> str:
    used = [part.device for part in parts if part.model == model and part.device in gpus]
    if not used:
        return "on the CPU"
    count = "all" if plan.gpu_layers >= plan.layers else f"{plan.gpu_layers}/{plan.layers}"
    return f"{count} layers on {' and '.join(used)}"


def _the(device: str) -> str:
    return "the CPU" if device == CPU else device
