"""The entropies a pair has shown so far, kept between runs: what the `share` policy starts from.

One JSON file of numbers for each pair, in the platform's data folder; no text of anybody's problem is in it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from glimp_local import private
from glimp_local.paths import data_folder
from glimp_local.records import lines as records

log = logging.getLogger(__name__)

LIMIT = 2000
"""How many of the latest entropies are kept."""


class EntropyHistory:
    """The entropies of one pair on one kind of task.

    Pairs are told apart by their two files' names and sizes (so by their quantisation, too) and by how the entropies
    are measured.
    """

    def __init__(self, small: Path, large: Path, *, top_k: int | None = None, task: str = "") -> None:
        identity = "|".join(f"{path.name}:{path.stat().st_size}" for path in (small, large)) + f"|{top_k}"
        identity += f"|{task}" if task else ""
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        folder = data_folder() / "entropies"
        self.path = folder / f"{key}.json"

    def read(self) -> list[float]:
        """Give the stored entropies in nats, oldest first; none where nothing readable is stored."""
        try:
            with records.open_file(self.path) as file:
                return msgspec.json.decode(file.read(), type=list[float])
        except FileNotFoundError:
            return []
        except (OSError, records.NoFileError, msgspec.MsgspecError) as error:
            log.warning("the entropies stored in %s cannot be read and are begun anew: %s", self.path, error)
            return []

    def add(self, entropies_nats: Sequence[float]) -> None:
        """Store a run's entropies behind the others. Where that fails, they are lost with a log line."""
        if not entropies_nats:
            return
        try:
            self.replace([*self.read(), *entropies_nats])
        except OSError as error:
            log.warning("the entropies of this run could not be stored: %s", error)

    def replace(self, entropies_nats: Sequence[float]) -> None:
        """Store entropies in the place of those stored before; raises OSError where that fails."""
        private.make_folder(self.path.parent)
        partial = self.path.with_suffix(".partial")
        try:
            private.make_file(partial)
            partial.write_bytes(msgspec.json.encode(entropies_nats[-LIMIT:]))
            partial.replace(self.path)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
