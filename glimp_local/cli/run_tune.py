"""What `glimp doctor --tune` measures, and where it writes it."""

from __future__ import annotations

from functools import partial

import msgspec
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from glimp_local import units
from glimp_local.cli.interrupts import Interrupts
from glimp_local.errors import CancelledError, UsageError
from glimp_local.load import LoadRequest, configured, load
from glimp_local.machine.addresses import in_words, places_of
from glimp_local.machine.survey import cores
from glimp_local.machine.tuning import Tuning, measurable, thread_counts, tune
from glimp_local.models import models_toml
from glimp_local.models.catalogue import load_catalogue
from glimp_local.pair import Pair
from glimp_local.paths import user_file
from glimp_local.routing import MODELS, Model

_SHOWN = (1, 2, 3, 4, 5, 8, 9, 16, 32)
"""Sizes of batches at which the costs have steps on the usual processors and GPUs."""
_BUSY = 0.5
"""From this load on, in threads, something else was at work."""


class PairTuning(msgspec.Struct, frozen=True):
    """What `--tune` found."""

    pair: str
    load: float
    """Threads that were at work on this machine in the minute before."""
    offloaded: list[Model]
    """Models of which a GPU computes all layers: threads matter little for them, and only one number is measured."""
    small: Tuning | None
    """None where it was not measured: the pair does without it, or it computes elsewhere."""
    large: Tuning | None
    flags: str
    """The same choice as flags; empty if no threads were chosen."""
    written: str | None
    """The models.toml the threads were put into; None for a pair without a name, or if none were chosen."""


def tune_pair(request: LoadRequest, *, quiet: bool) -> PairTuning:
    """Measure the threads of a pair, and write them into its models.toml."""
    request = _of_this_machine(request)
    busy = psutil.getloadavg()[0]
    try:
        with Interrupts() as interrupts, load(request, cancel=interrupts.cancel) as pair:
            found = {model: measurable(backend) for model, backend in pair.backends.items()}
            offloaded: list[Model] = [
                model for model, engine in found.items() if engine and engine.placement.is_offloaded
            ]
            tuned = _measure(pair, quiet=quiet)
            if interrupts.exit_code is not None:  # it came in the last measurement
                raise CancelledError("interrupted")  # noqa: TRY301 - it gets its exit code from the context
    except CancelledError as error:
        stopped = CancelledError("interrupted: nothing was written")
        stopped.exit_code = error.exit_code
        raise stopped from error
    chosen = {
        model: {"threads": found.threads, "threads_batch": found.threads_batch}
        for model, found in tuned.items()
        if model not in offloaded
    }
    written = None
    if chosen and not request.files:
        file = request.models_file or user_file()
        models_toml.put(file, pair.name, {model: {"options": values} for model, values in chosen.items()})
        written = str(file)
    return PairTuning(
        pair=pair.name,
        load=busy,
        offloaded=offloaded,
        small=tuned.get("small"),
        large=tuned.get("large"),
        flags=" ".join(
            f"--{key.replace('_', '-')}-{model} {value}"
            for model, values in chosen.items()
            for key, value in values.items()
        ),
        written=written,
    )


def _of_this_machine(request: LoadRequest) -> LoadRequest:
    """Return a request without the models on servers, which are not connected to; raises UsageError if none is left."""
    name, config = configured(request, load_catalogue(request.models_file))
    if not config.remote_models:
        return request
    if not config.local_models:
        raise UsageError(
            f"no model of {name} computes on this machine: {in_words(places_of(config))}",
            hint="threads are set where the server is started",
        )
    return request.changed(policy=config.local_models[0])


def _measure(pair: Pair, *, quiet: bool) -> dict[Model, Tuning]:
    physical, logical = cores()
    # From the likeliest to the least likely one.
    counts = sorted(thread_counts(physical, logical), key=lambda count: (count != physical, count != logical, -count))
    says = Console(stderr=True)
    bar = Progress(
        TextColumn("measuring the {task.description} model"),
        BarColumn(),
        console=says,
        transient=True,
        disable=quiet or not says.is_terminal,
    )
    tuned: dict[Model, Tuning] = {}
    with bar:
        for model in MODELS:
            engine = measurable(pair.backends[model]) if model in pair.backends else None
            if engine is None:
                continue
            task = bar.add_task(model, total=1.0)
            tried = [engine.placement.threads] if engine.placement.is_offloaded else counts
            tuned[model] = tune(engine, tried, on_progress=partial(_show_done, bar, task))
    return tuned


def _show_done(bar: Progress, task: TaskID, done: float) -> None:
    bar.update(task, completed=done)


def lines(found: PairTuning) -> list[str]:
    """Say what was found, line by line."""
    says = []
    for model in MODELS:
        tuning: Tuning | None = getattr(found, model)
        if tuning is not None:
            chosen = (
                "a GPU computes all layers, so that threads matter little"
                if model in found.offloaded
                else f"chosen: threads = {tuning.threads}, threads_batch = {tuning.threads_batch}"
            )
            says += [f"{model}: {tuning.name}", *_table(tuning, chosen), ""]
    if (found.small or found.large) and found.load > _BUSY:
        says.append(
            f"Something was at work in the minute before (load {found.load:.1f}): if it goes on, measure again later."
        )
    if found.written:
        says.append(f"Written into {found.written}, for the pair {found.pair!r}.")
    elif found.flags:
        says.append(f"The flags that say so: {found.flags}")
    return says


def _table(tuning: Tuning, chosen: str) -> list[str]:
    shown = [tokens for tokens in _SHOWN if tokens in tuning.batch_seconds]
    takes = [f"{1000 * tuning.batch_seconds[tokens]:.3g}" for tokens in shown]
    return [
        f"  threads   one token at a time   prompts of {tuning.prompt_tokens} tokens",
        *(
            f"{speed.threads:>9}{_cell(speed.decode_tokens_per_second)}{_cell(speed.prefill_tokens_per_second)}"
            for speed in tuning.speeds
        ),
        f"  {chosen}",
        f"  a batch of {', '.join(map(str, shown))} tokens takes {', '.join(takes)} ms",
    ]


def _cell(tokens_per_second: float | None) -> str:
    return f"{'left out' if tokens_per_second is None else units.speed(tokens_per_second):>22}"
