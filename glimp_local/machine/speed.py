"""How fast a pair would be on this machine, and whether routing would pay: from headers and from measured rates.

A batch of a model costs its weights' bytes at the rate of their number type (`engines/llama/rates.py`), and attention
what it looks at. From that follow a token, a prompt, and a thought that is routed. `python -m benchmarks forecast`
compares it with what is measured then.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from glimp_local.engines.llama.placement import Placement
from glimp_local.engines.llama.rates import CELLS, SIZES, WIDTHS, Rate, Rates
from glimp_local.errors import ModelMissingError
from glimp_local.machine.plan import ModelPlan, Plan
from glimp_local.models import files
from glimp_local.models.footprint import Footprint, Layer, padded
from glimp_local.routing import MODELS, Model
from glimp_local.settings import ModelSource, PairConfig

DEPTH = 512
"""Tokens behind which everything is forecast."""
SHARES = (0.1, 0.25, 0.5)
"""Of the steps, the large model's."""
_STEP = 32
"""Tokens of a step."""
_TOKENS = 1000
_HARDLY = 0.02
"""A number type of less than this part of the weights is not worth measuring."""
_PROMPT = SIZES[-1]
"""Tokens of the batches that prompts are counted in."""
_GUESSES = (3, 7)
_HOPED = 0.7
"""The chance of a guess of the small model to come true."""
PAYS = 0.9
"""Routing pays where a quarter of the steps on the large model takes at most this part of its time."""


class ModelSpeed(msgspec.Struct, frozen=True):
    """One model alone."""

    tokens_per_second: float
    """Written, behind DEPTH tokens."""
    prompt_tokens_per_second: float


class PairSpeed(msgspec.Struct, frozen=True):
    """What to expect of a pair."""

    models: dict[Model, ModelSpeed]
    large_seconds: float | None
    """For 1,000 tokens of thought, by the large model alone; None of a single model."""
    drafted_seconds: float | None
    """The same with the small model drafting, where it can and that helps, if 7 of 10 of its guesses come true."""
    routed_seconds: dict[str, float]
    """Routed, by the large model's share of the steps."""

    @property
    def tokens_per_second(self) -> float:
        """Of a thought a quarter of whose steps are the large model's, or of the one model."""
        if self.large_seconds is None:
            return max(model.tokens_per_second for model in self.models.values())
        return _TOKENS / self.routed_seconds[f"{SHARES[1]:g}"]

    @property
    def ratio(self) -> float | None:
        """The time of a thought a quarter of whose steps are the large model's, in that of its own quickest way."""
        if self.large_seconds is None:
            return None
        return self.routed_seconds[f"{SHARES[1]:g}"] / min(self.large_seconds, self.drafted_seconds or math.inf)

    @property
    def pays(self) -> bool | None:
        """Is routing worth it? None of a single model."""
        return None if self.ratio is None else self.ratio <= PAYS


class Cost:
    """What the batches of one model cost, in seconds.

    `parts` are its layers, the output as the last one, by device, each with the rates of their number types. Where
    `is_measured`, the rates are those of this very model, all of it included.
    """

    def __init__(
        self,
        footprint: Footprint,
        parts: Sequence[tuple[Sequence[Layer], Mapping[str, Rate]]],
        *,
        is_measured: bool = False,
    ) -> None:
        self._parts = parts
        self._output = None if is_measured else footprint.output
        part = math.log(max(footprint.embedding, 1) / WIDTHS[0]) / math.log(WIDTHS[1] / WIDTHS[0])
        self._wide = min(max(part, 0.0), 1.0)
        self._used = 1.0 - footprint.idle_bytes / footprint.weights_bytes

    def batch(self, tokens: float, *, outputs: float = 1.0, depth: int = DEPTH) -> float:
        """Return the seconds of a batch behind `depth` tokens; logits are wanted of `outputs` of its tokens."""
        # A token uses a part of the experts: the more tokens, the more of them are read, each for a part of the tokens.
        read = 1.0 - (1.0 - self._used) ** tokens
        rows = tokens * self._used / read
        seconds = 0.0
        for layers, rates in self._parts:
            for layer in layers:
                part, times = (1.0, outputs) if layer is self._output else (read, rows)
                for type_name, size in layer.matrices_bytes.items():
                    seconds += part * size * self._byte_seconds(rates[type_name], times)
                seen = padded(min(depth + 1, layer.window or depth + 1)) - CELLS
                if layer.cache_values and seen > 0:
                    main = max(layer.matrices_bytes, key=layer.matrices_bytes.__getitem__)
                    seconds += layer.cache_values * seen * _between(rates[main].cell_seconds, tokens)
        return seconds

    def _byte_seconds(self, rate: Rate, tokens: float) -> float:
        narrow, wide = _between(rate.narrow_seconds, tokens), _between(rate.wide_seconds, tokens)
        return narrow + self._wide * (wide - narrow)


