"""What `glimp plan` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

from glimp_local import units
from glimp_local.cli.terminal import say_that_it_measures, write, write_json
from glimp_local.errors import ModelMissingError, ServerError
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

if TYPE_CHECKING:
    from glimp_local.machine.servers import PairServers

_GIB, _MIB = 2**30, 2**20


class PlanReport(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    pair: str
    fits: bool
    """Is there room on every device?"""
    runs: bool
    """Can it be loaded? Weights that do not fit into memory are read from the disk again and again."""
    context: int | None
    """Tokens; the greatest of both models'. Null if a server that did not answer has the only one."""
    plan: Plan | None
    """Of the models that this machine computes; null if all are on servers."""
    speed: PairSpeed | None
    """A forecast; null where a device or a number type cannot be measured, as one of another machine."""
    servers: PairServers | None
    """What the servers of its models answered; null if it has none."""


def run(request: LoadRequest, *, ram_gib: float | None, vram_gib: tuple[float, ...], as_json: bool) -> int:
    """Plan a pair the way the flags say; return the exit code."""
    catalogue = load_catalogue(request.models_file)
    name, config = configured(request, catalogue)
    machine = _machine(ram_gib, vram_gib)
    forecaster = Forecaster(machine, measures=not any(vram_gib), asks=True, on_measuring=say_that_it_measures)
    expected = forecaster.forecast(config)
    plan = expected.plan
    if plan is None and config.local_models:
        plan_of(config, machine)  # says what is wrong with a file
        files.find_all(model_sources(config), name)  # says what is missing, and how to get it
        raise AssertionError
    servers = _servers(config)
    if as_json:
        report = PlanReport(
            pair=name,
            fits=plan is None or plan.fits,
            runs=plan is None or plan.runs,
            context=max(_contexts(plan, servers), default=None),
            plan=plan,
            speed=expected.speed,
            servers=servers,
        )
        write_json(msgspec.json.encode(report))
    else:
        _show(name, config, plan, expected.speed)
        if plan is not None and forecaster.failure is not None:
            write(f"No speed is forecast, because this machine could not be measured: {forecaster.failure}.\n")
        elif plan is not None and any(chosen.rpc for chosen in plan.models.values()):
            write("No speed is forecast: an RPC server cannot be measured before a model is loaded there.\n")
        elif plan is not None and expected.speed is None:
            write("No speed is forecast: this computer has no such GPU, or cannot measure such weights.\n")
        if servers is not None:
            _show_servers(config, plan, servers)
        if plan is not None and not plan.fits:
            fitting = larger_offer(catalogue, machine)
            if fitting is not None and fitting.name != name:
                write(f"One that fits: {fitting}.\n")
    if plan is not None and not plan.fits:
        return 1
    return 0 if servers is None or servers.is_ready else ServerError.exit_code


def _servers(config: PairConfig) -> PairServers | None:
    """Ask the servers of a pair."""
    if not config.remote_models:
        return None
    from glimp_local.machine.servers import look_at  # noqa: PLC0415 - a pair of files does without

    return look_at(config)


def _contexts(plan: Plan | None, servers: PairServers | None) -> list[int]:
    """Return the contexts of both models, as far as they are known."""
    found = [] if plan is None else [chosen.context for chosen in plan.models.values()]
    states = [] if servers is None else servers.states.values()
    return [*found, *(state.context_tokens for state in states if state.context_tokens is not None)]


def _machine(ram_gib: float | None, vram_gib: tuple[float, ...]) -> Machine:
    machine = survey()
    if ram_gib is not None:
        machine = msgspec.structs.replace(machine, free_bytes=int(ram_gib * _GIB))
    if vram_gib:
        gpus = tuple(Gpu(f"GPU{i}", int(size * _GIB)) for i, size in enumerate(filter(None, vram_gib)))
        machine = msgspec.structs.replace(machine, gpus=gpus)
    return machine


def _show(name: str, config: PairConfig, plan: Plan | None, speed: PairSpeed | None) -> None:
    console = Console(highlight=False)
    if plan is None:
        _say(console, name, style="bold")
        _say(console, "All of it is on servers: nothing of this machine's memory is needed.")
        return
    table = _table("MiB", "layers", "weights", "cache", "computing", "other", "in all")
    for part in sorted(plan.parts, key=lambda part: (MODELS.index(part.model), part.device != CPU)):
        sizes = (part.weights_bytes, part.cache_bytes, part.compute_bytes, part.other_bytes, part.total_bytes)
        table.add_row(f"{part.model}, {part.device}", str(part.layers), *(f"{size / _MIB:,.0f}" for size in sizes))
    _say(console, name, style="bold")
    console.print(table)
    what = f"The {min(plan.models)} model fits" if config.remote_models else "It fits"
    fits = f"{what}: {plan.line()}" if plan.fits else f"Planned: {plan.where()}"
    for said in (fits, *plan.remarks(config), _unplaced(config, plan), _missing(config)):
        if said:
            _say(console, f"{said}.")
    if speed is not None:
        _show_speed(console, speed)


def _show_servers(config: PairConfig, plan: Plan | None, servers: PairServers) -> None:
    """Show what a pair's servers answered."""
    console = Console(highlight=False)
    console.print()
    for model, state in servers.states.items():
        _say(console, f"{model} on {state.place}: {state.in_words()}.")
        if state.hint is not None:
            _say(console, f"  hint: {state.hint}")
        if state.is_ready and model == "small" and state.takes_token_ids is False and len(config.models) > 1:
            _say(console, "  It takes no token ids, so it cannot be glimpsed at, as a small model must be.")
        if state.warning is not None:
            _say(console, f"  {state.warning}.")
    if (said := servers.vocabulary_in_words()) is not None:
        _say(console, f"{said}.")
    if len(contexts := set(_contexts(plan, servers))) > 1:
        _say(console, f"The shorter context counts: {min(contexts):,} tokens.")


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
