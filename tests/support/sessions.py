"""What the tests of a session share: running one, and comparing its caches with fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from glimp_local import Session
from glimp_local.engines.llama.engine import Engine
from glimp_local.events import Solution, Step, fold
from glimp_local.pair import Pair

QUESTION = "How many steps are there?"
GREEDY = {"temperature": 0}
TOLERANCE = 0.1
"""Logits of the same tokens in batches of other sizes differ by 0.02; those of another past by 0.28 and more."""

Open = Callable[..., Pair]


def run(pair: Pair, question: str = QUESTION, seed: int = 1) -> Solution:
    return fold(Session(pair, seed=seed).ask(question))


def writers(steps: Iterable[Step]) -> str:
    return "".join(step.model[0].upper() for step in steps)


def held_by_a_fresh_engine(engine: Engine, ids: list[int]) -> np.ndarray:
    fresh = Engine(engine.path, context=engine.context)
    fresh.feed(ids)
    logits = fresh.logits().copy()
    fresh.close()
    return logits


def assert_caches_equal_fresh_runs(session: Session) -> None:
    """Both models, caught up with the transcript, must compute what a fresh engine does."""
    session._cancel.clear()
    for lane in session._lanes.values():
        lane.catch_up()
        assert lane.engine.ids == lane.ids
        assert np.allclose(lane.engine.logits(), held_by_a_fresh_engine(lane.engine, lane.ids), atol=TOLERANCE)


def count_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give a list that grows by the number of tokens in each batch that any engine computes from now on."""
    computed: list[int] = []
    compute = Engine._compute

    def count_and_compute(engine: Engine, count: int) -> None:
        computed.append(count)
        compute(engine, count)

    monkeypatch.setattr(Engine, "_compute", count_and_compute)
    return computed
