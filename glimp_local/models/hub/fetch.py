"""Downloads models from the hub: skips what is here, checks that the disk has room, fetches the rest.

Says and shows nothing by itself; whoever asks hears of it through the hooks. A hook that raises stops the download, and
what came by then is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from glimp_local.models import files
from glimp_local.models.hub import cache
from glimp_local.settings import ModelSource

if TYPE_CHECKING:
    from pathlib import Path

    from glimp_local.models.hub.partial import Begin, RemoteFile, Say, Wait


class Pulled(msgspec.Struct, frozen=True):
    """One file that was wanted."""

    name: str
    """Its repository and the file in it, or its path."""
    path: str
    size_bytes: int
    fetched_bytes: int
    """What came now; 0 if it was here already."""


def fetch(wanted: Iterable[ModelSource], begin: Begin, say: Say, wait: Wait) -> list[Pulled]:
    """Download what is not here of these models.

    Raises DownloadError (also if the disk has no room for all of it), CacheError, UsageError and ModelMissingError.
    """
    cache.settings()  # what cannot be read of them is said before the library is loaded
    from glimp_local.models.hub import pull  # noqa: PLC0415 - the one module that opens connections: not before it has to

    pulled: list[Pulled] = []
    coming: list[tuple[RemoteFile, str | None]] = []
    for source in files.distinct(wanted):
        name = files.name(source)
        here = _here(source)
        if here:
            say(f"{name} is here already")
            pulled += [Pulled(name, str(path), path.stat().st_size, 0) for path in here]
        else:
            found = pull.look_up(source, wait)
            coming += [(file, source.sha256 if file is found[0] else None) for file in found]
    pull.check_space([file for file, _ in coming])
    for file, sha256 in coming:
        missing = file.missing_bytes
        if file.is_here:
            say(f"{file.repo}/{file.file} is here already")
        path = pull.download(file, sha256, begin, say, wait)
        pulled.append(Pulled(f"{file.repo}/{file.file}", str(path), file.size_bytes, missing))
    return pulled


def _here(source: ModelSource) -> tuple[Path, ...]:
    """Return the files of a model that need no look at the hub: what is there is what was asked for."""
    if source.path is not None:
        files.find(source)  # says what is missing: there is nothing to download
    is_known = source.path or source.revision or source.size_bytes
    found = files.look(source)
    return found.paths if is_known and found.is_here else ()
