"""What the tests of a session share: running one, and comparing its caches with fresh ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from glimp_local import Session
from glimp_local.engines.llama.backend import engine_of
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.lane import LlamaLane
from glimp_local.events import AnyEvent, Solution, Step, StepEnded, fold
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.routing import Model

QUESTION = "How many steps are there?"
GREEDY = {"temperature": 0}
TOLERANCE = 0.1
"""Logits of the same tokens in batches of other sizes differ by 0.02; those of another past by 0.28 and more."""

Open = Callable[..., Pair]


def engine_in(pair: Pair, model: Model) -> Engine:
    return engine_of(pair.backends[model])


def engines_in(pair: Pair) -> dict[Model, Engine]:
    return {model: engine_of(backend) for model, backend in pair.backends.items()}


def lane_of(session: Session, model: Model) -> LlamaLane:
    found = session._lanes[model]
    assert isinstance(found, LlamaLane)
    return found


def lanes_of(session: Session) -> list[LlamaLane]:
    return [lane_of(session, model) for model in session._lanes]


def look(session: Session, model: Model, aside: str = "") -> np.ndarray:
    """Return the raw logits of what a model would write next, as a peek computes them."""
    return lane_of(session, model).logits(aside.encode())


def prompt_of(pair: Pair, model: Model, *messages: Message) -> list[int]:
    """Return the tokens of a conversation, or of the question that is asked here."""
    there = messages or (Message("user", QUESTION),)
    side = pair.backends[model].lane(pair.config.run, seed=0, cancel=threading.Event())
    ids: list[int] = side.prepare(there, pair.markers).content[0]
    return ids


def exchanges_of(session: Session) -> list[tuple[str, str]]:
    """Return questions and their answers."""
    texts = [message.content for message in session.messages]
    return list(zip(texts[::2], texts[1::2], strict=True))


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
    session._steering.cancel.clear()
    for side in lanes_of(session):
        side.catch_up()
        assert side.engine.ids == side.ids
        assert np.allclose(side.engine.logits(), held_by_a_fresh_engine(side.engine, side.ids), atol=TOLERANCE)


def count_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give a list that grows by the number of tokens in each batch that any engine computes from now on."""
    computed: list[int] = []
    compute = Engine._compute

    def count_and_compute(engine: Engine, count: int) -> None:
        computed.append(count)
        compute(engine, count)

    monkeypatch.setattr(Engine, "_compute", count_and_compute)
    return computed


def cancelled(session: Session) -> Iterator[AnyEvent]:
    """Ask, and stop behind the second step."""
    for event in session.ask("And the second question?"):
        yield event
        if isinstance(event, StepEnded) and event.step.index == 1:
            session.cancel()
