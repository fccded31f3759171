"""The entropies a pair has shown so far, kept between runs: what the `share` policy starts from.

One JSON file of numbers for each pair, in the platform's data folder; no text of anybody's problem is in it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from glimp_local import private
from glimp_local.paths import data_folder
from glimp_local.records import lines

log = logging.getLogger(__name__)

LIMIT = 2000
"""How many of the latest entropies are kept."""


class EntropyHistory:
    """The entropies of one pair on one kind of task.

    Pairs are told apart by the identities of their small and their large model (so by their quantisation, too) and by
    how the entropies are measured. What an earlier glimp stored, which went by the names and sizes of their `files`, is
    taken over.
    """

    def __init__(
        self, small: str, large: str, *, top_k: int | None = None, task: str = "", files: Sequence[Path] = ()
    ) -> None:
        folder = data_folder() / "entropies"
        measured = f"|{top_k}" + (f"|{task}" if task else "")
        self.path = folder / _name(f"{small}|{large}{measured}")
        self._former = None
        if len(files) == len((small, large)):
            self._former = folder / _name("|".join(f"{file.name}:{file.stat().st_size}" for file in files) + measured)

    def read(self) -> list[float]:
        """Return the stored entropies in nats, oldest first; none if nothing readable is stored."""
        try:
            self._take_over()
            with lines.open_file(self.path) as file:
                return msgspec.json.decode(file.read(), type=list[float])
        except FileNotFoundError:
            return []
        except (OSError, lines.NoFileError, msgspec.MsgspecError) as error:
            log.warning("the entropies stored in %s cannot be read and start again: %s", self.path, error)
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
        self._take_over()
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

    def _take_over(self) -> None:
        """Let what is stored by names and sizes be stored by identities, unless something is; raises OSError."""
        if self._former is not None and not os.path.lexists(self.path):
            with suppress(FileNotFoundError):
                self._former.rename(self.path)
                log.info("entropies stored by the names of the pair's files are taken over: %s", self.path)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16] + ".json"
