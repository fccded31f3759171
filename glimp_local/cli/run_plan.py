"""What `glimp plan` shows."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from glimp_local import model_files
from glimp_local.choice import model_sources, plan_of
from glimp_local.config import PairConfig, load_catalogue
from glimp_local.errors import ModelMissingError
from glimp_local.machine import Gpu, Machine, survey
from glimp_local.pair import configured
from glimp_local.plan import CPU, Plan, size
from glimp_local.routing import MODELS, Model

_GIB = 2**30


class PlanReport(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    pair: str
    fits: bool
    """Is there room on every device?"""
    runs: bool
    """Can it be loaded? Weights that do not fit into memory are read from the disk again and again."""
    context: int
    """Tokens; the greatest of both models'."""
    plan: Plan


def run(settings: dict[str, Any], options: dict[Model, dict[str, Any]], flags: dict[str, Any]) -> int:
    """Plan a pair the way the flags say; give the exit code."""
    name, config = configured(
        flags["name"],
        small=flags["small"],
        large=flags["large"],
        catalogue=load_catalogue(flags["models_file"]),
        engine_options=options,
        settings=settings,
    )
    plan = plan_of(config, _machine(flags["ram"], flags["vram"]))
    if plan is None:
        raise ModelMissingError(
            f"the files of {name} are not on this machine, and nothing is known of them before they are",
            hint=f"glimp models pull {name}",
        )
    context = max(chosen.context for chosen in plan.models.values())
    if flags["as_json"]:
        report = PlanReport(name, plan.fits, plan.runs, context, plan)
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _show(name, config, plan)
    return 0 if plan.fits else 1


def _machine(ram_gib: float | None, vram_gib: float | None) -> Machine:
    machine = survey()
    if ram_gib is not None:
        machine = msgspec.structs.replace(machine, free_bytes=int(ram_gib * _GIB))
    if vram_gib is not None:
        gpus = (Gpu("GPU0", int(vram_gib * _GIB)),) if vram_gib else ()
        machine = msgspec.structs.replace(machine, gpus=gpus)
    return machine


def _show(name: str, config: PairConfig, plan: Plan) -> None:
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    table.add_column("on")
    for column in ("layers", "weights", "cache", "computing", "other", "in all"):
        table.add_column(column, justify="right")
    for part in sorted(plan.parts, key=lambda part: (MODELS.index(part.model), part.device != CPU)):
        sizes = (part.weights_bytes, part.cache_bytes, part.compute_bytes, part.other_bytes, part.total_bytes)
        table.add_row(part.model, part.device, str(part.layers), *map(size, sizes))
    console.print(name, markup=False)
    console.print(table)
    for said in (_verdict(plan), plan.cut(config), _missing(config)):
        if said:
            console.print(f"{said}.", markup=False)


def _verdict(plan: Plan) -> str:
    shortage = plan.shortage()
    return f"It fits: {plan.line()}" if shortage is None else f"{shortage}: {plan.line()}"


def _missing(config: PairConfig) -> str | None:
    """Say it where a file is not there, so that the plan rests on what is known of it."""
    missing = []
    for model, source in model_sources(config).items():
        try:
            model_files.find(source)
        except ModelMissingError:
            missing.append(model)
    models = " and the ".join(missing)
    return f"The {models} model: not downloaded, so planned from what is known of the file" if missing else None
