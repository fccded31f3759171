"""Conversations that a session has, saved, and taken up by another one."""

from __future__ import annotations

from glimp_local import Session
from glimp_local.pair import Pair
from glimp_local.records import saved
from glimp_local.records.session_log import SessionLog
from glimp_local.runs import Run
from glimp_local.tree import Tree


def talk(pair: Pair, *questions: str, log: SessionLog | None = None) -> saved.SavedSession:
    log = log or SessionLog()
    log.begin(pair.name, {})
    session = Session(pair, seed=1)
    for question in questions:
        for event in session.ask(question):
            log.write(event)
    log.close()
    assert log.error is None
    return saved.read(log.path)


def restored(pair: Pair, turn: Run) -> Session:
    session = Session(pair, seed=1)
    session.restore(Tree.of(turn.copy()))
    return session
