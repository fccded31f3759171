"""Versions of the turns of a conversation: what it takes to go back to one that a redo or another question replaced."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from glimp_local.events import FinishReason, Step, ThoughtEnd, answer_of
from glimp_local.messages import Message
from glimp_local.runs import Run
from glimp_local.tree import Tree


def new_id() -> str:
    """Return an id for a version of a turn: no other in the conversation has it, whoever continues that."""
    return secrets.token_hex(5)


@dataclass(frozen=True)
class Version:
    """One version of a turn, as text alone."""

    history: Sequence[Message]
    """The conversation before it."""
    messages: Sequence[Message]
    """What was asked: the question, last, and the messages before it."""
    steps: Sequence[Step]
    thought_end: ThoughtEnd | None
    finish: FinishReason | None
    """None if it was left in the middle."""
    opening: str = ""
    """What the answer begins with."""

    @property
    def answer(self) -> str:
        """Its answer, as far as it was written."""
        return self.opening + answer_of(self.steps)


def versions_of(tree: Tree, before: Sequence[Message]) -> dict[str, Version]:
    """Return all versions of a saved conversation's turns by their ids; `before` is what stands before the first turn.

    Questions without an answer are not part of what stands before later ones.
    """
    found: dict[str, Version] = {}
    said: dict[str | None, list[Message]] = {None: []}
    for turn, run in tree.versions.items():  # what a version stands behind was begun before it
        earlier, question = said[run.behind], Message("user", run.asked)
        history = [*_beginning(run, before), *earlier]
        found[turn] = Version(history, [question], list(run.steps), run.thought_end, run.finish)
        said[turn] = [*earlier, question, Message("assistant", run.answer)] if run.answer else earlier
    return found


def _beginning(run: Run, before: Sequence[Message]) -> list[Message]:
    """Return what stands before the first turn, with the system message that a run had."""
    if run.question is None:  # the line is lost that says it
        return list(before)
    rest = [message for message in before if message.role != "system"]
    return rest if run.system is None else [Message("system", run.system), *rest]
