"""What the driver reports to the interface, beside the session's events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glimp_local.errors import CacheError, GlimpError
from glimp_local.events import AnyEvent
from glimp_local.pair import Pair
from glimp_local.records.saved import SavedSession
from glimp_local.routing import Model

Task = Literal["load", "run", "other"]
"""What the driver was asked for: a pair, something that the models write, or anything else."""


@dataclass(frozen=True)
class Loading:
    """This fraction of a model's file is loaded."""

    model: Model
    path: Path
    fraction: float


@dataclass(frozen=True)
class Loaded:
    """The pair can be asked."""

    pair: Pair
    is_new: bool = False
    """Has a new conversation begun?"""


@dataclass(frozen=True)
class Opened:
    """Another saved conversation is continued from here on."""

    saved: SavedSession


@dataclass(frozen=True)
class Failed:
    """What was asked for could not be done. The conversation is as it was."""

    error: GlimpError
    task: Task = "other"


@dataclass(frozen=True)
class Saving:
    """The conversation cannot be written to the disk; or, without an error, it can again."""

    path: Path
    error: OSError | None


@dataclass(frozen=True)
class MovingCaches:
    """Caches are being written to the disk, or read from there."""

    size_bytes: int
    to_disk: bool


@dataclass(frozen=True)
class TakenUp:
    """The models hold this many tokens of the conversation without reading them again."""

    tokens: dict[Model, int]


@dataclass(frozen=True)
class CachesLost:
    """Caches could not be kept, or not be restored. The conversation is as it was, and is read again."""

    error: CacheError


Told = AnyEvent | Loading | Loaded | Opened | Failed | Saving | MovingCaches | TakenUp | CachesLost
