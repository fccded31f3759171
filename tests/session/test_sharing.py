"""Several sessions on one pair: each finds everything as it would be alone, and what one run needs is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec
import pytest

from glimp_local import Session
from glimp_local.errors import UsageError
from glimp_local.events import AnyEvent, Finished, Started, StepEnded, fold
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.settings import SamplingSettings
from tests.support.engines import ARCHITECTURES
from tests.support.scripted import scripted_pair
from tests.support.sessions import QUESTION, Open, assert_caches_equal_fresh_runs, cancelled

ACTIONS: tuple[Callable[[Session], Iterator[AnyEvent]], ...]


def forced(session: Session) -> Iterator[AnyEvent]:
    """Continue, with the next step forced."""
    session.force("large")
    yield from session.resume()


ACTIONS = (
    lambda session: session.ask("What is the first question?"),
    cancelled,
    forced,
    lambda session: session.redo(1),
)


_NOT_COMPARED = {"catch_up_tokens", "prefill_tokens", "turn", "of"}


def untimed(events: Sequence[AnyEvent]) -> list[Any]:
    """Return events without times, ids, and what was read again because the cache held somebody else's text."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: item for key, item in value.items() if not key.endswith(("seconds", "per_second", "speedup"))}
            return {key: clean(item) for key, item in kept.items() if key not in _NOT_COMPARED}
        if isinstance(value, float):
            return pytest.approx(value, abs=1e-4)  # what is read in batches of other sizes is rounded otherwise
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    return [clean(msgspec.to_builtins(event)) for event in events]


def alone(pair: Pair, seed: int, temperature: float) -> list[list[Any]]:
    pair.forget()
    session = session_of(pair, seed, temperature)
    return [untimed(list(action(session))) for action in ACTIONS]


def session_of(pair: Pair, seed: int, temperature: float) -> Session:
    settings = msgspec.structs.replace(
        pair.config.run, sampling=SamplingSettings(temperature=temperature), draft="off", catch_up="lazy"
    )
    system = [Message("system", f"You are number {seed}.")] if seed % 2 else []
    return Session(pair, settings=settings, seed=seed, history=system)


def orders() -> list[tuple[int, ...]]:
    """All orders in which two sessions can do four things each: who is next, 70 times eight."""
    turns = range(2 * len(ACTIONS))
    return [tuple(int(turn in second) for turn in turns) for second in combinations(turns, len(ACTIONS))]


def check_order(pair: Pair, order: Sequence[int], expected: Sequence[list[list[Any]]], temperature: float) -> None:
    pair.forget()
    sessions = [session_of(pair, seed, temperature) for seed in (1, 2)]
    done: list[list[Any]] = [[], []]
    for who in order:
        action = ACTIONS[len(done[who])]
        done[who].append(untimed(list(action(sessions[who]))))
    assert done == list(expected)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_two_sessions_in_every_order_are_each_as_if_alone(temperature: float) -> None:
    pair = scripted_pair(policy="random", share=0.5)
    expected = [alone(pair, seed, temperature) for seed in (1, 2)]
    assert expected[0] != expected[1]
    for order in orders():
        check_order(pair, order, expected, temperature)


