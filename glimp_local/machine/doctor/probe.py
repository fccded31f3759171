"""llama.cpp tried out in a process of its own: a build for another processor, or a GPU that fails, kills only that.

`python -m glimp_local.machine.doctor.probe` prints lines of JSON: a `Build` once llama.cpp has started, then a `Proof`;
instead of either an `Objection`. `probe` runs that and never raises for what becomes of it. Importing this module
loads nothing.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from contextlib import closing
from time import perf_counter
from typing import Any

import msgspec

from glimp_local import apart
from glimp_local.engines.llama.release import RELEASE
from glimp_local.errors import GlimpError
from glimp_local.hardware import Device

_SECONDS = 180
"""The first use of a GPU may compile its programs."""
_CONTEXT = 64


class Build(msgspec.Struct, frozen=True, tag=True):
    """What the installed llama-cpp-python is made of."""

    release: str
    """Version of llama-cpp-python."""
    ggml: str
    """Version of the llama.cpp inside."""
    backends: list[str]
    """Compiled in, like CPU and CUDA."""
    offloads: bool
    """Is one of them for GPUs?"""
    features: str
    """What each backend was compiled with, like the CPU's instructions."""
    devices: list[Device]
    """What the backends found."""


class Proof(msgspec.Struct, frozen=True, tag=True):
    """A token was written by the built-in small model, with as many layers on a GPU as there are."""

    layers: int
    """0 where llama.cpp has no GPU to put them on."""
    layers_on_gpu: int
    """As llama.cpp said while it loaded the model."""
    seconds: float
    """Loading included."""


class Objection(msgspec.Struct, frozen=True, tag=True):
    """Why it went no further."""

    error: str
    hint: str | None = None


class Probe(msgspec.Struct, frozen=True):
    """What became of it."""

    build: Build | None = None
    """None where llama.cpp did not start."""
    proof: Proof | None = None
    """None where no token came out."""
    objection: Objection | None = None
    """None where a token came out."""


def probe(seconds: float = _SECONDS) -> Probe:
    """Start llama.cpp in a process of its own, have a token written, and say what became of it."""
    ending = apart.run("glimp_local.machine.doctor.probe", seconds=seconds)
    decoder = msgspec.json.Decoder(Build | Proof | Objection)
    said: dict[str, Any] = {}
    for line in ending.output.splitlines():
        try:
            record = decoder.decode(line)
        except msgspec.DecodeError:
            continue  # some library's own words
        said[type(record).__name__.lower()] = record
    if "proof" not in said and "objection" not in said:
        said["objection"] = Objection(ending.words)
    return Probe(**said)


def _say(record: msgspec.Struct) -> None:
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


def _build() -> Build:
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - loads llama.cpp: this may be what fails

    return Build(
        release=RELEASE,
        ggml=binding.build(),
        backends=binding.backends(),
        offloads=binding.offloads(),
        features=binding.system_info(),
        devices=binding.devices(),
    )


class _Layers(logging.Handler):
    """Hears how many layers llama.cpp puts on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.on_gpu, self.all = 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        said = re.search(r"offloaded (\d+)/(\d+) layers to GPU", record.getMessage())
        if said:
            self.on_gpu, self.all = int(said[1]), int(said[2])


def _prove() -> Proof:
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - loads llama.cpp: it may be what fails
    from glimp_local.engines.llama.engine import Engine  # noqa: PLC0415 - as above
    from glimp_local.paths import BUILTIN_FOLDER  # noqa: PLC0415 - as above
    from glimp_local.settings import EngineOptions  # noqa: PLC0415 - after the binding: it may be what fails

    layers = _Layers()
    if binding.offloads():  # a build with RPC says of all layers that they are on a GPU, even if there is none
        binding.log.addHandler(layers)
    binding.log.setLevel(logging.DEBUG)
    model = BUILTIN_FOLDER / "small.gguf"
    began = perf_counter()
    with closing(Engine(model, EngineOptions(gpu_layers=-1), context=_CONTEXT)) as engine:
        engine.feed(engine.vocabulary.tokenize("Mia has 24 marbles."))
        engine.decode(int(engine.logits().argmax()))
    return Proof(layers=layers.all, layers_on_gpu=layers.on_gpu, seconds=perf_counter() - began)


def main() -> None:
    """Try llama.cpp out and print what is found."""
    try:
        _say(_build())
        _say(_prove())
    except GlimpError as error:
        _say(Objection(str(error), error.hint))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is to be found out
        _say(Objection(traceback.format_exception_only(error)[-1].strip()))


if __name__ == "__main__":
    main()
