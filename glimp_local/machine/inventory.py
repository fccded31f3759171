"""What models there are and what is here of each: pairs of models.toml, and GGUFs in the hub's cache that none names.

Never touches the network; `with_servers` adds what the pairs' servers answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from glimp_local.errors import ModelUnreadableError
from glimp_local.machine.addresses import place_of
from glimp_local.machine.choice import default_pair
from glimp_local.models import files
from glimp_local.models.catalogue import Catalogue, load_catalogue
from glimp_local.models.compare import compare
from glimp_local.models.gguf.header import is_whole, part_names, read_header
from glimp_local.models.hub import cache
from glimp_local.paths import PACKAGE, packaged_file
from glimp_local.routing import Model
from glimp_local.settings import ModelSource

if TYPE_CHECKING:
    from glimp_local.machine.servers import PairServers, ServerState

State = Literal["built in", "cached", "at a path", "partial", "damaged", "missing", "on a server"]
Origin = Literal["packaged", "changed", "yours"]


class FileEntry(msgspec.Struct, frozen=True):
    """One model: a GGUF, or all its files where it is split, or one on a server."""

    name: str
    """Its path, or its repository and the file in it: what `pull`, `rm` and `verify` take. Of one on a server, its name
    there if models.toml says it, and the place."""
    state: State
    path: str | None
    """Of the (first) file; null unless all is there."""
    size_bytes: int | None
    """What it takes when it is whole; null where nobody has told."""
    here_bytes: int
    """What is on the disk of it."""
    place: str | None = None
    """Host and port of the server it is on."""
    server: ServerState | None = None
    """What that answered, if it was asked."""


class PairEntry(msgspec.Struct, frozen=True):
    """One pair of models.toml."""

    name: str
    description: str
    licence: str
    is_default: bool
    origin: Origin
    """Whose models.toml it stands in; "changed": in the packaged one, and yours overrides keys of it."""
    is_here: bool
    """Are all files here that it needs? A model on a server has none."""
    size_bytes: int | None
    """Of its files; null where nobody has told."""
    shares_vocabulary: bool | None
    """Null where one of the two is not here, or cannot be read, or its server was not asked."""
    small: FileEntry | None
    """Null for a pair that does without it."""
    large: FileEntry | None
    expected: str | None = None
    """What to expect of it on this machine, in words: whether it fits, how fast it writes, and whether routing pays."""

    @property
    def places(self) -> dict[Model, str]:
        """The servers that models of it are on."""
        entries: dict[Model, FileEntry | None] = {"small": self.small, "large": self.large}
        return {model: entry.place for model, entry in entries.items() if entry is not None and entry.place}

    @property
    def is_on_server(self) -> bool:
        """Is a model of it on a server?"""
        return bool(self.places)


class Inventory(msgspec.Struct, frozen=True):
    """What `glimp models list --json` prints."""

    cache: str
    """Folder of the hub's cache; it need not exist."""
    pairs: list[PairEntry]
    others: list[FileEntry]
    """GGUFs in the hub's cache, or begun there, that no pair names: for --small and --large."""


def take_stock(models_file: Path | None) -> Inventory:
    """Look what is here; raises ConfigError for a models.toml that cannot be used."""
    catalogue = load_catalogue(models_file)
    packaged = load_catalogue(packaged_file()).pairs
    default, pairs = default_pair(catalogue), []
    for name, pair in catalogue.pairs.items():
        entries = {model: _entry(source) for model, source in (("small", pair.small), ("large", pair.large)) if source}
        sizes = [entry.size_bytes for entry in entries.values() if entry.place is None]
        known = [size for size in sizes if size is not None]
        small, large = entries.get("small"), entries.get("large")
        pairs.append(
            PairEntry(
                name=name,
                description=pair.description,
                licence=pair.licence,
                is_default=name == default,
                origin="yours" if name not in packaged else "packaged" if pair == packaged[name] else "changed",
                is_here=all(entry.place or (entry.path and entry.state != "damaged") for entry in entries.values()),
                size_bytes=sum(known) if len(known) == len(sizes) else None,
                shares_vocabulary=_shares_vocabulary(small, large),
                small=small,
                large=large,
            )
        )
    return Inventory(cache=str(cache.root()), pairs=pairs, others=list(_others(catalogue)))


