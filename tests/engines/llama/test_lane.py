"""A model that reads along while the other one writes: the same run, and never two threads at one engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from glimp_local import Session, load_pair
from glimp_local.bench.problems import read_problems
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import DecodeError
from glimp_local.events import Text, fold
from glimp_local.pair import Pair
from glimp_local.settings import EngineOptions
from tests.support.sessions import (
    TOLERANCE,
    Open,
    assert_caches_equal_fresh_runs,
    engine_in,
    held_by_a_fresh_engine,
    lane_of,
    look,
    run,
)

STORIES = [problem.text for problem in read_problems("builtin")[:4]]


@pytest.fixture
def builtin() -> Iterator[Callable[..., Pair]]:
    opened: list[Pair] = []

    def open_(**settings: Any) -> Pair:
        defaults = {"sampling": {"temperature": 0}, "draft": "off", "catch_up": "eager"}
        opened.append(load_pair("builtin", **{**defaults, **settings}))
        return opened[-1]

    yield open_
    for pair in opened:
        pair.close()


@pytest.mark.slow
def test_read_along_or_not_the_run_is_the_same(builtin: Callable[..., Pair]) -> None:
    lazy, eager = (builtin(catch_up=how, policy="random", share=0.3) for how in ("lazy", "eager"))
    for story in STORIES:
        plain, along = run(lazy, story), run(eager, story)
        assert [(step.model, step.text) for step in along.steps] == [(step.model, step.text) for step in plain.steps]
        assert plain.stats.large is not None
        assert along.stats.large is not None
        assert plain.stats.large.along_tokens == 0
        assert along.stats.large.along_tokens > 0  # how far it gets hangs on the machine
        assert along.stats.large.catch_up_tokens < plain.stats.large.catch_up_tokens


def test_what_was_read_along_is_what_a_fresh_engine_reads(builtin: Callable[..., Pair]) -> None:
    session = Session(builtin(), seed=1)
    list(session.ask(STORIES[0]))
    assert_caches_equal_fresh_runs(session)
    list(session.redo(4))
    assert_caches_equal_fresh_runs(session)


def test_between_two_events_a_look_waits_for_the_reader(builtin: Callable[..., Pair]) -> None:
    session = Session(builtin(), seed=1)
    looks = 0
    for event in session.ask(STORIES[1]):
        if isinstance(event, Text) and event.part == "thought" and looks < 12:
            looks += 1
            lane = lane_of(session, "large")
            logits = look(session, "large")
            assert np.allclose(logits, held_by_a_fresh_engine(lane.engine, lane.ids), atol=TOLERANCE)
    assert looks == 12


def test_between_two_events_a_look_at_the_writer_s_own_logits_repeats_no_token(builtin: Callable[..., Pair]) -> None:
    expected = run(builtin(catch_up="lazy"), STORIES[1])
    session = Session(builtin(), seed=1)
    events = []
    for event in session.ask(STORIES[1]):
        events.append(event)
        if isinstance(event, Text):
            look(session, "small")
            look(session, "small", "Or else")
            look(session, "large")
    assert fold(events).answer == expected.answer


@pytest.mark.parametrize("stop_at", [2, 9, 21])
def test_a_cancel_while_a_model_reads_along_leaves_both_caches_right(
    builtin: Callable[..., Pair], stop_at: int
) -> None:
    session = Session(builtin(), seed=1)
    seen = 0
    for event in session.ask(STORIES[2]):
        seen += isinstance(event, Text)
        if seen == stop_at:
            session.cancel()
    assert_caches_equal_fresh_runs(session)


def test_a_pair_that_is_closed_while_a_model_reads_along_waits_for_it(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = builtin()
    feed, begun, ended = Engine.feed, [], []

    def feed_slowly(engine: Engine, ids: Any) -> None:
        if engine is engine_in(pair, "large"):
            begun.append(len(ids))
            time.sleep(0.2)
        try:
            feed(engine, ids)
        finally:
            if engine is engine_in(pair, "large"):
                ended.append(len(ids))

    monkeypatch.setattr(Engine, "feed", feed_slowly)
    events = Session(pair, seed=1).ask(STORIES[0])
    while not begun:
        next(events)
    pair.close()
    assert len(ended) == len(begun)
    assert engine_in(pair, "large")._context is None


def test_what_fails_while_reading_along_is_said_when_it_is_needed(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = builtin()
    feed = Engine.feed

    def fail(engine: Engine, ids: Any) -> None:
        if engine is engine_in(pair, "large"):
            raise DecodeError("it broke")
        feed(engine, ids)

    monkeypatch.setattr(Engine, "feed", fail)
    solution = run(pair, STORIES[0])
    assert solution.finish_reason == "failed"
    assert any("it broke" in notice for notice in solution.notices)
    assert all(step.model == "small" for step in solution.steps if step.tokens)


@pytest.mark.parametrize(
    ("small", "large", "along"),
    [
        ({}, {}, False),
        ({"gpu_layers": -1}, {"gpu_layers": -1}, False),
        ({"gpu_layers": 0}, {"gpu_layers": -1}, True),
        ({"gpu_layers": 0}, {"gpu_layers": 1}, False),
        ({"gpu_layers": -1}, {"gpu_layers": 1}, False),
        ({"gpu_layers": -1, "split": "none"}, {"gpu_layers": -1, "split": "none", "main_gpu": 1}, True),
        ({"gpu_layers": -1, "tensor_split": (1.0, 0.0)}, {"gpu_layers": -1, "tensor_split": (0.0, 1.0)}, True),
        ({"gpu_layers": -1, "tensor_split": (1.0, 0.0)}, {"gpu_layers": -1, "tensor_split": (0.5, 0.5)}, False),
    ],
)
def test_by_itself_a_model_reads_along_only_where_the_two_share_no_device(
    builtin: Callable[..., Pair], small: dict[str, Any], large: dict[str, Any], along: bool
) -> None:
    pair = builtin(catch_up="auto")
    gpus = ("one", "two") if small or large else ()
    for engine, options in ((engine_in(pair, "small"), small), (engine_in(pair, "large"), large)):
        chosen = EngineOptions(**options)
        engine.placement = msgspec.structs.replace(
            engine.placement, options=chosen, gpus=gpus if chosen.gpu_layers else ()
        )
    assert pair.reads_along(pair.config) is along


@pytest.mark.slow
@pytest.mark.parametrize("leave", [lambda events, _: events.close(), lambda _, session: session.cancel()])
def test_a_run_that_is_left_leaves_no_thread_at_work(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, leave: Callable[..., object]
) -> None:
    pair = builtin(policy="random", share=0.5)
    large, compute = engine_in(pair, "large"), Engine._compute
    inside: set[int] = set()
    large.batch_size = 8

    def compute_slowly(engine: Engine, count: int) -> None:
        if engine is large:
            assert not inside, "two threads in one engine"
            inside.add(threading.get_ident())
            time.sleep(0.05)
        compute(engine, count)
        inside.clear()

    monkeypatch.setattr(Engine, "_compute", compute_slowly)
    session = Session(pair, seed=1)
    events = session.ask(STORIES[0])
    while not large.reads_ahead:
        next(events)
    read = large.fed
    leave(events, session)
    list(events)
    assert not large.ahead.has_begun
    assert large.fed - read <= 3 * 8
    assert run(pair, STORIES[0]).finish_reason == "done"


def test_what_is_waited_for_counts_as_catch_up(builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    pair, compute = builtin(), Engine._compute

    def compute_slowly(engine: Engine, count: int) -> None:
        if engine is engine_in(pair, "large") and count > 1:
            time.sleep(0.05)
        compute(engine, count)

    monkeypatch.setattr(Engine, "_compute", compute_slowly)
    stats = run(pair, STORIES[0]).stats
    models = [model for model in (stats.small, stats.large) if model]
    told = stats.glimpse_seconds + sum(
        model.prefill_seconds + model.catch_up_seconds + model.decode_seconds + model.sample_seconds for model in models
    )
    assert told > 0.8 * stats.seconds
    assert models[1].along_seconds > 0.05


def test_a_model_that_cannot_go_back_waits_for_its_turn(open_pair: Open) -> None:
    settings = {"policy": "random", "share": 0.5, "catch_up": "eager", "max_answer": 60, "answer_by": "route"}
    solution = run(open_pair(small="recurrent", large="recurrent", **settings))
    models = [solution.stats.small, solution.stats.large]
    assert [model.along_tokens for model in models if model] == [0, 0]
