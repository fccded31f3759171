"""What one fact about a machine means: a level, a sentence, and what to do."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

Level = Literal["fine", "to know", "needs doing"]


class Finding(msgspec.Struct, frozen=True):
    """What one fact means."""

    subject: str
    level: Level
    says: str
    do: str | None = None
    """What to do about it."""


REPORT = "report this, with all that glimp doctor prints"
"""What to do where nobody knows better."""
Fact = TypeVar("Fact")
Judged = tuple[Fact, list[Finding]]
"""A fact, and what is to be said of it."""