def with_servers(stock: Inventory, catalogue: Catalogue) -> Inventory:
    """Return what there is with what the servers of its pairs answer; they are all asked at the same time."""
    from glimp_local.machine.servers import look_at_all  # noqa: PLC0415 - only who connects loads what that needs

    found = look_at_all({entry.name: catalogue.pairs[entry.name] for entry in stock.pairs if entry.is_on_server})
    pairs = [_answered(entry, found[entry.name]) if entry.name in found else entry for entry in stock.pairs]
    return msgspec.structs.replace(stock, pairs=pairs)


def _answered(entry: PairEntry, servers: PairServers) -> PairEntry:
    def model(file: FileEntry | None, state: ServerState | None) -> FileEntry | None:
        return file if file is None or state is None else msgspec.structs.replace(file, server=state)

    return msgspec.structs.replace(
        entry,
        shares_vocabulary=servers.shares_vocabulary,
        small=model(entry.small, servers.small),
        large=model(entry.large, servers.large),
    )


def sources(catalogue: Catalogue) -> Iterator[tuple[str, ModelSource]]:
    """Give the models of all pairs that are files, each with its pair's name."""
    yield from ((name, source) for name, source in _all_sources(catalogue) if source.url is None)


def _all_sources(catalogue: Catalogue) -> Iterator[tuple[str, ModelSource]]:
    for name, pair in catalogue.pairs.items():
        for source in (pair.small, pair.large):
            if source is not None:
                yield name, source


def pinned(catalogue: Catalogue, repo: str, file: str) -> ModelSource:
    """Give a model by its place on the hub, as models.toml pins it where one of its pairs has it."""
    for _, source in _all_sources(catalogue):
        if source.path is None and (source.repo, source.file) == (repo, file):
            return msgspec.structs.replace(source, url=None)  # the file, if a server has taken its place, too
    return ModelSource(repo=repo, file=file)


def _entry(source: ModelSource) -> FileEntry:
    if source.url is not None:
        place = place_of(source)
        name = f"{source.model} at {place}" if source.model else place
        return FileEntry(name, "on a server", None, None, 0, place)
    try:
        found = files.look(source)
    except ModelUnreadableError:  # it names a later file of a split model: whoever loads the pair is told
        found = files.Presence((), 0)
    state: State = "partial" if found.here_bytes else "missing"
    if found.is_damaged or (found.paths and not is_whole(found.paths[0])):
        state = "damaged"
    elif found.paths:
        is_built_in = packaged_file().parent in found.paths[0].parents or PACKAGE in found.paths[0].parents
        state = "cached" if source.path is None else "built in" if is_built_in else "at a path"
    return FileEntry(
        name=files.name(source),
        state=state,
        path=str(found.paths[0]) if found.paths else None,
        size_bytes=found.here_bytes if found.is_here else source.size_bytes,
        here_bytes=found.here_bytes,
    )


def _others(catalogue: Catalogue) -> Iterator[FileEntry]:
    named = {
        (source.repo, part)
        for _, source in sources(catalogue)
        if source.repo and source.file and not _is_later_part(source.file)
        for part in part_names(source.file)
    }
    cached = cache.ggufs()
    whole: set[tuple[str, str]] = set()
    for file in cached:
        whole.add((file.repo, file.file))
        if (file.repo, file.file) not in named and not _is_later_part(file.file):
            yield _entry(ModelSource(repo=file.repo, file=file.file))
    known = named | whole
    for repo in cache.repos_with_partials():
        left = set(cache.partials(repo))
        left -= {path for name, file in known if name == repo for path in cache.partials(repo, file)}
        if left:
            yield FileEntry(repo, "partial", None, None, sum(map(cache.own_bytes, left)))


def _is_later_part(file: str) -> bool:
    try:
        part_names(file)
    except ModelUnreadableError:
        return True
    return False


def _shares_vocabulary(small: FileEntry | None, large: FileEntry | None) -> bool | None:
    if small is None or large is None or small.path is None or large.path is None:
        return None
    try:
        return compare(read_header(Path(small.path)), read_header(Path(large.path))).vocabulary_difference is None
    except ModelUnreadableError:
        return None
