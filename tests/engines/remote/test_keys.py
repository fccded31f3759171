"""Addresses, keys and encryption: what is refused, what is warned of, and that a key goes to one server alone."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local.engines.remote.address import Address, warning
from glimp_local.engines.remote.client import Client
from glimp_local.errors import ConfigError, ServerError, UsageError
from glimp_local.load import LoadRequest, configured
from glimp_local.models.catalogue import load_catalogue
from tests.conftest import BUILTIN
from tests.engines.remote.asking import solve
from tests.engines.remote.conftest import OpenRemote
from tests.support.certificates import self_signed
from tests.support.llama_server import LlamaServer
from tests.support.relay import Relay
from tests.support.server_process import free_port


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
    assert raised.value.hint == "set key_env, or key_file, of this model in your models.toml"


def test_a_server_s_own_words_never_repeat_the_key() -> None:
    client = Client(Address("http://box:1", "box", 1), "secret-1", timeout=1)
    error = client._troubles.of_reply(400, b'{"error": {"message": "what is secret-1?"}}')
    assert "secret-1" not in str(error)
    assert "what is ***?" in str(error)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('key_env = "NOT_SET"', "the environment variable that key_env names holds no key"),
        ('key_file = "none"', "none, which key_file names, cannot be read"),
        ('key_env = "A", key_file = "b"', "set key_env or key_file, not both"),
    ],
)
def test_a_key_that_is_not_there_is_said(
    tmp_path: Path, guarded: LlamaServer, open_pair: OpenRemote, more: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        open_pair(name="x", models_file=models_file(tmp_path, guarded.url, more), policy="large", large=None)


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
        assert "sk-" not in str(client._troubles.of_reply(400, content))
        assert "quoted" not in str(client._troubles.of_reply(400, content))


def test_a_model_that_a_llama_server_does_not_serve_is_said(
    tmp_path: Path, large_server: LlamaServer, open_pair: OpenRemote
) -> None:
    file = models_file(tmp_path, large_server.url, 'model = "qwen-32b"')
    with pytest.raises(ServerError, match="serves no model 'qwen-32b'") as raised:
        open_pair(name="x", models_file=file, policy="large", large=None)
    assert raised.value.hint == "it serves: large.gguf"
