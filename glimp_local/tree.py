"""A conversation in all its versions: what a redo or another question has replaced is kept, beside what replaced it.

A version is a run with an id, and with the id of the one it stands behind. Those behind the same one are versions of
the same turn. The conversation is the line of versions that leads to one of them, `last`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glimp_local.runs import Run


@dataclass
class Tree:
    """All versions of a conversation's turns, and which of them it consists of at present."""

    versions: dict[str, Run] = field(default_factory=dict)
    """By their ids, in the order in which they were begun."""
    at: str | None = None
    """The id of the version the conversation ends with; None if it has no turn."""
    _next: dict[str | None, str] = field(default_factory=dict)
    """Behind each version (None: at the beginning), the one that the conversation continued with last."""

    @classmethod
    def of(cls, *runs: Run) -> Tree:
        """Return the tree of turns that have one version each."""
        tree = cls()
        for run in runs:
            tree.add(run)
        return tree

    @property
    def last(self) -> Run | None:
        """The version the conversation ends with."""
        return None if self.at is None else self.versions[self.at]

    @property
    def runs(self) -> list[Run]:
        """The turns of the conversation, each in the version chosen."""
        return [self.versions[turn] for turn in self._line(self.at)]

    def _line(self, turn: str | None) -> list[str]:
        """Return the ids of the versions that lead to one, the first turn's first."""
        line = []
        while turn is not None:
            line.append(turn)
            turn = self.versions[turn].behind
        return line[::-1]

    def siblings(self, run: Run) -> list[Run]:
        """Return all versions of a turn, in the order in which they were begun."""
        return [other for other in self.versions.values() if other.behind == run.behind]

    def end_of(self, run: Run) -> Run:
        """Return the version the conversation ended with when it led through this one last."""
        while (turn := self._next.get(run.turn)) is not None:
            run = self.versions[turn]
        return run

    def add(self, run: Run) -> None:
        """Continue the conversation with a run. One without an id, or with one that there is already, gets its own."""
        number = len(self.versions)
        while not run.turn or run.turn in self.versions:
            number += 1
            run.turn = f"version-{number}"
        run.behind = self.at
        self.versions[run.turn] = run
        self._next[run.behind] = self.at = run.turn

    def go_to(self, turn: str | None) -> None:
        """Let the conversation end with a version, or have no turn; raises ValueError if there is none of this id."""
        if turn is not None and turn not in self.versions:
            raise ValueError(f"there is no version {turn!r} of a turn")
        self.at = turn
        for id_ in self._line(turn):
            self._next[self.versions[id_].behind] = id_

    def drop(self, turn: str) -> None:
        """Remove a version; those behind it stand behind the one before it."""
        run = self.versions.pop(turn)
        for other in self.versions.values():
            if other.behind == turn:
                other.behind = run.behind
        after = self._next.pop(turn, None)
        if self._next.get(run.behind) == turn:
            del self._next[run.behind]
            if after is not None:
                self._next[run.behind] = after
        if self.at == turn:
            self.at = run.behind

    def copy(self) -> Tree:
        """Return a copy that stays as it is."""
        return Tree({turn: run.copy() for turn, run in self.versions.items()}, self.at, dict(self._next))
