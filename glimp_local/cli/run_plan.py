"""What `glimp plan` shows."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table

from glimp_local import units
from glimp_local.cli.terminal import say_that_it_measures, write, write_json
from glimp_local.errors import ModelMissingError
from glimp_local.load import LoadRequest, configured
from glimp_local.machine.choice import larger_offer, model_sources, plan_of
from glimp_local.machine.forecast import Forecaster
from glimp_local.machine.plan import CPU, Plan
from glimp_local.machine.speed import PairSpeed
from glimp_local.machine.survey import Gpu, Machine, survey
from glimp_local.models import files
from glimp_local.models.catalogue import load_catalogue
from glimp_local.routing import MODELS
from glimp_local.settings import PairConfig
from glimp_local.text import harmless

_GIB, _MIB = 2**30, 2**20


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
    speed: PairSpeed | None
    """A forecast; null where a device or a number type cannot be measured, as one of another machine."""


def run(request: LoadRequest, *, ram_gib: float | None, vram_gib: tuple[float, ...], as_json: bool) -> int:
    """Plan a pair the way the flags say; return the exit code."""
    catalogue = load_catalogue(request.models_file)
    name, config = configured(request, catalogue)
    machine = _machine(ram_gib, vram_gib)
    forecaster = Forecaster(machine, measures=not any(vram_gib), on_measuring=say_that_it_measures)
    expected = forecaster.forecast(config)
    if expected.plan is None:
        plan_of(config, machine)  # says what is wrong with a file
        files.find_all(model_sources(config), name)  # says what is missing, and how to get it
        raise AssertionError
    plan = expected.plan
    context = max(chosen.context for chosen in plan.models.values())
    if as_json:
        report = PlanReport(name, plan.fits, plan.runs, context, plan, expected.speed)
        write_json(msgspec.json.encode(report))
    else:
        _show(name, config, plan, expected.speed)
        if forecaster.failure is not None:
            write(f"No speed is forecast, because this machine could not be measured: {forecaster.failure}.\n")
        elif any(chosen.rpc for chosen in plan.models.values()):
            write("No speed is forecast: an RPC server cannot be measured before a model is loaded there.\n")
        elif expected.speed is None:
            write("No speed is forecast: this computer has no such GPU, or cannot measure such weights.\n")
        if not plan.fits and (fitting := larger_offer(catalogue, machine)) is not None and fitting.name != name:
            write(f"One that fits: {fitting}.\n")
    return 0 if plan.fits else 1


def _machine(ram_gib: float | None, vram_gib: tuple[float, ...]) -> Machine:
    machine = survey()
    if ram_gib is not None:
        machine = msgspec.structs.replace(machine, free_bytes=int(ram_gib * _GIB))
    if vram_gib:
        gpus = tuple(Gpu(f"GPU{i}", int(size * _GIB)) for i, size in enumerate(filter(None, vram_gib)))
        machine = msgspec.structs.replace(machine, gpus=gpus)
    return machine


def _show(name: str, config: PairConfig, plan: Plan, speed: PairSpeed | None) -> None:
    console = Console(highlight=False)
    table = _table("MiB", "layers", "weights", "cache", "computing", "other", "in all")
    for part in sorted(plan.parts, key=lambda part: (MODELS.index(part.model), part.device != CPU)):
        sizes = (part.weights_bytes, part.cache_bytes, part.compute_bytes, part.other_bytes, part.total_bytes)
        table.add_row(f"{part.model}, {part.device}", str(part.layers), *(f"{size / _MIB:,.0f}" for size in sizes))
    _say(console, name, style="bold")
    console.print(table)
    fits = f"It fits: {plan.line()}" if plan.fits else f"Planned: {plan.where()}"
    for said in (fits, *plan.remarks(config), _unplaced(config, plan), _missing(config)):
        if said:
            _say(console, f"{said}.")
    if speed is not None:
        _show_speed(console, speed)


def _show_speed(console: Console, speed: PairSpeed) -> None:
    table = _table("Tokens/s, forecast", "writing", "reading")
    for model in MODELS:
        if (found := speed.models.get(model)) is not None:
            rates = (found.tokens_per_second, found.prompt_tokens_per_second)
            table.add_row(f"{model} alone", *map(units.speed_figure, rates))
    console.print()
    console.print(table)
    if speed.large_seconds is None:
        return
    drafted = f", {speed.drafted_seconds:,.3g} s with the small one drafting" if speed.drafted_seconds else ""
    routed = ", ".join(f"{seconds:,.3g} s at {float(share):.0%}" for share, seconds in speed.routed_seconds.items())
    _say(console, f"1,000 tokens of thought: {speed.large_seconds:,.3g} s by the large model alone{drafted}.")
    _say(console, f"Routed, by the large model's share of the steps: {routed}.")
    verdict = "It pays here" if speed.pays else "It does not pay here"
    _say(console, f"{verdict}: at 25% it takes {speed.ratio:.2f} of the large model's time at its quickest.")


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _say(console: Console, text: str, style: str = "none") -> None:
    """Print a text: wrapped and harmless on a terminal, as it is into a pipe."""
    if console.is_terminal:
        console.print(harmless(text), style=style, markup=False)
    else:
        write(f"{text}\n")


def _unplaced(config: PairConfig, plan: Plan) -> str | None:
    """Say it where layers were asked onto a GPU and there is none."""
    unplaced = [config.options(model).gpu_layers for model, chosen in plan.models.items() if not chosen.gpu_layers]
    asked = any(isinstance(layers, int) and layers for layers in unplaced)
    return "There is no GPU for the layers that should be on one" if asked else None


def _missing(config: PairConfig) -> str | None:
    """Say it where a file is not there, so that the plan rests on what is known of it."""
    missing = []
    for model, source in model_sources(config).items():
        try:
            files.find(source)
        except ModelMissingError:
            missing.append(model)
    models = " and the ".join(missing)
    return f"The {models} model: not downloaded, so planned from what is known of the file" if missing else None
