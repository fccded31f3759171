"""What belongs to glimp on this machine, and whether it can be used: folders, models.toml, pairs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from glimp_local import units
from glimp_local.errors import ConfigError, GlimpError, ModelError, ModelMissingError, ModelUnreadableError
from glimp_local.machine.addresses import in_words, places_of
from glimp_local.machine.choice import BUILTIN, default_pair, model_sources
from glimp_local.machine.doctor.finding import Finding, Judged
from glimp_local.machine.locations import Places
from glimp_local.models import files
from glimp_local.models.catalogue import load_catalogue
from glimp_local.models.gguf.header import read_header
from glimp_local.settings import PairConfig

_LEAST_BYTES = 200_000_000
"""With less than this, conversations and their caches are soon without room."""
_HUB = "hub cache"


class Folder(msgspec.Struct, frozen=True):
    """A place that glimp writes to."""

    name: str
    path: str
    exists: bool
    writable: bool
    """It is, or what it would be made in is."""
    free_bytes: int


class PairState(msgspec.Struct, frozen=True):
    """Can a pair be used now?"""

    pair: str
    ready: bool
    """All its files are on this machine. A model on a server has none."""
    missing_bytes: int
    """Size of the files that are not, as far as the catalogue lists it."""


def folders(where: Places) -> Judged[list[Folder]]:
    """Look whether glimp can write where it has to, and how much room is there."""
    found, findings = [], []
    for name, path, within in (
        ("your models.toml", where.models_file, where.models_file.parent),  # it is rewritten beside the old one
        ("data", where.data_folder, where.data_folder),
        (_HUB, where.hub_cache, where.hub_cache),
    ):
        above = next(there for there in (within, *within.parents) if there.exists())
        writable = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        folder = Folder(name, str(path), path.exists(), writable, shutil.disk_usage(above).free)
        found.append(folder)
        says = f"{name}: {path}{'' if folder.exists else ' (not there yet)'}"
        if not writable:
            why = "" if above.is_dir() else f": {above} is no folder"
            do = "let your user write there, or name another place (XDG_CONFIG_HOME, XDG_DATA_HOME, HF_HOME, --models)"
            findings.append(Finding("folders", "needs doing", f"{says} cannot be written{why}", do))
        elif folder.free_bytes < _LEAST_BYTES:
            do = "make room there"
            findings.append(
                Finding("folders", "needs doing", f"{says}: only {units.file_size(folder.free_bytes)} free", do)
            )
        else:
            findings.append(Finding("folders", "fine", f"{says}, {units.file_size(folder.free_bytes)} free"))
    return found, findings


def pairs(
    models_file: Path | None, pair: str | None, found: list[Folder], *, llama_cpp_starts: bool
) -> Judged[tuple[str | None, list[PairState]]]:
    """Give the default pair and the state of each; `pair` is named in the default's place.

    Choosing one asks llama.cpp about this machine: where it does not start and none is named, the default is None.
    """
    try:
        catalogue = load_catalogue(models_file)
    except ConfigError as error:
        do = error.hint or "mend it there, or move the file away: glimp then uses the packaged one"
        return (None, []), [Finding("models.toml", "needs doing", str(error), do)]
    examined = {name: _pair_state(name, config) for name, config in catalogue.pairs.items()}
    states = [state for state, _ in examined.values()]
    findings = [Finding("models.toml", "fine", f"valid; {len(states)} pairs")]
    for _, unusable in examined.values():
        findings += unusable
    here = ", ".join(_named(state, catalogue.pairs[state.pair]) for state in states if state.ready)
    findings.append(Finding("pairs", "fine", f"here: {here or 'none'}"))
    missing = [_missing(state, catalogue.pairs[state.pair]) for state, unusable in examined.values() if not unusable]
    if any(missing):
        findings.append(Finding("pairs", "fine", f"not here, or in part: {', '.join(filter(None, missing))}"))
    findings += _room(states, found)
    default = pair or catalogue.default or None
    try:
        if default is None and llama_cpp_starts:
            default = default_pair(catalogue)
        if default is not None:
            files.find_all(model_sources(catalogue.pair(default)), default)
    except ModelMissingError as error:
        findings.append(Finding("pairs", "needs doing", f"the default pair {default!r}: {error}", error.hint))
    except ModelUnreadableError:
        pass  # said above, of this pair as of any other
    except GlimpError as error:
        return (None, states), [*findings, Finding("pairs", "needs doing", str(error), error.hint)]
    return (default, states), findings


def _pair_state(name: str, config: PairConfig) -> Judged[PairState]:
    """Look for the files of a pair; those that are here and cannot be used are findings."""
    missing, unusable = [], []
    for source in model_sources(config).values():
        try:
            read_header(files.find(source))
        except ModelError as error:
            missing.append(source.size_bytes or 0)
            if not isinstance(error, ModelMissingError):
                unusable.append(Finding("pairs", "needs doing", f"the pair {name!r}: {error}", error.hint))
    return PairState(name, not missing, sum(missing)), unusable


def _named(state: PairState, config: PairConfig) -> str:
    """Name a pair, with the servers that models of it are on."""
    places = places_of(config)
    return f"{state.pair} ({in_words(places)})" if places else state.pair


def _missing(state: PairState, config: PairConfig) -> str:
    """Say how much of a pair is missing; nothing where all is here."""
    if state.ready:
        return ""
    if state.missing_bytes:
        return f"{state.pair} ({units.file_size(state.missing_bytes)})"
    by_path = any(source.path is not None for source in model_sources(config).values())
    return f"{state.pair} ({'its file is missing' if by_path else 'size not listed'})"


def _room(states: list[PairState], found: list[Folder]) -> list[Finding]:
    """Say it where there is no room for the first real pair."""
    free = next((folder.free_bytes for folder in found if folder.name == _HUB), None)
    sizes = [state.missing_bytes for state in states if state.missing_bytes]
    has_one = any(state.ready and state.pair != BUILTIN for state in states)
    if free is None or has_one or not sizes or free > min(sizes):
        return []
    needed = units.file_size(min(sizes))
    says = f"the smallest pair that is not here takes {needed}, and {units.file_size(free)} are free where it would go"
    return [Finding("pairs", "needs doing", says, "make room, or set HF_HOME to a folder on another disk")]
