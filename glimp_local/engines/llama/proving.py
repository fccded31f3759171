"""The process in which llama.cpp is tried out: `python -m glimp_local.engines.llama.proving CHOICE FOLDER`.

It prints lines of JSON (`proof.Said`), each before what may end it; with `--pace` a `proof.Paces`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

import msgspec

from glimp_local.engines.llama import proof_models
from glimp_local.engines.llama.proof import Choice, Paces, Said
from glimp_local.errors import BindingError, GlimpError, MemoryShortError
from glimp_local.settings import EngineOptions

_BATCH = 16
_PACE_TYPE = "IQ4_NL"
"""A number type that llama.cpp repacks on most processors, and that its AMX kernels do not touch."""
_PACE_WIDTH, _PACE_LAYERS, _PACE_TOKENS, _PACE_ROUNDS = 1024, 2, 64, 5


def _say(record: msgspec.Struct) -> None:
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


def _compute(folder: Path, choice: Choice, type_name: str, *, width: int = 256, layers: int = 1) -> Paces:
    """Load a model of one number type, and compute a batch and a token with it; raises GlimpError if that fails."""
    from glimp_local.engines.llama.bare import BareModel  # noqa: PLC0415 - loads llama.cpp: this may be what fails

    path = folder / f"{type_name}.gguf"
    proof_models.write_model(path, type_name, width=width, layers=layers)
    batch = _BATCH if layers == 1 else _PACE_TOKENS
    options = EngineOptions(gpu_layers=-1, extra_buffers=choice.extra_buffers)
    with BareModel(path, options, context=4 * batch) as model:
        seconds: list[tuple[float, float]] = []
        for _ in range(1 if layers == 1 else _PACE_ROUNDS):
            model.forget()
            began = perf_counter()
            model.decode(range(batch))
            between = perf_counter()
            model.decode([0])
            seconds.append((between - began, perf_counter() - between))
    return Paces(min(prompt for prompt, _ in seconds), min(token for _, token in seconds))


def main() -> None:
    """Try one choice out, and print what comes of it."""
    choice, folder = msgspec.json.decode(sys.argv[1], type=Choice), Path(sys.argv[2])
    try:
        from glimp_local.engines.llama import binding  # noqa: PLC0415 - this may be what fails

        if not choice.gpu:
            binding.leave_gpus_alone()
        if "--pace" in sys.argv:
            _say(_compute(folder, choice, _PACE_TYPE, width=_PACE_WIDTH, layers=_PACE_LAYERS))
            return
        _say(Said(gpus=tuple(binding.gpus()), features=binding.system_info()))
        for type_name in proof_models.TYPES:
            _say(Said(trying=type_name))
            _compute(folder, choice, type_name)
        _say(Said(done=True))
    except (BindingError, MemoryShortError, OSError) as error:
        _say(Said(unknown=str(error)))
    except GlimpError as error:
        _say(Said(failure=str(error)))


if __name__ == "__main__":
    main()
