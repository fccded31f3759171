"""The process that measures a machine: `python -m glimp_local.engines.llama.rating REQUEST FOLDER`.

It computes models of one number type in two widths (`proof_models`), or a file, and prints a line of JSON for each
(`rates.Rated`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import msgspec

from glimp_local.engines.llama import proof_models
from glimp_local.engines.llama.rates import CELLS, HELD, HELD_SIZES, SIZES, WIDTHS, Rate, Rated, Request
from glimp_local.errors import GlimpError
from glimp_local.models.footprint import footprint, padded
from glimp_local.models.gguf.header import read_header
from glimp_local.settings import EngineOptions

_WIDER = 3
_BYTES = (32e6, 128e6)
"""Weights of the narrow and of the wide model: of those that fill a cache real models fill it, too."""
_CONTEXT = 1024
_BEGINNING = 8
"""Tokens that stand before what is measured."""
_LEAST_USED = 0.85
"""Of the threads' time: they wait for each other by spinning, so what is missing was taken by other programs, and with
it most of the speed: such a measurement does not count."""
_PATIENCE_SECONDS = 2.0
"""How long one that counts is waited for."""
_REPEATS = {1: 5, 4: 3, 8: 2, 16: 2, 64: 1}


class _Measured(NamedTuple):
    byte_seconds: dict[int, float]
    """For a byte of weights."""
    cell_seconds: dict[int, float]
    """For a number in the cache."""


def measure(request: Request, type_name: str, folder: Path, *, attention: bool) -> Rated:
    """Measure one number type, and attention; raises GlimpError or OSError."""
    narrow = _written(request, type_name, folder, WIDTHS[0], _BYTES[0], attention=attention)
    wide = _written(request, type_name, folder, WIDTHS[1], _BYTES[1], attention=False)
    return Rated(type_name, Rate(narrow.byte_seconds, wide.byte_seconds, narrow.cell_seconds))


def measure_file(request: Request, path: Path) -> Rated:
    """Measure a model; raises GlimpError or OSError."""
    found = footprint(read_header(path))
    cached = sum(layer.cache_values for layer in found.layers)
    matrices = sum(sum(layer.matrices_bytes.values()) for layer in (*found.layers, found.output))
    measured = _compute(request, path, matrices, cached, min(_CONTEXT, found.trained_context))
    return Rated(str(path), Rate(measured.byte_seconds, measured.byte_seconds, measured.cell_seconds))


def _written(
    request: Request, type_name: str, folder: Path, width: int, weights_bytes: float, *, attention: bool
) -> _Measured:
    """Measure a model of one number type of about as many bytes."""
    path = folder / f"{type_name}-{width}.gguf"
    proof_models.write_model(path, type_name, width=width, wider=_WIDER)
    layer_bytes = sum(footprint(read_header(path)).layers[0].matrices_bytes.values())
    layers = max(1, round(weights_bytes / layer_bytes))
    if layers > 1:
        proof_models.write_model(path, type_name, width=width, wider=_WIDER, layers=layers)
    try:
        return _compute(request, path, layers * layer_bytes, layers * 2 * width if attention else 0, _CONTEXT)
    finally:
        path.unlink()


def _compute(request: Request, path: Path, matrices_bytes: int, cached: int, context: int) -> _Measured:
    """Measure a model; it keeps `cached` numbers of a token in its cache, 0 where that does not matter."""
    from glimp_local.engines.llama.bare import BareModel  # noqa: PLC0415 - loads llama.cpp: this may be what fails

    options = EngineOptions(
        gpu_layers=-1 if request.gpu else 0,
        extra_buffers=request.extra_buffers,
        flash_attention="auto" if request.gpu else "off",
    )
    held = min(HELD, context - _BEGINNING - max(SIZES))
    with BareModel(path, options, context=context, threads=request.threads) as model:
        model.decode(range(_BEGINNING))

        def timed(sizes: Sequence[int], length: int) -> dict[int, float]:
            found = {}
            for size in sizes:
                seconds: list[float] = []
                end = perf_counter() + _PATIENCE_SECONDS
                while len(seconds) < _REPEATS[size] and not (seconds and perf_counter() > end):
                    model.cut(length)
                    if size == 1:
                        model.decode([0])  # the first one behind another size has its graph built for it
                    began, begun = perf_counter(), process_time()
                    model.decode([0] * size)
                    wall, used = perf_counter() - began, process_time() - begun
                    if request.gpu or used >= _LEAST_USED * request.threads * wall:
                        seconds.append(wall)
                    elif perf_counter() > end:
                        raise GlimpError("other programs keep the cores busy")
                found[size] = min(seconds)
            return found

        seconds = timed(SIZES, _BEGINNING)
        behind = dict[int, float]()
        if cached and held > 0:
            model.cut(_BEGINNING)
            model.decode([0] * held)
            behind = timed(HELD_SIZES, _BEGINNING + held)
    numbers = cached * max(padded(_BEGINNING + held + 1) - CELLS, 1)
    return _Measured(
        {size: seconds[size] / matrices_bytes for size in SIZES},
        {size: max(behind[size] - seconds[size], 0.0) / numbers for size in behind},
    )


def main() -> None:
    """Measure what is asked for, and print what comes of it."""
    request, folder = msgspec.json.decode(sys.argv[1], type=Request), Path(sys.argv[2])
    try:
        from glimp_local.engines.llama import binding  # noqa: PLC0415 - this may be what fails

        if not request.gpu:
            binding.leave_gpus_alone()
        for i, name in enumerate(request.names):
            if request.are_files:
                rated = measure_file(request, Path(name))
            else:
                rated = measure(request, name, folder, attention=request.attention and i == 0)
            sys.stdout.write(msgspec.json.encode(rated).decode() + "\n")
            sys.stdout.flush()
    except (GlimpError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
