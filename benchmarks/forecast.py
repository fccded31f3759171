"""What `glimp plan` forecasts of each model's speed against what is measured then, for each model at hand."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.document import table
from benchmarks.setup import MissingError, Setup
from benchmarks.taken import BUILTIN
from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.rates import SIZES, Rates
from glimp_local.machine.speed import DEPTH, Cost, cost_of
from glimp_local.models.footprint import footprint
from glimp_local.models.gguf.header import read_header

HEADING = "The forecast of speed against what is measured"

_PROMPT = SIZES[-1]
_DECODED = 8


def measure(setup: Setup) -> list[str]:
    """Forecast each model alone, load it, and measure; raises MissingError where the machine cannot be measured."""
    builtin = [BUILTIN / "small.gguf", BUILTIN / "large.gguf"]
    files = [path for path in (*builtin, setup.small, setup.large, setup.shared_small, setup.shared_large) if path]
    rows, ratios = [], []
    for path in (path for path in files if path.exists()):
        row, found = _row(setup, path)
        rows.append(row)
        ratios += found
    about = (
        f"Tokens a second of each model alone, behind {DEPTH} tokens (fewer where its context ends before): writing "
        f"one at a time, and reading {_PROMPT} at once; medians of {setup.rounds} rounds. The forecast knows headers "
        "and what random matrices of the same number types cost on this machine; models below 64 MB are measured "
        "themselves. "
        f"Forecasts are {min(ratios):.2f} to {max(ratios):.2f} of what was measured."
    )
    columns = ("model", "writing, forecast", "measured", "ratio", "reading, forecast", "measured", "ratio")
    return [table(columns, rows), about]


def _row(setup: Setup, path: Path) -> tuple[list[str], list[float]]:
    found = footprint(read_header(path))
    with setup.open_alone(path, chat_template=str(Path(__file__).with_name("plain.jinja"))) as pair:
        assert pair.plan is not None
        rates = Rates()
        cost = cost_of(found, pair.plan.models["small"], pair.config, "small", rates)
        if cost is None:
            raise MissingError(f"{path.name} cannot be forecast: {rates.failure or 'its number types are unknown'}")
        backend = pair.backends["small"]
        assert isinstance(backend, LlamaBackend)
        depth = min(DEPTH, backend.engine.context - _PROMPT)
        measured = _measured(backend.engine, depth, setup.rounds)
    row, ratios = [path.stem], []
    for size, seconds in zip((1, _PROMPT), measured, strict=True):
        forecast = _forecast(cost, size, depth)
        ratios.append(seconds / forecast)
        row += [f"{size / forecast:,.3g}", f"{size / seconds:,.3g}", f"{ratios[-1]:.2f}"]
    return row, ratios


def _forecast(cost: Cost, size: int, depth: int) -> float:
    return cost.batch(float(size), depth=depth)


def _measured(engine: Engine, depth: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of a token and of a prompt behind `depth` tokens."""
    ids = [200 + i * 7919 % (engine.vocabulary.size - 200) for i in range(depth + _PROMPT)]
    engine.feed(ids[:depth])
    tokens, prompts = [], []
    for _ in range(rounds):
        for token in ids[depth : depth + 2]:  # behind another size a graph is built again
            engine.decode(token)
        began = perf_counter()
        for token in ids[depth : depth + _DECODED]:
            engine.decode(token)
        tokens.append((perf_counter() - began) / _DECODED)
        engine.rewind(depth)
        began = perf_counter()
        engine.feed(ids[depth:])
        prompts.append(perf_counter() - began)
        engine.rewind(depth)
    return median(tokens), median(prompts)
