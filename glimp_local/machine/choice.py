"""Which pair is used where none is named, and which one to offer to somebody who has only the built-in one.

Reads headers and counts memory; loads nothing and never touches the network.
"""

from __future__ import annotations

import msgspec

from glimp_local import hardware, units
from glimp_local.errors import BindingError, ModelError, ModelMissingError
from glimp_local.machine.plan import Plan
from glimp_local.machine.planning import make_plan
from glimp_local.machine.survey import Machine, survey
from glimp_local.models import files
from glimp_local.models.catalogue import Catalogue
from glimp_local.models.footprint import Footprint, footprint
from glimp_local.models.gguf.header import Header, read_header
from glimp_local.models.known import known_header
from glimp_local.routing import Model
from glimp_local.settings import ModelSource, PairConfig

BUILTIN = "builtin"
_TEMPLATE = "tokenizer.chat_template"
_EASY = 0.6
"""What takes more of the memory that is free now may not fit tomorrow."""


class Offer(msgspec.Struct, frozen=True):
    """A pair for somebody whose question the built-in one is not for."""

    name: str
    download_bytes: int
    """0 where it is on this machine."""
    memory_bytes: int
    """On all devices together, as it is planned for this machine."""

    def __str__(self) -> str:
        """Say what it takes, and the command that gets it."""
        if not self.download_bytes:
            return f"{self.name}, which is on this machine: --pair {self.name}"
        return (
            f"{self.name} ({units.file_size(self.download_bytes)} to download, "
            f"{units.memory_size(self.memory_bytes)} of memory): glimp models pull {self.name}"
        )


def default_pair(catalogue: Catalogue) -> str:
    """Name the pair to use where none is named: the one models.toml says, else the best on this machine.

    That is the largest one that fits into memory, else the smallest one that can be loaded at all; only where there
    is none, the built-in pair.
    """
    return catalogue.default or _best_here(catalogue) or BUILTIN


def why_none(catalogue: Catalogue) -> str:
    """Say why no pair on this machine is used but the built-in one."""
    here = [name for name, config in catalogue.pairs.items() if config.only is None and _present(config)]
    if not here:
        return "no other one is on this machine"
    return f"{' and '.join(here)} cannot be loaded into the memory that is free now (glimp plan {here[0]})"


def _best_here(catalogue: Catalogue) -> str | None:
    present = {name: _present(config) for name, config in catalogue.pairs.items() if config.only is None}
    present = {name: footprints for name, footprints in present.items() if footprints}
    if not present:
        return None
    try:
        machine = survey()
    except BindingError:  # whoever loads a pair is told; without llama.cpp there is no GPU
        machine = Machine(hardware.memory().free_bytes)
    found = []
    for name, footprints in present.items():
        plan = make_plan(footprints, catalogue.pairs[name], machine)
        found.append((sum(footprint.weights_bytes for footprint in footprints.values()), name, plan))
    fitting = max((choice for choice in found if choice[2].fits), default=None, key=_weight)
    running = min((choice for choice in found if choice[2].runs), default=None, key=_weight)
    chosen = fitting or running
    return chosen[1] if chosen is not None else None


def _weight(choice: tuple[int, str, Plan]) -> int:
    return choice[0]


def offer(catalogue: Catalogue, machine: Machine | None = None) -> Offer | None:
    """Choose what to offer: the best pair on this machine, else one to download.

    That is the largest one that fits with nothing cut and leaves most of the CPU's memory to others, else the smallest
    one that fits; None where none does of those whose dimensions are known. It is chosen for `machine`, this one by
    default.
    """
    if machine is None and (here := _best_here(catalogue)):
        return Offer(here, 0, 0)
    machine = machine or survey()
    fitting = []
    for name, config in catalogue.pairs.items():
        sources = model_sources(config)
        headers = {model: known_header(source.file or "") for model, source in sources.items()}
        sizes = [source.size_bytes or 0 for source in sources.values()]
        if config.only is not None or not all(sizes):
            continue
        footprints = {model: footprint(header) for model, header in headers.items() if header is not None}
        plan = make_plan(footprints, config, machine) if len(footprints) == len(sources) else None
        if plan is not None and plan.fits:
            needed = sum(part.total_bytes for part in plan.parts)
            is_easy = plan.cut(config) is None and plan.rooms[0].needed_bytes <= _EASY * machine.free_bytes
            fitting.append((is_easy, sum(sizes), Offer(name, sum(sizes), needed)))
    easy = [choice for choice in fitting if choice[0]]
    chosen = max(easy, key=_size) if easy else min(fitting, default=None, key=_size)
    return chosen[2] if chosen is not None else None


def plan_of(config: PairConfig, machine: Machine) -> Plan | None:
    """Plan a pair, from its files or from what is known of them; None where neither is there.

    Raises ModelError where a file cannot be read, or a path leads nowhere.
    """
    footprints = {}
    for model, source in model_sources(config).items():
        header = header_of(source)
        if header is None:
            return None
        footprints[model] = footprint(header)
    return make_plan(footprints, config, machine)


def header_of(source: ModelSource) -> Header | None:
    """Give the header of a model's file, or what is known of it before it is downloaded; None where nothing is.

    Raises ModelMissingError for a path where there is none, and ModelUnreadableError.
    """
    try:
        path = files.find(source)
    except ModelMissingError:
        if source.path is not None:
            raise
        return known_header(source.file or "")
    return read_header(path)


def model_sources(config: PairConfig) -> dict[Model, ModelSource]:
    """Say where the models are that a configuration needs, as far as it says so."""
    return {model: source for model in config.models if (source := config.source(model)) is not None}


def _size(choice: tuple[bool, int, Offer]) -> int:
    return choice[1]


def _present(config: PairConfig) -> dict[Model, Footprint]:
    """Count the memory of a pair that is on this machine; nothing where one cannot ask it anything.

    A file may be missing, damaged, or without a chat template.
    """
    try:
        headers = {model: read_header(files.find(source)) for model, source in model_sources(config).items()}
        if not config.chat_template and not all(_TEMPLATE in header.metadata for header in headers.values()):
            return {}
        return {model: footprint(header) for model, header in headers.items()}
    except ModelError:
        return {}
