"""What can go wrong with a server: said in words, tried once more where that is safe, and nothing mixed up."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local import Session
from glimp_local.engines.remote.address import Address, warning
from glimp_local.engines.remote.api import Chunk
from glimp_local.engines.remote.client import Client
from glimp_local.engines.remote.vocabulary import ServerVocabulary
from glimp_local.errors import CancelledError, ConfigError, ServerError, UsageError
from glimp_local.events import AnyEvent, Notice, Text, fold
from glimp_local.load import LoadRequest, configured, load
from glimp_local.models.catalogue import load_catalogue
from tests.conftest import BUILTIN
from tests.engines.remote.asking import QUESTION, questions, remote, solve, texts
from tests.engines.remote.conftest import OpenRemote
from tests.support.certificates import self_signed
from tests.support.commands import Glimp, mine
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay
from tests.support.server_process import free_port
from tests.support.tiny_models import SMALL, write_story


@pytest.fixture
def relay(large_server: LlamaServer) -> Iterator[Relay]:
    with Relay(large_server.url) as between:
        yield between


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
    assert solution.notices[-1].endswith("; the small model continues")
    failed = next(step for step in solution.steps if step.end == "failed")
    behind = solution.steps[failed.index + 1 :]
    assert behind
    assert {(step.model, step.reason) for step in behind} == {("small", "failure")}


def test_the_next_question_asks_the_large_model_again(relay: Relay, open_pair: OpenRemote) -> None:
    pair = open_pair(large_url=relay.url, threshold=0, on_failure="small", catch_up="lazy")
    session = Session(pair, seed=1)
    relay.cut_after(events=1, times=99)
    assert fold(session.ask(questions(1)[0])).notices[-1].endswith("the small model continues")
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


# Keys.


def models_file(folder: Path, url: str, more: str) -> Path:
    path = folder / "models.toml"
    path.write_text(f'[pairs.x]\npolicy = "large"\nlarge = {{url = "{url}", {more}}}\n')
    return path


@pytest.fixture(scope="module")
def guarded() -> Iterator[LlamaServer]:
    with LlamaServer(BUILTIN / "large.gguf", api_key="the right key") as server:
        yield server


def test_a_key_comes_from_the_environment_or_a_file(
    tmp_path: Path, guarded: LlamaServer, open_pair: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_KEY", " the right key\n")
    (tmp_path / "key").write_text("the right key\n")
    for more in ('key_env = "BOX_KEY"', 'key_file = "key"'):
        file = models_file(tmp_path, guarded.url, more)
        assert solve(open_pair(name="x", models_file=file, policy="large", large=None)).finish_reason == "done"


def test_a_wrong_key_is_said_and_shown_nowhere(
    tmp_path: Path, guarded: LlamaServer, open_pair: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_KEY", "a wrong key 123")
    file = models_file(tmp_path, guarded.url, 'key_env = "BOX_KEY"')
    with pytest.raises(ServerError, match="it refuses the key") as raised:
        open_pair(name="x", models_file=file, policy="large", large=None)
    assert raised.value.hint == "check the key"
    assert "a wrong key 123" not in f"{raised.value!r}{raised.value.__cause__!r}{vars(raised.value)}"
    with pytest.raises(ServerError, match="it asks for a key") as raised:
        open_pair(large_url=guarded.url, policy="large")
    assert raised.value.hint == "set key_env, or key_file"


def test_a_server_s_own_words_never_repeat_the_key() -> None:
    client = Client(Address("http://box:1", "box", 1), "secret-1", timeout=1)
    error = client._refusal(400, b'{"error": {"message": "what is secret-1?"}}')
    assert "secret-1" not in str(error)
    assert "what is ***?" in str(error)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('key_env = "NOT_SET"', "the environment variable NOT_SET, which key_env names, holds no key"),
        ('key_file = "none"', "none, which key_file names, cannot be read"),
        ('key_env = "A", key_file = "b"', "set key_env or key_file, not both"),
    ],
)
def test_a_key_that_is_not_there_is_said(
    tmp_path: Path, guarded: LlamaServer, open_pair: OpenRemote, more: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        open_pair(name="x", models_file=models_file(tmp_path, guarded.url, more), policy="large", large=None)


# Addresses and encryption.


@pytest.mark.parametrize(
    "url", ["box:8000", "ftp://box", "http://", "http://box:99999", "http://box/?a=1", "http://[::1"]
)
def test_what_is_no_address_is_said(url: str, open_pair: OpenRemote) -> None:
    with pytest.raises(UsageError, match="is no address of a server") as raised:
        open_pair(large_url=url)
    assert raised.value.exit_code == 2


def test_an_address_holds_no_password(open_pair: OpenRemote) -> None:
    with pytest.raises(UsageError, match="holds no key or password") as raised:
        open_pair(large_url="http://me:hidden@box:8000")
    assert "hidden" not in str(raised.value)


def test_a_certificate_that_nobody_trusts_is_refused(
    tmp_path: Path, large_server: LlamaServer, open_pair: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = self_signed(tmp_path)
    with Relay(large_server.url, tls=made.server()) as between:
        with pytest.raises(ServerError, match="its certificate cannot be trusted") as raised:
            open_pair(large_url=between.url, policy="large")
        assert "SSL_CERT_FILE" in str(raised.value.hint)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
        assert solve(open_pair(large_url=between.url, policy="large")).finish_reason == "done"


def test_https_to_a_server_that_speaks_http_is_said(large_server: LlamaServer, open_pair: OpenRemote) -> None:
    with pytest.raises(ServerError, match="no encrypted connection"):
        open_pair(large_url=large_server.url.replace("http:", "https:"))


def test_a_redirect_is_not_followed(open_pair: OpenRemote) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    said = "it sends elsewhere, and no redirect is followed"
    with _answering(answer) as url, pytest.raises(ServerError, match=said):
        open_pair(large_url=url)


def test_a_server_of_another_kind_is_named_as_such(open_pair: OpenRemote) -> None:
    said = "does not speak llama-server, vLLM or OpenAI's completions"
    with (
        _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as url,
        pytest.raises(ServerError, match=said),
    ):
        open_pair(large_url=url)


class _answering:  # noqa: N801 - used like a function
    """A server with one answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self._answer)


