"""What can go wrong with a server: said in words, tried once more where that is safe, and nothing mixed up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local import Session
from glimp_local.engines.remote.api import Chunk
from glimp_local.errors import ServerError
from glimp_local.events import AnyEvent, Notice, Text, fold
from tests.conftest import BUILTIN
from tests.engines.remote.asking import QUESTION, questions, remote, solve, texts
from tests.engines.remote.conftest import OpenRemote
from tests.support.commands import Glimp, mine
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay
from tests.support.server_process import free_port


def test_a_connection_lost_in_mid_step_changes_nothing(relay: Relay, open_pair: OpenRemote) -> None:
    undisturbed = solve(open_pair())
    pair = open_pair(large_url=relay.url, catch_up="lazy")
    for events in (1, 3, 8):
        relay.cut_after(events=events)
        solution = solve(pair)
        assert texts(solution) == texts(undisturbed)
        assert solution.notices == ()


def test_a_connection_lost_inside_a_chunk_changes_nothing(relay: Relay, open_pair: OpenRemote) -> None:
    undisturbed = solve(open_pair(policy="large"))
    pair = open_pair(large_url=relay.url, policy="large")
    for size in (700, 1999, 4321):
        relay.cut_after(size_bytes=size)
        assert texts(solve(pair)) == texts(undisturbed)


def test_a_server_that_is_lost_twice_ends_the_run_and_what_was_written_stays(
    relay: Relay, open_pair: OpenRemote
) -> None:
    pair = open_pair(large_url=relay.url, policy="large")
    session = Session(pair, seed=1)
    events = session.ask(questions(1)[0])
    seen = [next(events) for _ in range(20)]
    relay.cut_after(events=1, times=99)
    solution = fold([*seen, *events])
    relay.cut_after(events=10**6)
    assert solution.finish_reason == "failed"
    assert "the connection was lost" in solution.notices[-1]
    written = "".join(step.text for step in solution.steps)
    assert len(written) > 20
    continued = _texts(session.resume())
    assert written + continued == "".join(text for _, text in texts(solve(open_pair(policy="large"), questions(1)[0])))


def _texts(events: Iterator[AnyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def test_the_small_model_continues_if_that_is_set(relay: Relay, open_pair: OpenRemote) -> None:
    pair = open_pair(large_url=relay.url, threshold=0, on_failure="small", catch_up="lazy")
    relay.cut_after(events=1, times=99)
    solution = solve(pair)
    assert solution.finish_reason in {"done", "answer_budget"}
    assert solution.notices[-1].endswith("The small model continues")
    failed = next(step for step in solution.steps if step.end == "failed")
    behind = solution.steps[failed.index + 1 :]
    assert behind
    assert {(step.model, step.reason) for step in behind} == {("small", "failure")}


def test_the_next_question_asks_the_large_model_again(relay: Relay, open_pair: OpenRemote) -> None:
    pair = open_pair(large_url=relay.url, threshold=0, on_failure="small", catch_up="lazy")
    session = Session(pair, seed=1)
    relay.cut_after(events=1, times=99)
    assert fold(session.ask(questions(1)[0])).notices[-1].endswith("The small model continues")
    relay.cut_after(events=10**6)
    again = fold(session.ask(questions(2)[1]))
    assert again.notices == ()
    assert again.stats.large is not None
    assert again.stats.large.tokens > 0


def test_a_server_that_is_killed_and_started_again_is_found_again(open_pair: OpenRemote) -> None:
    undisturbed = solve(open_pair(policy="large"))
    with LlamaServer(BUILTIN / "large.gguf") as server:
        pair = open_pair(large_url=server.url, policy="large")
        events, seen = Session(pair, seed=1).ask(QUESTION), []
        for event in events:
            seen.append(event)
            if len(seen) == 12:
                server.kill()
                starting = threading.Timer(0.5, server.start)
                starting.start()
        starting.join()
    assert texts(fold(seen)) == texts(undisturbed)


def test_a_server_that_is_loading_is_waited_for(relay: Relay, open_pair: OpenRemote) -> None:
    relay.load_for(1.5)
    began = time.monotonic()
    pair = open_pair(large_url=relay.url, policy="large")
    assert time.monotonic() - began > 1
    relay.load_for(1.0)
    assert solve(pair).finish_reason == "done"


def test_a_machine_on_which_nothing_listens_is_named(open_pair: OpenRemote) -> None:
    port = free_port()
    with pytest.raises(ServerError, match=f"127.0.0.1:{port}: nothing listens there") as raised:
        open_pair(large_url=f"http://127.0.0.1:{port}")
    assert raised.value.hint == "is the server running, on this port?"
    assert raised.value.exit_code == 3


def test_a_name_that_no_machine_has_is_named(open_pair: OpenRemote) -> None:
    with pytest.raises(ServerError, match="there is no machine of this name"):
        open_pair(large_url="http://nobody.invalid:8000")


def test_a_server_that_goes_away_ends_the_run_in_words(relay: Relay, open_pair: OpenRemote) -> None:
    pair = open_pair(large_url=relay.url, threshold=0)
    relay.refuse()
    relay.cut()
    solution = solve(pair)
    assert solution.finish_reason == "failed"
    assert "nothing listens there" in solution.notices[-1]


def test_another_model_behind_our_back_ends_the_run(open_pair: OpenRemote) -> None:
    with LlamaServer(BUILTIN / "large.gguf", alias="one") as server:
        session = Session(open_pair(large_url=server.url, policy="large"), seed=1)
        fold(session.ask(questions(1)[0]))
        server.stop()
        server.model, server.alias = BUILTIN / "small.gguf", "other"
        server.start()
        solution = fold(session.ask(questions(1)[0]))
    assert solution.finish_reason == "failed"
    assert "serves another model now, no longer one" in solution.notices[-1]


def test_another_model_of_the_same_name_ends_the_run(open_pair: OpenRemote) -> None:
    with LlamaServer(BUILTIN / "large.gguf", alias="one") as server:
        session = Session(open_pair(large_url=server.url, policy="large"), seed=1)
        fold(session.ask(questions(1)[0]))
        server.stop()
        server.model = BUILTIN / "small.gguf"
        server.start()
        solution = fold(session.ask(questions(1)[0]))
    assert solution.finish_reason == "failed"
    assert "serves another model now, no longer one" in solution.notices[-1]


def test_a_context_that_is_full_is_none_that_was_lost(open_pair: OpenRemote) -> None:
    with LlamaServer(BUILTIN / "large.gguf", context=256) as server:
        pair = open_pair(large_url=server.url, policy="large", max_answer=10)
        assert pair.backends["large"].context == 256
        solution = solve(pair)
    assert solution.finish_reason in {"done", "answer_budget", "context_full"}
    assert solution.thought_end in {"context_full", "closed"}
    assert [notice.partition(" ")[2] for notice in solution.notices] == ["has room for 256 tokens, not 2,048"]


def test_a_notice_ends_a_run_that_failed(relay: Relay, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=relay.url, policy="large"), seed=1)
    relay.cut_after(events=1, times=99)
    assert any(isinstance(event, Notice) for event in session.ask(questions(1)[0]))


def test_the_backend_names_its_model_and_its_place(large_server: LlamaServer, open_pair: OpenRemote) -> None:
    backend = remote(open_pair(large_url=large_server.url, policy="large"))
    assert (backend.name, backend.where) == ("large", f"llama-server at 127.0.0.1:{large_server.port}")
    assert backend.devices == {f"127.0.0.1:{large_server.port}"}


def test_a_server_that_shows_nothing_of_what_it_writes_is_asked_once(
    large_server: LlamaServer, open_pair: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_pair(large_url=large_server.url, policy="large")
    api = remote(pair).api
    hidden = [Chunk(ids=(), tokens=1), Chunk(stop="most")]
    monkeypatch.setattr(api, "chunk", lambda _, written: hidden[min(written, 1)])
    assert solve(pair).finish_reason == "done"


def test_without_a_warning_nothing_is_kept_of_a_bench_whose_server_was_lost(
    tmp_path: Path, relay: Relay, glimp: Glimp
) -> None:
    mine(
        f'[pairs.box]\non_failure = "small"\nsmall = {{path = "{BUILTIN / "small.gguf"}"}}\n'
        f'large = {{url = "{relay.url}"}}\n'
    )
    relay.cut_after(events=1, times=10**6)
    flags = ("--limit", "1", "--no-looks", "--policy", "large", "--output", tmp_path / "out")
    result = glimp("bench", "builtin", "--pair", "box", *flags)
    assert result.code == 1
    assert "runs failed; the same command does them again" in result.err
