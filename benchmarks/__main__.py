"""`python -m benchmarks`: measure and print, or put it into docs/benchmarks.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.core import ParameterSource

from benchmarks import (
    busy,
    catalogue,
    conversations,
    costs,
    document,
    drafting,
    end_to_end,
    floor,
    forecast,
    long_session,
    memory,
    pace,
    planned,
    remote,
    serve_cost,
    serve_fuzz,
    serve_load,
)
from benchmarks.setup import MissingError, Setup
from glimp_local.errors import GlimpError

SECTIONS: dict[str, ModuleType] = {
    "pace": pace,
    "busy": busy,
    "costs": costs,
    "floor": floor,
    "drafting": drafting,
    "end-to-end": end_to_end,
    "memory": memory,
    "long-session": long_session,
    "conversations": conversations,
    "plan": planned,
    "forecast": forecast,
    "catalogue": catalogue,
    "remote": remote,
    "serve": serve_cost,
    "serve-load": serve_load,
    "serve-fuzz": serve_fuzz,
}
_FILE = click.Path(path_type=Path)
_REAL = ("smollm2-135m-instruct-q4_1.gguf", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf")
_SHARED = ("stories15m-f16.gguf", "tinyllama-1.1b-chat-iq2_xxs.gguf")


def _in_folder(variable: str, name: str) -> Path | None:
    """Give a model's path in the folder that a variable names."""
    return Path(os.environ[variable], name) if os.environ.get(variable) else None


def _given(context: click.Context) -> list[str]:
    """Give the options of the command line, without the folders of files."""
    given = []
    for name, value in context.params.items():
        if name not in {"sections", "write"} and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            given += [f"--{name.replace('_', '-')}", value.name if isinstance(value, Path) else str(value)]
    return given


@click.command()
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--write", is_flag=True, help="Put the sections into docs/benchmarks.md.")
@click.option("--small", type=_FILE, help="Of the pair of two vocabularies; else SmolLM2 in GLIMP_REAL_PAIR.")
@click.option("--large", type=_FILE, help="Its large model; else Qwen2.5-Coder there.")
@click.option("--shared-small", type=_FILE, help="Of the pair of one vocabulary; else in GLIMP_SHARED_VOCAB_PAIR.")
@click.option("--shared-large", type=_FILE, help="Its large model.")
@click.option("--problems", type=_FILE, help="Problems for the pair of two vocabularies, as for `glimp bench`.")
@click.option("--llama-bench", type=_FILE, help="A llama-bench of the same release; else one is built.")
@click.option("--llama-server", type=_FILE, help="A llama-server to be measured beside `glimp serve`.")
@click.option("--gpu-layers", type=click.IntRange(-1), default=-1, show_default=True, help="-1 is all, 0 none.")
@click.option("--gpu-layers-small", type=click.IntRange(-1), help="Of the small model of a pair alone.")
@click.option("--gpu-layers-large", type=click.IntRange(-1), help="Of the large model of a pair alone.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--tokens", type=click.IntRange(2), default=128, show_default=True, help="A run writes at most.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Problems of each pair.")
@click.option("--solves", type=click.IntRange(1), default=300, show_default=True, help="Watched for growth.")
@click.option("--session-tokens", type=click.IntRange(64), default=16384, show_default=True, help="The long session.")
@click.option("--requests", type=click.IntRange(1), default=200, show_default=True, help="That load a server.")
@click.option("--bodies", type=click.IntRange(1), default=5000, show_default=True, help="Of the fuzzer.")
@click.pass_context
def main(context: click.Context, /, sections: tuple[str, ...], write: bool, **options: Any) -> None:
    """Measure SECTIONS (all without one) and print them as Markdown."""
    given = _given(context)
    for keys, variable, names in (
        (("small", "large"), "GLIMP_REAL_PAIR", _REAL),
        (("shared_small", "shared_large"), "GLIMP_SHARED_VOCAB_PAIR", _SHARED),
    ):
        for key, name in zip(keys, names, strict=True):
            options[key] = options[key] or _in_folder(variable, name)
    setup, missing, code = Setup(**options), [], 0
    chosen = sections or tuple(SECTIONS)
    for name in chosen:
        machine = document.machine()
        try:
            blocks = SECTIONS[name].measure(setup)
        except MissingError as error:
            print(f"{name}: not measured. {error}{f' ({error.hint})' if error.hint else ''}\n", file=sys.stderr)
            missing.append(name)
            continue
        except GlimpError as error:
            print(f"{name}: {error}{f' ({error.hint})' if error.hint else ''}\n", file=sys.stderr)
            code = error.exit_code
            continue
        drawn = document.section(SECTIONS[name].HEADING, [name, *given], blocks, machine)
        print(drawn, flush=True)
        if write:
            document.write(drawn)
    sys.exit(1 if len(missing) == len(chosen) else code)


if __name__ == "__main__":
    main()
