"""What was found out about this machine, from one run to the next: files of JSON in the data folder.

Each holds findings of one kind by a key of everything they depend on. They are only a convenience: one that cannot be
read counts as empty, and what cannot be written is found again the next time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec

from glimp_local import private
from glimp_local.paths import data_folder

T = TypeVar("T")


class Findings(Generic[T]):
    """One kind: its file's name, what it is called in there, its type, and how many are kept: those written last."""

    def __init__(self, file: str, name: str, type_: Any, *, most: int) -> None:
        self._most = most
        self._file, self._name, self._type = file, name, dict[str, dict[str, type_]]

    def read(self) -> dict[str, T]:
        """Return all, by key."""
        try:
            content = (data_folder() / self._file).read_bytes()
            found: dict[str, T] = msgspec.json.decode(content, type=self._type).get(self._name, {})
        except (OSError, ValueError, RecursionError):
            return {}
        return found

    def keep(self, key: str, finding: T) -> None:
        """Keep one, in place of what its key had."""
        kept = {other: before for other, before in self.read().items() if other != key}
        newest = dict([*kept.items(), (key, finding)][-self._most :])
        with suppress(OSError):
            private.write_whole(data_folder() / self._file, msgspec.json.encode({self._name: newest}))
