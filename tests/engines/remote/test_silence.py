"""A server that says nothing, or is not waited for any more: each wait can be ended, and the server is let go."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from glimp_local import Session
from glimp_local.engines.remote.vocabulary import ServerVocabulary
from glimp_local.errors import CancelledError
from glimp_local.events import fold
from glimp_local.load import LoadRequest, load
from tests.conftest import BUILTIN
from tests.engines.remote.asking import questions, solve
from tests.engines.remote.conftest import OpenRemote
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay
from tests.support.tiny_models import SMALL, write_story


def test_silence_ends_the_run_after_the_timeout(tmp_path: Path, relay: Relay, open_pair: OpenRemote) -> None:
    models = tmp_path / "models.toml"
    models.write_text(
        f'[pairs.x]\nsmall = {{path = "{BUILTIN / "small.gguf"}"}}\nlarge = {{url = "{relay.url}", timeout = 0.5}}\n'
    )
    pair = open_pair(name="x", models_file=models, small=None, large=None, threshold=0)
    relay.silence()
    solution = solve(pair)
    relay.speak()
    assert solution.finish_reason == "failed"
    assert "no sign of life for 0.5 seconds" in solution.notices[-1]


def test_a_cancel_frees_the_slot_within_a_second(large_server: LlamaServer, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=large_server.url, policy="large"), seed=1)
    for number, _ in enumerate(session.ask(questions(1)[0])):
        if number == 10:
            session.cancel()
    assert large_server.seconds_until_idle() < 1
    assert session.can_resume


def test_a_run_that_nobody_reads_any_more_frees_the_slot(large_server: LlamaServer, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=large_server.url, policy="large"), seed=1)
    events = session.ask(questions(1)[0])
    for _ in range(10):
        next(events)
    events.close()
    assert large_server.seconds_until_idle() < 1


def test_a_cancel_does_not_wait_for_a_server_that_is_silent(relay: Relay, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=relay.url, threshold=0), seed=1)
    relay.silence()
    threading.Timer(0.3, session.cancel).start()
    began = time.monotonic()
    solution = fold(session.ask(questions(1)[0]))
    relay.speak()
    assert solution.finish_reason == "cancelled"
    assert time.monotonic() - began < 1.5


def test_a_closed_pair_leaves_no_connection_and_no_thread(relay: Relay, open_pair: OpenRemote) -> None:
    before = threading.active_count()
    pair = open_pair(large_url=relay.url, policy="large")
    solve(pair)
    pair.close()
    assert threading.active_count() <= before
    end = time.monotonic() + 5
    while relay.open and time.monotonic() < end:
        time.sleep(0.01)
    assert relay.open == 0


def other_tokens(folder: Path) -> Path:
    """Write a model of another vocabulary: text is handed over then, and the server tokenises."""
    return write_story(folder / "other.gguf", SMALL, context=512)


def test_loading_can_be_cancelled_while_tokens_are_compared(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()

    def silent(self: ServerVocabulary, ids: object) -> str:
        relay.silence()
        threading.Timer(0.2, cancel.set).start()
        return shown(self, ids)  # type: ignore[arg-type]

    shown = ServerVocabulary.shown
    monkeypatch.setattr(ServerVocabulary, "shown", silent)
    began, threads = time.monotonic(), threading.active_count()
    request = LoadRequest(small=BUILTIN / "small.gguf", large_url=relay.url)
    with pytest.raises(CancelledError):
        load(request, cancel=cancel)
    relay.speak()
    assert time.monotonic() - began < 20
    assert threading.active_count() <= threads + 1  # the timer may end still


def test_a_run_ends_while_reading_ahead_waits_for_tokens(tmp_path: Path, relay: Relay, open_pair: OpenRemote) -> None:
    pair = open_pair(small=other_tokens(tmp_path), large_url=relay.url, context=512, threshold=9)
    session = Session(pair, seed=1)
    events = session.ask("How many steps are there? " * 6)
    relay.silence()
    for number, _ in enumerate(events):
        if number > 3:
            break
    began = time.monotonic()
    events.close()
    relay.speak()
    assert time.monotonic() - began < 2


def test_a_prompt_that_a_silent_server_renders_can_be_cancelled(relay: Relay, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=relay.url, policy="large"), seed=1)
    relay.silence()
    threading.Timer(0.3, session.cancel).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        session.ask("a question that nobody has asked yet")
    relay.speak()
    assert time.monotonic() - began < 2
    assert fold(session.ask(questions(1)[0])).finish_reason == "done"