def pair_speed(
    footprints: Mapping[Model, Footprint], plan: Plan, config: PairConfig, rates: Rates, *, one_vocabulary: bool
) -> PairSpeed | None:
    """Return how fast a pair would be as it is planned; None where something about it cannot be measured.

    Raises what `Rates.of` raises.
    """
    costs: dict[Model, Cost] = {}
    for model, footprint in footprints.items():
        cost = cost_of(footprint, plan.models[model], config, model, rates)
        if cost is None:
            return None
        costs[model] = cost
    models = {
        model: ModelSpeed(1.0 / cost.batch(1.0), _PROMPT / cost.batch(float(_PROMPT))) for model, cost in costs.items()
    }
    if len(costs) < len(MODELS):
        return PairSpeed(models, None, None, {})
    small, large = costs["small"], costs["large"]
    return PairSpeed(
        models,
        _TOKENS * large.batch(1.0),
        _drafted(small, large) if one_vocabulary else None,
        {f"{share:g}": _routed(small, large, share) for share in SHARES},
    )


def cost_of(footprint: Footprint, plan: ModelPlan, config: PairConfig, model: Model, rates: Rates) -> Cost | None:
    """Return what a model's batches would cost as it is planned; None where something about it cannot be measured.

    A tiny model is measured itself, if it is here; what an RPC server does cannot be. Raises what `Rates.of` raises.
    """
    if plan.rpc:
        return None
    placement = Placement(config.options(model), footprint.weights_bytes, len(footprint.layers), ())
    blocks = [*footprint.layers, footprint.output]
    start = len(blocks) - min(plan.gpu_layers, len(blocks))
    devices = [(held, gpu) for held, gpu in ((blocks[:start], False), (blocks[start:], True)) if held]
    parts = []
    for held, gpu in devices:
        types = _types(held)
        if placement.is_tiny and len(devices) == 1:
            rate = _measured(config.source(model), rates, gpu=gpu, threads=placement.threads)
            known = {} if rate is None else dict.fromkeys(types, rate)
        else:
            known = rates.of(set(types.values()), gpu=gpu, threads=placement.threads)
        if set(types.values()) - known.keys():
            return None
        parts.append((held, {type_name: known[counted] for type_name, counted in types.items()}))
    return Cost(footprint, parts, is_measured=placement.is_tiny and len(devices) == 1)


def _types(layers: Sequence[Layer]) -> dict[str, str]:
    """Return the number types of layers, and as which each is counted: what is hardly there as the usual one."""
    sizes: Counter[str] = Counter()
    for layer in layers:
        sizes.update(layer.matrices_bytes)
    usual = max(sizes, key=sizes.__getitem__, default="")
    return {name: usual if size < _HARDLY * sizes.total() else name for name, size in sizes.items()}


def _measured(source: ModelSource | None, rates: Rates, *, gpu: bool, threads: int) -> Rate | None:
    try:
        return None if source is None else rates.of_file(files.find(source), gpu=gpu, threads=threads)
    except (ModelMissingError, OSError):
        return None


def _routed(small: Cost, large: Cost, share: float) -> float:
    """Return the seconds of a thought whose steps are the large model's by chance, in this share."""
    steps = _TOKENS / _STEP
    written = _TOKENS * ((1.0 - share) * small.batch(1.0) + share * large.batch(1.0))
    # The small model reads each large step before it looks at the next one; the large model, behind a small one, all
    # since its last.
    read = steps * share * (small.batch(_STEP) + (1.0 - share) * large.batch(_STEP / share))
    return written + read


def _drafted(small: Cost, large: Cost) -> float:
    """Return the seconds of a thought by the large model with the number of guesses, or none, that helps most."""
    found = [large.batch(1.0)]
    for guesses in _GUESSES:
        written = sum(_HOPED**length for length in range(guesses + 1))
        batch = guesses + 1.0
        found.append((large.batch(batch, outputs=batch) + guesses * small.batch(1.0)) / written)
    return _TOKENS * min(found)


def _between(seconds: Mapping[int, float], tokens: float) -> float:
    """Interpolate what a batch costs linearly; beyond the largest one that was measured it grows with the tokens."""
    sizes = sorted(seconds)
    if tokens >= sizes[-1]:
        return seconds[sizes[-1]] * tokens / sizes[-1]
    above = max(bisect_left(sizes, tokens), 1)
    low, high = sizes[above - 1], sizes[above]
    part = max(tokens - low, 0.0) / (high - low)
    return seconds[low] + part * (seconds[high] - seconds[low])
