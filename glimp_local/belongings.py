"""What belongs to glimp on this machine, and whether it can be used: folders, models.toml, pairs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from glimp_local import model_files
from glimp_local.choice import BUILTIN, default_pair, model_sources
from glimp_local.config import PairConfig, load_catalogue
from glimp_local.errors import ConfigError, GlimpError, ModelMissingError, ModelUnreadableError
from glimp_local.finding import Finding, Judged, gb
from glimp_local.gguf_header import is_whole, read_header
from glimp_local.places import Places

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
    """All its files are on this machine."""
    missing_bytes: int
    """Size of the files that are not, as far as the catalogue lists it."""


def folders(where: Places) -> Judged[list[Folder]]:
    """Look whether glimp can write where it has to, and how much room is there."""
    found = [
        _folder("your models.toml", where.models_file),
        _folder("data", where.data_folder),
        _folder(_HUB, where.hub_cache),
    ]
    findings = []
    for folder in found:
        there = "" if folder.exists else " (not there yet)"
        says = f"{folder.name}: {folder.path}{there}"
        if not folder.writable:
            do = "let your user write there, or name another place (XDG_CONFIG_HOME, XDG_DATA_HOME, HF_HOME, --models)"
            findings.append(Finding("folders", "needs doing", f"{says} cannot be written", do))
        elif folder.free_bytes < _LEAST_BYTES:
            do = "make room there"
            findings.append(Finding("folders", "needs doing", f"{says}: only {gb(folder.free_bytes)} free", do))
        else:
            findings.append(Finding("folders", "fine", f"{says}, {gb(folder.free_bytes)} free"))
    return found, findings


def _folder(name: str, path: Path) -> Folder:
    exists = path.exists()
    # A models.toml is written anew beside the old one.
    above = next(folder for folder in ((path, *path.parents) if path.is_dir() else path.parents) if folder.exists())
    return Folder(
        name=name,
        path=str(path),
        exists=exists,
        writable=above.is_dir() and os.access(above, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(above).free,
    )


def pairs(
    models_file: Path | None, pair: str | None, found: list[Folder]
) -> Judged[tuple[str | None, list[PairState]]]:
    """Give the default pair and the state of each; `pair` is named in the default's place."""
    try:
        catalogue = load_catalogue(models_file)
    except ConfigError as error:
        do = error.hint or "mend it there, or move the file away: glimp then uses the packaged one"
        return (None, []), [Finding("models.toml", "needs doing", str(error), do)]
    states = [_pair_state(name, catalogue.pairs[name]) for name in catalogue.pairs]
    findings = [Finding("models.toml", "fine", f"valid; {len(states)} pairs")]
    try:
        default = pair or default_pair(catalogue)
        config = catalogue.pair(default)
    except GlimpError as error:
        return (None, states), [*findings, Finding("pairs", "needs doing", str(error), error.hint)]
    findings += _damaged(catalogue.pairs)
    findings.append(Finding("pairs", "fine", f"here: {', '.join(s.pair for s in states if s.ready) or 'none'}"))
    missing = ", ".join(f"{state.pair} ({gb(state.missing_bytes)})" for state in states if not state.ready)
    if missing:
        findings.append(Finding("pairs", "fine", f"not here, or in part: {missing}"))
    try:
        model_files.find_all(model_sources(config), default)
    except ModelMissingError as error:
        findings.append(Finding("pairs", "needs doing", f"the default pair {default!r}: {error}", error.hint))
    return (default, states), [*findings, *_room(states, found)]


def _damaged(pairs: Mapping[str, PairConfig]) -> Iterator[Finding]:
    """Find models that are here and cannot be used."""
    for name, config in pairs.items():
        for source in model_sources(config).values():
            try:
                read_header(model_files.find(source))
            except ModelMissingError:
                continue
            except ModelUnreadableError as error:
                yield Finding("pairs", "needs doing", f"the pair {name!r}: {error}", error.hint)


def _pair_state(name: str, config: PairConfig) -> PairState:
    missing = []
    for source in model_sources(config).values():
        try:
            path = model_files.find(source)
        except ModelMissingError:
            missing.append(source.size_bytes or 0)
        else:
            missing += [] if is_whole(path) else [source.size_bytes or 0]
    return PairState(name, not missing, sum(missing))


def _room(states: list[PairState], found: list[Folder]) -> list[Finding]:
    """Say it where there is no room for the first real pair."""
    free = next((folder.free_bytes for folder in found if folder.name == _HUB), None)
    sizes = [state.missing_bytes for state in states if state.missing_bytes]
    has_one = any(state.ready and state.pair != BUILTIN for state in states)
    if free is None or has_one or not sizes or free > min(sizes):
        return []
    says = f"the smallest pair that is not here takes {gb(min(sizes))}, and {gb(free)} are free where it would go"
    return [Finding("pairs", "needs doing", says, "make room, or set HF_HOME to a folder on another disk")]
