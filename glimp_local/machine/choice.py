"""Which pair is used where none is named, and which one to offer to somebody who has only the built-in one.

Reads headers and counts memory; loads nothing and never touches the network. A pair with a model on a server is never
chosen: whether that would answer is not known, and a connection is the user's decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from glimp_local import hardware, units
from glimp_local.errors import BindingError, ModelError, ModelMissingError
from glimp_local.machine import addresses
from glimp_local.machine.pace import tokens_per_second
from glimp_local.machine.plan import Plan
from glimp_local.machine.planning import make_plan
from glimp_local.machine.survey import Machine, survey, with_servers
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
_QUICK = 8.0
"""Tokens a second, about as many as a person reads: with fewer, a thought of a thousand takes minutes."""
ALONE = "no other one is on this machine"


class Offer(msgspec.Struct, frozen=True):
    """A pair for somebody whose question the built-in one is not for."""

    name: str
    download_bytes: int
    """0 where it is on this machine."""
    memory_bytes: int
    """On all devices together, as it is planned for this machine."""
    place: str = ""
    """The server that a model of it is on; empty if all are on this machine, or to be downloaded."""

    @property
    def command(self) -> str:
        """What to type for it: a command, or a flag if it is on this machine."""
        return f"glimp models pull {self.name}" if self.download_bytes else f"--pair {self.name}"

    def __str__(self) -> str:
        """Return what it takes, and what to type for it."""
        if self.place:
            return f"{self.name}, with a model on {self.place}: {self.command}"
        if not self.download_bytes:
            return f"{self.name}, which is on this machine: {self.command}"
        return (
            f"{self.name} ({units.file_size(self.download_bytes)} to download, "
            f"{units.memory_size(self.memory_bytes)} of memory): {self.command}"
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
        return ALONE
    return f"{' and '.join(here)} cannot be loaded into the memory that is free now (glimp plan {here[0]})"


def pairs_here(catalogue: Catalogue) -> list[str]:
    """Name the pairs that can be asked something: all they need is on this machine, or on servers of theirs."""
    return [name for name, config in catalogue.pairs.items() if _present(config) or _is_on_servers(config)]


def _is_on_servers(config: PairConfig) -> bool:
    """Is a model on a server, and the other one there or here? Whether the servers answer is not asked."""
    if not config.remote_models or addresses.problem_of(config) is not None:
        return False
    return not config.local_models or bool(_present_files(config))


def _best_here(catalogue: Catalogue) -> str | None:
    # One with layers on RPC servers is used if it is named: to choose is no reason to connect.
    pairs = {name: config for name, config in catalogue.pairs.items() if not (config.only or config.rpc_servers)}
    present = {name: _present(config) for name, config in pairs.items()}
    present = {name: footprints for name, footprints in present.items() if footprints}
    if not present:
        return None
    try:
        machine = survey()
    except BindingError:  # whoever loads a pair is told; without llama.cpp there is no GPU
        machine = Machine(hardware.memory().free_bytes)
    found = []
    for name, footprints in present.items():
        config = catalogue.pairs[name]
        try:
            plan = make_plan(footprints, config, machine)
        except BindingError:  # whoever loads it is told
            continue
        found.append((sum(footprint.weights_bytes for footprint in footprints.values()), name, plan))
    fitting = max((choice for choice in found if choice[2].fits), default=None, key=_weight)
    running = min((choice for choice in found if choice[2].runs), default=None, key=_weight)
    chosen = fitting or running
    return chosen[1] if chosen is not None else None


def _weight(choice: tuple[int, str, Plan]) -> int:
    return choice[0]


def offer(catalogue: Catalogue) -> Offer | None:
    """Choose what to offer: a pair that is on this machine, else one to download.

    On this machine: the default of models.toml, else the best; without one, the first that has a model on a server. To
    download: that default if it fits, else the smallest pair that fits well, else the smallest one that fits; None if
    none does of those whose dimensions are known. A pair fits well if nothing is cut, most of the CPU's memory is left
    to others, and it is likely to write as fast as a person reads.
    """
    default = catalogue.pairs.get(catalogue.default or "")
    if catalogue.default and default is not None and default.only is None:
        if _present(default):
            return Offer(catalogue.default, 0, 0)
        if _is_on_servers(default):
            return _on_server(catalogue.default, default)
    if here := _best_here(catalogue):
        return Offer(here, 0, 0)
    for name, config in catalogue.pairs.items():
        if config.only is None and _is_on_servers(config):
            return _on_server(name, config)
    fitting = _fitting(catalogue, survey())
    wanted = next((found.offer for found in fitting if found.offer.name == catalogue.default), None)
    return wanted or _first([found for found in fitting if found.is_easy and found.is_quick] or fitting)


def _on_server(name: str, config: PairConfig) -> Offer:
    return Offer(name, 0, 0, " and ".join(dict.fromkeys(addresses.places_of(config).values())))


def larger_offer(catalogue: Catalogue, machine: Machine) -> Offer | None:
    """Choose a pair for somebody whose own one does not fit a machine: the largest that fits easily.

    If none does, it is the smallest one that fits; None if none does.
    """
    fitting = _fitting(catalogue, machine)
    return _first([found for found in reversed(fitting) if found.is_easy] or fitting)


class _Fitting(NamedTuple):
    """A pair to download that fits a machine."""

    offer: Offer
    is_easy: bool
    """Is nothing cut, and most of the CPU's memory left to others?"""
    is_quick: bool


