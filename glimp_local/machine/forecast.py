"""What to expect of a pair before it is loaded or downloaded: does it fit this machine, and how fast would it write.

Reads headers, counts memory and asks for the machine's rates; loads no model and never touches the network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import msgspec

from glimp_local import units
from glimp_local.engines.llama.rates import Rates
from glimp_local.errors import DeviceError, GlimpError
from glimp_local.machine import addresses
from glimp_local.machine.choice import footprints_of, model_sources
from glimp_local.machine.plan import CPU, Plan
from glimp_local.machine.planning import make_plan
from glimp_local.machine.speed import PairSpeed, pair_speed
from glimp_local.machine.survey import Gpu, Machine, with_servers
from glimp_local.models import files
from glimp_local.models.compare import compare
from glimp_local.models.footprint import Footprint
from glimp_local.models.gguf.header import read_header
from glimp_local.routing import MODELS, Model
from glimp_local.settings import ModelSource, PairConfig


class PairFiles(msgspec.Struct, frozen=True):
    """How much of a pair is on this machine. A model on a server has no files."""

    here_bytes: int
    size_bytes: int | None
    """Of all its files; None if nobody says."""
    missing: tuple[ModelSource, ...] = ()
    """Models that are to be downloaded before the pair can be loaded."""
    problem: str | None = None
    """Why a model can neither be loaded nor downloaded: its path leads nowhere, or its address is none."""

    @property
    def is_here(self) -> bool:
        """Can it be loaded as it is?"""
        return not self.missing and self.problem is None

    @property
    def missing_bytes(self) -> int | None:
        """What is still to be downloaded; None if nobody says."""
        return None if self.size_bytes is None else max(0, self.size_bytes - self.here_bytes)


class Forecast(msgspec.Struct, frozen=True):
    """What a pair would be on a machine."""

    plan: Plan | None = None
    """None if nothing is known of a model before it is downloaded, or if its file cannot be read."""
    speed: PairSpeed | None = None
    """None where a device or a number type could not be measured."""
    cut: str | None = None
    """What is made smaller than usual so that it fits, as a sentence."""
    problem: str | None = None
    """What is wrong with a file, or with an RPC server."""
    is_unasked: bool = False
    """Has the pair RPC servers, which were not asked?"""
    places: dict[Model, str] = {}
    """The servers that models are on: host and port."""

    def in_words(self) -> str:
        """Return whether it fits, and its likely speed, in a few words."""
        if self.problem is not None:
            return "cannot be read"
        if self.plan is None and self.is_unasked:
            return "with layers on RPC servers"
        if self.plan is None:
            return "nothing to load here" if self.places else "not known before it is here"
        if not self.plan.runs:
            return "does not fit"
        if not self.plan.fits:
            return "too large: very slow"
        return ", ".join(filter(None, (f"fits{' with less context' if self.cut else ''}", *self._pace())))

    def _pace(self) -> Iterator[str]:
        if self.speed is None:
            return
        whose = f"the {min(self.speed.models)} model " if self.places else ""
        yield f"{whose}about {units.rough_speed(self.speed.tokens_per_second)}"
        if self.speed.ratio is not None:
            yield f"{1 / self.speed.ratio:.1f} times the large model's" if self.speed.pays else "does not pay here"


def pair_files(config: PairConfig) -> PairFiles:
    """Return which models of a pair are on this machine, of both of them, whatever its policy."""
    sources = [source for model in MODELS if (source := config.source(model)) is not None and source.url is None]
    here, sizes, missing, problems = 0, [], [], []
    if (unusable := addresses.problem_of(config)) is not None:
        problems.append(unusable)
    for source in files.distinct(sources):
        try:
            found = files.look(source)
            here += found.here_bytes
            sizes.append(found.here_bytes if found.is_here else source.size_bytes)
            if not found.is_here and source.path is None:
                missing.append(source)
            elif not found.is_here:
                files.find(source)  # says which file is missing
        except (GlimpError, OSError) as error:  # OSError: a folder of the cache that one may not look into
            hint = error.hint if isinstance(error, GlimpError) else None
            problems.append(f"{error} ({hint})" if hint else str(error))
            sizes.append(source.size_bytes)
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return PairFiles(here, total, tuple(missing), "; ".join(problems) or None)


class Forecaster:
    """Says what to expect of pairs on a machine, from their files or from what is known of them.

    `loaded` is the plan of a pair in memory that will be closed before. How fast this computer is it measures when it
    first needs to, which takes some seconds: `on_measuring` hears it before, and a set `cancel` ends it. Without
    `measures` nothing is said of speed, as of a machine that is not this computer. RPC servers are asked for their
    memory if it `asks`; without, nothing is said of pairs that have some.
    """

    def __init__(
        self,
        machine: Machine,
        cancel: threading.Event | None = None,
        *,
        loaded: Plan | None = None,
        measures: bool = True,
        asks: bool = False,
        on_measuring: Callable[[], None] = lambda: None,
    ) -> None:
        self._machine = machine
        self._loaded = loaded
        self._asks = asks
        self._rates = Rates(cancel, on_measuring=on_measuring) if measures else None

    @property
    def failure(self) -> str | None:
        """Why this computer could not be measured."""
        return None if self._rates is None else self._rates.failure

    def forecast(self, config: PairConfig) -> Forecast:
        """Return what to expect of a pair.

        Raises BindingError where llama.cpp cannot be used, CancelledError where `cancel` is set meanwhile.
        """
        try:
            footprints = footprints_of(config)
        except (GlimpError, OSError) as error:
            return Forecast(problem=str(error))
        found = addresses.places_of(config)
        if not footprints:
            return Forecast(places=found) if footprints is not None else Forecast()
        if config.rpc_servers and not self._asks:
            return Forecast(places=found, is_unasked=True)
        try:
            machine = with_servers(self._machine, config)
        except DeviceError as error:
            return Forecast(problem=str(error))
        plan = make_plan(footprints, config, machine if self._loaded is None else without(self._loaded, machine))
        speed = None
        if self._rates is not None:
            one = _one_vocabulary(config, footprints)
            speed = pair_speed(footprints, plan, config, self._rates, one_vocabulary=one)
        return Forecast(plan, speed, plan.cut(config), places=found)


def _one_vocabulary(config: PairConfig, footprints: Mapping[Model, Footprint]) -> bool:
    """Have the models one vocabulary? Of models that are not here, all that is known is how many tokens it has."""
    if len({footprint.vocabulary for footprint in footprints.values()}) > 1:
        return False
    try:
        headers = [read_header(files.find(source)) for source in model_sources(config).values()]
    except GlimpError:
        return True
    return len(headers) < len(MODELS) or compare(*headers).vocabulary_difference is None


def without(plan: Plan, machine: Machine) -> Machine:
    """Return a machine as it will be once the pair that is loaded there by this plan is closed.

    Mapped pages of a file count as free already.
    """
    freed = dict.fromkeys([CPU, *(gpu.name for gpu in machine.gpus)], 0)
    for part in plan.parts:
        if part.device in freed:
            freed[part.device] += part.total_bytes - part.mapped_bytes
    shared = sum(freed[gpu.name] for gpu in machine.gpus if gpu.shares_memory)
    gpus = tuple(
        msgspec.structs.replace(
            gpu,
            free_bytes=_at_most(gpu, gpu.free_bytes + (shared + freed[CPU] if gpu.shares_memory else freed[gpu.name])),
        )
        for gpu in machine.gpus
    )
    return msgspec.structs.replace(machine, free_bytes=machine.free_bytes + freed[CPU] + shared, gpus=gpus)


def _at_most(gpu: Gpu, free_bytes: int) -> int:
    """Return what can be free: a server that computes on a CPU calls all of its memory free already."""
    return free_bytes if gpu.total_bytes is None else min(free_bytes, gpu.total_bytes)
