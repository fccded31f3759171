"""What a session says of what its models do at a moment: what they read, and how fast they write."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from glimp_local import Session
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import CancelledError
from glimp_local.events import StepEnded, StepStarted, Text, fold
from glimp_local.pair import Pair
from glimp_local.session.turn import Activity
from tests.support.scripted import ScriptedLane, scripted_pair
from tests.support.sessions import QUESTION, Open, engine_in


def seen_while_reading(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int] | None]:
    """Return what another thread sees of an engine's reading, batch by batch, from now on."""
    seen: list[tuple[int, int] | None] = []
    compute = engine._compute

    def look(count: int) -> None:
        watching = threading.Thread(target=lambda: seen.append(engine.reading))
        watching.start()
        watching.join()
        compute(count)

    monkeypatch.setattr(engine, "_compute", look)
    return seen


def test_reading_is_followed_batch_by_batch_and_over_afterwards(
    open_pair: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_in(open_pair(), "small")
    seen, size = seen_while_reading(engine, monkeypatch), engine.batch_size
    tokens = engine.vocabulary.tokenize(b"word ", continues=True) * (size + 1)
    tokens = tokens[: min(size + 1, engine.context - 2)]
    engine.feed(tokens)
    assert seen[0] == (0, len(tokens))
    assert [part for part, _ in filter(None, seen)] == list(range(0, len(tokens), size))
    assert engine.reading is None
    seen.clear()
    engine.feed(tokens[:1])
    assert seen == [None]  # one token is not worth a word
    engine.cancel.set()
    with pytest.raises(CancelledError):
        engine.feed(tokens[:1])
    assert engine.reading is None


def test_a_session_tells_who_reads_and_who_writes(open_pair: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = open_pair()
    session = Session(pair, seed=1)
    seen: list[Activity | None] = []
    compute = engine_in(pair, "small")._compute

    def look(count: int) -> None:
        seen.append(session.activity())
        compute(count)

    monkeypatch.setattr(engine_in(pair, "small"), "_compute", look)
    assert session.activity() is None
    for event in session.ask(QUESTION):
        if isinstance(event, Text):
            now = session.activity()
            assert now is not None
            assert (now.does, now.model) == ("writes", session.last_turn and session.last_turn.draft.started.model)  # type: ignore[union-attr]
            assert now.tokens > 0
    assert session.activity() is None
    first = seen[0]
    assert first is not None
    assert (first.model, first.does, first.tokens) == ("small", "reads", 0)
    assert first.of > 1


def test_the_time_that_the_prompt_took_does_not_slow_the_writing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("glimp_local.session.turn.perf_counter", lambda: now)
    session = Session(scripted_pair(), seed=1)
    speeds: list[float | None] = []
    for event in session.ask("How many?"):
        match event:
            case StepStarted():
                now += 60  # what stands before the first token
            case Text():
                activity = session.activity()
                assert activity is not None
                speeds.append(activity.tokens_per_second)
                now += 0.5
            case StepEnded():
                speeds.append(-1)
    first, *others = speeds[: speeds.index(-1)]
    assert first is None
    assert others
    assert all(speed == pytest.approx(2) for speed in others)


def test_a_model_that_drafts_does_not_hide_the_one_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedLane, "reading", (0, 3))
    session = Session(scripted_pair(), seed=1)
    does: list[Any] = []
    for event in session.ask("How many?"):
        if isinstance(event, StepStarted | Text):
            activity = session.activity()
            does.append((type(event).__name__, activity and activity.does))
    assert set(does) == {("StepStarted", "reads"), ("Text", "writes")}


def test_each_model_s_speed_is_that_of_its_writing(open_pair: Open) -> None:
    pair: Pair = open_pair()
    session = Session(pair, seed=1)
    assert set(session.speeds().values()) == {0.0}
    solution = fold(session.ask(QUESTION))
    small, large = solution.stats.small, solution.stats.large
    assert small is not None
    assert large is not None
    assert session.speeds() == {"small": small.tokens_per_second, "large": large.tokens_per_second}
