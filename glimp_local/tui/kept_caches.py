"""What the models hold of a conversation, kept on the disk between two sittings, with word of it to the interface."""

from __future__ import annotations

from collections.abc import Callable

from glimp_local.engines.protocol import KeepsState
from glimp_local.errors import CacheError
from glimp_local.pair import Pair
from glimp_local.records import caches
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import Model
from glimp_local.tui.told import CachesLost, MovingCaches, TakenUp, Told


class KeptCaches:
    """The caches of the conversation that is led; `tell` gets what there is to say of them."""

    def __init__(self, tell: Callable[[Told], object]) -> None:
        self._tell = tell
        self.are_new = False
        """Do the models hold more than the disk?"""

    def keep(self, pair: Pair | None, log: SessionLog) -> None:
        """Write the caches to the disk, where that is wanted and there is something new in them."""
        are_new, self.are_new = self.are_new, False
        if pair is None or not (are_new and pair.config.keep_caches_gb and log.is_written):
            return
        models = keepers(pair)
        self._tell(MovingCaches(sum(keeper.state_bytes for keeper in models.values()), to_disk=True))
        try:
            caches.keep(log.path, models, limit_bytes=pair.config.keep_caches_gb * 1e9)
        except CacheError as error:
            self._tell(CachesLost(error))

    def take_up(self, pair: Pair, log: SessionLog) -> None:
        """Let the models hold what was kept, whether or not it will be kept again."""
        if not (size := caches.kept_bytes(log.path)):
            return
        self._tell(MovingCaches(size, to_disk=False))
        tokens: dict[Model, int] = {}
        for model, keeper in keepers(pair).items():
            try:
                if found := caches.take_up(log.path, model, keeper):
                    tokens[model] = found
            except CacheError as error:
                self._tell(CachesLost(error))
        if tokens:
            self._tell(TakenUp(tokens))


def keepers(pair: Pair) -> dict[Model, KeepsState]:
    """Return the models whose caches can be kept."""
    return {model: backend for model, backend in pair.backends.items() if isinstance(backend, KeepsState)}
