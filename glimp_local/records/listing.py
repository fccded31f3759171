"""What a list shows of each saved conversation, and finding one by its words; no conversation is kept in memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from glimp_local import units
from glimp_local.records import caches, conversations
from glimp_local.records.saved import SavedSession, Unreadable

_BEFORE, _BEHIND = 20, 100
"""Characters that are shown around what was found."""


@dataclass(frozen=True)
class Entry:
    """One conversation in a list, or what has the name of one."""

    id: str
    path: Path
    title: str
    """Empty if the first question is blank, or nothing of it can be restored."""
    pair: str
    turns: int
    written: float
    """When its file was written to last, in seconds since 1970."""
    size_bytes: int
    """Of its file and its kept caches: what removing it frees."""
    damage: str | None
    """What of it cannot be restored, in words; None if all is there."""
    is_lost: bool
    """Can nothing of it be restored?"""
    text: str = field(repr=False)
    """Its questions and answers; thoughts are left out."""
    folded: str = field(repr=False)
    """What is searched, without capitals."""

    @classmethod
    def of(cls, found: SavedSession | Unreadable) -> Entry:
        """Return what a list shows of a conversation that was read, or could not be."""
        title, pair, turns, text = "", "", 0, ""
        if isinstance(found, SavedSession):
            title, pair, turns = found.title, found.header.pair, len(found.turns)
            text = "\n".join(part for turn in found.tree.versions.values() for part in (turn.asked, turn.answer))
        about = conversations.stat_of(found.path)
        size_bytes, written = (0, 0.0) if about is None else (about.st_size, about.st_mtime)
        return cls(
            id=found.id,
            path=found.path,
            title=title,
            pair=pair,
            turns=turns,
            written=written,
            size_bytes=size_bytes + caches.kept_bytes(found.path),
            damage=found.damage,
            is_lost=isinstance(found, Unreadable),
            text=text,
            folded=f"{title}\n{pair}\n{found.id}\n{text}".casefold(),
        )

    @property
    def age(self) -> str:
        """How long ago it was written to: "2 h ago"."""
        return units.ago(time.time() - self.written)

    def has(self, words: Iterable[str]) -> bool:
        """Return whether all these words are in its title, its pair, its id, or in what was said."""
        return all(word.casefold() in self.folded for word in words)

    def around(self, words: Iterable[str]) -> str:
        """Return what was said around the first of these words that the title does not show; empty if there is none."""
        for word in words:
            if word.casefold() in self.title.casefold():
                continue
            if (match := re.search(re.escape(word), self.text, re.IGNORECASE)) is not None:
                start, end = max(0, match.start() - _BEFORE), match.end() + _BEHIND
                before, behind = "…" if start else "", "…" if end < len(self.text) else ""
                return f"{before}{self.text[start:end].strip()}{behind}"
        return ""