def test_two_sessions_on_real_models_are_each_as_if_alone(open_pair: Open) -> None:
    pair = open_pair()
    expected = [alone(pair, seed, 0) for seed in (1, 2)]
    for order in orders()[::7]:
        check_order(pair, order, expected, 0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_sessions_on_any_architecture_find_their_own_transcripts_in_the_caches(open_pair: Open, name: str) -> None:
    settings: dict[str, Any] = {"max_answer": 40, "max_step": 8, "max_thought": 30, "policy": "random", "share": 0.5}
    pair = open_pair(name, name, **settings)
    for order in orders()[::23]:
        sessions, done = [session_of(pair, seed, 1.0) for seed in (1, 2)], [0, 0]
        for who in order:
            list(ACTIONS[done[who]](sessions[who]))
            done[who] += 1
        for session in (*sessions, sessions[0]):
            assert_caches_equal_fresh_runs(session)


def test_a_pair_on_servers_has_as_many_runs_at_a_time_as_both_models_answer() -> None:
    pair = scripted_pair(parallel=3)
    assert pair.parallel == 3
    runs = [Session(pair, seed=seed).ask(QUESTION) for seed in range(3)]
    began = [[next(events)] for events in runs]
    with pytest.raises(UsageError, match="other runs, up to 3 at once, are using this pair"):
        next(Session(pair, seed=4).ask(QUESTION))
    # Nothing is forgotten while anyone reads: not with all of them under way, and not with one.
    with pytest.raises(UsageError, match="using this pair"):
        pair.forget()
    for number in (1, 2):
        began[number].extend(runs[number])
    with pytest.raises(UsageError, match="using this pair"):
        pair.forget()
    began[0].extend(runs[0])
    pair.forget()
    # In turns or at once, each is as it is alone.
    for seed, read in enumerate(began):
        assert untimed(read) == untimed(list(Session(scripted_pair(), seed=seed).ask(QUESTION)))


def test_one_model_that_answers_one_at_a_time_has_the_pair_do_so() -> None:
    pair = scripted_pair(parallel=3)
    pair.backends["small"].parallel = 1  # type: ignore[misc] # scripted
    assert Pair("mixed", pair.config, pair.backends).parallel == 1


def test_a_second_run_is_refused_while_one_is_read() -> None:
    pair = scripted_pair()
    one, two = Session(pair, seed=1), Session(pair, seed=2)
    events = one.ask(QUESTION)
    next(events)
    with pytest.raises(UsageError, match="another run is using this pair"):
        list(two.ask(QUESTION))
    assert (two.messages, two.can_resume) == ([], False)
    list(events)
    assert fold(two.ask(QUESTION)).finish_reason == "done"


def test_a_refused_run_changes_nothing() -> None:
    pair = scripted_pair()
    one, two = Session(pair, seed=1), Session(pair, seed=2)
    list(one.ask(QUESTION))
    messages, steps = one.messages, list(one.last_turn.steps) if one.last_turn else []
    events = two.ask(QUESTION)
    next(events)
    again: tuple[Callable[[], Iterator[AnyEvent]], ...] = (
        lambda: one.redo(1),
        lambda: one.ask("Another one?", instead=True),
        lambda: one.ask("And more?"),
    )
    for action in again:
        with pytest.raises(UsageError, match="another run is using this pair"):
            next(action())
        assert one.last_turn is not None
        assert (one.messages, one.last_turn.steps) == (messages, steps)
    with pytest.raises(UsageError, match="another run is using this pair"):
        pair.forget()
    events.close()
    assert fold([*one.ask("And more?")]).finish_reason == "done"


def test_a_run_that_was_left_gives_the_pair_back() -> None:
    pair = scripted_pair()
    events = Session(pair, seed=1).ask(QUESTION)
    next(events)
    events.close()
    assert fold(Session(pair, seed=2).ask(QUESTION)).finish_reason == "done"


def test_a_second_run_waits_if_it_is_told_to() -> None:
    pair = scripted_pair()
    first = Session(pair, seed=1).ask(QUESTION)
    next(first)
    found: list[AnyEvent] = []
    waiting = threading.Thread(target=lambda: found.extend(Session(pair, seed=2, wait=True).ask(QUESTION)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    assert not found
    list(first)
    waiting.join(10)
    assert isinstance(found[-1], Finished)


def test_who_waits_can_give_up() -> None:
    pair = scripted_pair()
    first = Session(pair, seed=1).ask(QUESTION)
    next(first)
    waiting = Session(pair, seed=2, wait=True)
    threading.Timer(0.1, waiting.cancel).start()
    stopped = fold(waiting.ask(QUESTION))
    assert (stopped.finish_reason, stopped.steps) == ("cancelled", ())
    list(first)
    assert list(waiting.resume())


def test_a_cancel_of_a_run_that_never_began_stops_no_other() -> None:
    session = Session(scripted_pair(), seed=1)
    session.ask(QUESTION)
    session.cancel()
    assert fold(session.ask(QUESTION)).finish_reason == "done"


def test_a_cancel_that_comes_too_late_stays_with_whoever_gave_the_event() -> None:
    cancel = threading.Event()
    session = Session(scripted_pair(), seed=1, cancel=cancel)
    for event in session.ask(QUESTION):
        if isinstance(event, StepEnded) and event.step.part == "answer":
            cancel.set()
    assert cancel.is_set()
    assert fold(session.ask(QUESTION)).finish_reason == "cancelled"
    assert not cancel.is_set()


def test_a_cancel_stops_one_session_and_no_other() -> None:
    pair = scripted_pair()
    one, two = Session(pair, seed=1), Session(pair, seed=2)
    events = one.ask(QUESTION)
    next(events)
    one.cancel()
    assert fold([Started("", "", "small", 1, None, None, False, 0), *events]).finish_reason == "cancelled"
    assert fold(two.ask(QUESTION)).finish_reason == "done"


def test_a_forced_step_is_the_session_s_own() -> None:
    pair = scripted_pair(threshold=100)
    one, two = Session(pair, seed=1), Session(pair, seed=2)
    one.force("large")
    assert fold(two.ask(QUESTION)).steps[0].model == "small"
    assert fold(one.ask(QUESTION)).steps[0].model == "large"


def test_a_look_by_one_session_leaves_the_other_s_cache(open_pair: Open) -> None:
    pair = open_pair()
    one, two = Session(pair, seed=1), Session(pair, seed=2)
    list(one.ask(QUESTION))
    with pytest.raises(UsageError, match="nothing was asked yet"):
        two.peek("small", [b"x"])
    assert_caches_equal_fresh_runs(one)
    list(two.ask("Why?"))
    one.peek("small", [b"x"])
    two.peek("large", [b"x"])
    for session in (one, two):
        assert_caches_equal_fresh_runs(session)