@pytest.mark.parametrize(
    ("host", "warns"),
    [("127.0.0.1", False), ("10.1.2.3", False), ("192.168.1.5", False), ("::1", False), ("8.8.8.8", True)],
)
def test_plain_http_beyond_the_local_network_is_warned_of(host: str, warns: bool) -> None:
    assert (warning(Address(f"http://{host}:1", host, 1)) is not None) is warns
    assert warning(Address(f"https://{host}:1", host, 1)) is None


def test_proxies_of_the_environment_are_not_used(
    large_server: LlamaServer, open_pair: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert open_pair(large_url=large_server.url, policy="large").backends["large"].where.startswith("llama-server at")


def test_a_notice_ends_a_run_that_failed(relay: Relay, open_pair: OpenRemote) -> None:
    session = Session(open_pair(large_url=relay.url, policy="large"), seed=1)
    relay.cut_after(events=1, times=99)
    assert any(isinstance(event, Notice) for event in session.ask(questions(1)[0]))


def test_the_backend_names_its_model_and_its_place(large_server: LlamaServer, open_pair: OpenRemote) -> None:
    backend = remote(open_pair(large_url=large_server.url, policy="large"))
    assert (backend.name, backend.where) == ("large", f"llama-server at 127.0.0.1:{large_server.port}")
    assert backend.devices == {f"127.0.0.1:{large_server.port}"}


# What a silent server must not hold up.


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


def test_the_key_of_one_server_is_not_for_another(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    keys = 'url = "http://one:1", key_env = "ONE", model = "m", api = "vllm"'
    file.write_text(f'[pairs.x]\nsmall = {{path = "s"}}\nlarge = {{{keys}}}\n')
    catalogue = load_catalogue(file)
    for url, kept in (("http://one:1/v1", "ONE"), ("http://two:1", None), ("http://one:2", None)):
        _, config = configured(LoadRequest(name="x", large_url=url), catalogue)
        assert config.large is not None
        assert (config.large.url, config.large.key_env) == (url, kept)


def test_a_key_is_taken_out_of_a_reply_however_it_is_spelled_there() -> None:
    key = 'sk-"quoted"-123'
    client = Client(Address("http://box:1", "box", 1), key, timeout=1)
    long = b'{"error": {"message": "' + b"x" * 285 + json.dumps(key)[1:-1].encode() + b'"}}'
    listed = json.dumps({"error": [key]}).encode()
    for content in (long, listed, key.encode()):
        assert "sk-" not in str(client._refusal(400, content))
        assert "quoted" not in str(client._refusal(400, content))


def test_a_model_that_a_llama_server_does_not_serve_is_said(
    tmp_path: Path, large_server: LlamaServer, open_pair: OpenRemote
) -> None:
    file = models_file(tmp_path, large_server.url, 'model = "qwen-32b"')
    with pytest.raises(ServerError, match="serves no model 'qwen-32b'") as raised:
        open_pair(name="x", models_file=file, policy="large", large=None)
    assert raised.value.hint == "it serves: large.gguf"


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