def _fitting(catalogue: Catalogue, machine: Machine) -> list[_Fitting]:
    """Return the pairs to download that fit a machine, the smallest first."""
    found = []
    for name, config in catalogue.pairs.items():
        sources = model_sources(config)
        headers = {model: known_header(source.file or "") for model, source in sources.items()}
        sizes = [source.size_bytes or 0 for source in sources.values()]
        if config.only is not None or config.remote_models or not all(sizes):
            continue
        footprints = {model: footprint(header) for model, header in headers.items() if header is not None}
        plan = make_plan(footprints, config, machine) if len(footprints) == len(sources) else None
        if plan is not None and plan.fits:
            needed = sum(part.total_bytes for part in plan.parts)
            is_easy = plan.cut(config) is None and plan.rooms[0].needed_bytes <= _EASY * machine.free_bytes
            is_quick = tokens_per_second(plan, footprints, machine) >= _QUICK
            found.append(_Fitting(Offer(name, sum(sizes), needed), is_easy, is_quick))
    return sorted(found, key=lambda fitting: fitting.offer.download_bytes)


def _first(fitting: Sequence[_Fitting]) -> Offer | None:
    return fitting[0].offer if fitting else None


def plan_of(config: PairConfig, machine: Machine) -> Plan | None:
    """Plan a pair, from its files or from what is known of them; None where neither is there, or all is on servers.

    Raises ModelError where a file cannot be read, a path leads nowhere, or an RPC server cannot be used.
    """
    footprints = footprints_of(config)
    return make_plan(footprints, config, with_servers(machine, config)) if footprints else None


def footprints_of(config: PairConfig) -> dict[Model, Footprint] | None:
    """Return the memory each model of a pair takes, from its file or from what is known of it; None if one is unknown.

    A model on a server takes none of this machine's, and is not among them.

    Raises ModelError where a file cannot be read, or a path leads nowhere.
    """
    footprints = {}
    for model, source in model_sources(config).items():
        header = header_of(source)
        if header is None:
            return None
        footprints[model] = footprint(header)
    return footprints


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
    """Say where the files are that a configuration needs, as far as it says so: models on servers have none here."""
    return {model: source for model in config.local_models if (source := config.source(model)) is not None}


def _present(config: PairConfig) -> dict[Model, Footprint]:
    """Count the memory of a pair that is on this machine, all of it; nothing where one cannot ask it anything."""
    return {} if config.remote_models else _present_files(config)


def _present_files(config: PairConfig) -> dict[Model, Footprint]:
    """Count the memory of a pair's files; nothing if one is missing, damaged, or without a chat template."""
    try:
        headers = {model: read_header(files.find(source)) for model, source in model_sources(config).items()}
        if not config.chat_template and not all(_TEMPLATE in header.metadata for header in headers.values()):
            return {}
        return {model: footprint(header) for model, header in headers.items()}
    except ModelError:
        return {}
