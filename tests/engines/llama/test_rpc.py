"""An RPC server is asked for its version and its devices before llama.cpp hears of it: against made-up servers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from glimp_local.engines.llama import release, rpc
from glimp_local.engines.llama.rpc import Offer
from glimp_local.errors import ConfigError, DeviceError
from glimp_local.models.catalogue import override
from glimp_local.settings import EngineOptions, ModelSource, PairConfig
from tests.support.rpc_server import DEVICE_COUNT, DEVICE_MEMORY, HELLO, MadeUp

OURS = release.RPC_PROTOCOL


@pytest.fixture
def made_up() -> Iterator[Callable[..., MadeUp]]:
    servers: list[MadeUp] = []

    def make(*arguments: Any, **named: Any) -> MadeUp:
        servers.append(MadeUp(*arguments, **named))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def failure(endpoint: str, seconds: float = 5.0) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        rpc.ask(endpoint, seconds=seconds)
    assert caught.value.exit_code == 3
    assert endpoint in str(caught.value)
    return caught.value


def test_a_server_tells_the_memory_of_each_of_its_devices(made_up: Callable[..., MadeUp]) -> None:
    server = made_up([(5, 9), (2**40, 2**41)])
    assert rpc.ask(server.endpoint) == [Offer(5, 9), Offer(2**40, 2**41)]
    assert server.heard == [HELLO, DEVICE_COUNT, DEVICE_MEMORY, DEVICE_MEMORY]


def test_the_connection_is_closed_so_that_the_next_one_is_served(made_up: Callable[..., MadeUp]) -> None:
    server = made_up()  # it serves one connection after the other
    assert rpc.ask(server.endpoint, seconds=1) == rpc.ask(server.endpoint, seconds=1)


@pytest.mark.parametrize("change", [(-1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_server_of_another_version_is_refused_with_both_versions(
    made_up: Callable[..., MadeUp], change: tuple[int, int, int]
) -> None:
    theirs = tuple(map(sum, zip(OURS, change, strict=True)))
    server = made_up(version=theirs)
    error = failure(server.endpoint)
    assert f"speaks version {'.'.join(map(str, theirs))} of the protocol" in str(error)
    assert f"{release.RELEASE} speaks {'.'.join(map(str, OURS))}" in str(error)
    assert f"build ggml-rpc-server from the source of llama-cpp-python {release.RELEASE}" in str(error.hint)
    assert server.heard == [HELLO]


@pytest.mark.parametrize(
    "raw",
    [
        b"",  # an older server closes the connection at a HELLO of this size
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack("<Q", 3) + bytes([3, 0, 0]),  # the answer of version 3
        struct.pack("<Q", 28) + bytes([*OURS, 0]),  # cut short
    ],
)
def test_what_does_not_answer_as_a_server_does_is_said_to_be_another_program(
    made_up: Callable[..., MadeUp], raw: bytes
) -> None:
    assert "it is of another version, or another program" in str(failure(made_up(raw=raw).endpoint))


@pytest.mark.parametrize("count", [0, 17])
def test_a_server_with_no_device_or_with_too_many_is_refused(made_up: Callable[..., MadeUp], count: int) -> None:
    assert "another program" in str(failure(made_up([(1, 1)] * count).endpoint))


def test_a_server_that_is_not_there_is_said_to_be_so_with_the_command_that_starts_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = failure(f"127.0.0.1:{port}")
    assert "cannot be reached: Connection refused" in str(error)
    assert f"start it there: ggml-rpc-server -H 127.0.0.1 -p {port}" in str(error.hint)


def test_a_server_that_serves_somebody_else_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system connects, and nobody answers
        error = failure(f"127.0.0.1:{listener.getsockname()[1]}", seconds=0.2)
    assert "does not answer within 0.2 s" in str(error)
    assert "whether another program uses the server, which serves one at a time" in str(error.hint)


def test_a_name_without_an_address_is_said_to_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure("gpubox:50052")
    assert "no IPv4 address belongs to 'gpubox' (Name or service not known)" in str(error)
    assert not rpc.is_public("gpubox:50052")
    assert not rpc.is_here("gpubox:50052")


@pytest.mark.parametrize(
    ("host", "here", "public"),
    [
        ("127.0.0.1", True, False),
        ("localhost", True, False),
        ("192.168.1.5", False, False),
        ("10.1.2.3", False, False),
        ("169.254.7.7", False, False),
        ("8.8.8.8", False, True),
    ],
)
def test_what_is_neither_here_nor_in_a_private_network_is_public(host: str, here: bool, public: bool) -> None:
    assert (rpc.is_here(f"{host}:50052"), rpc.is_public(f"{host}:50052")) == (here, public)


def test_a_connection_that_is_open_is_watched_by_the_system(made_up: Callable[..., MadeUp]) -> None:
    server, other = made_up(), made_up()
    host, port = rpc.split(server.endpoint)
    assert rpc.watch(server.endpoint) == 0
    with (
        socket.create_connection((host, port)) as connection,
        socket.create_connection(rpc.split(other.endpoint)) as far,
    ):
        assert rpc.watch(server.endpoint) == 1
        for watched, on in ((connection, 1), (far, 0)):
            assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == on
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


# The setting.


def with_rpc(*servers: str) -> PairConfig:
    config = PairConfig(small=ModelSource(path="small.gguf"), large=ModelSource(path="large.gguf"))
    return override(config, {"large": {"options": {"rpc": list(servers)}}})


def test_servers_are_named_by_host_and_port() -> None:
    named = ("192.168.1.5:50052", "gpu-box.lan:1", "rpc_server:65535")
    assert with_rpc(*named).options("large").rpc == named
    assert with_rpc(*named).options("small").rpc == ()


@pytest.mark.parametrize(
    "wrong",
    ["", "box", "box:", ":50052", "box:0", "box:65536", "box:50052 ", "a b:1", "http://box:1", "[::1]:50052", "-x:1"],
)
def test_anything_but_host_and_port_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_rpc("192.168.1.5:50052", wrong)
    assert f'rpc names {wrong!r}: expected "host:port"' in str(caught.value)


def test_a_server_is_named_once_and_there_are_sixteen_at_most() -> None:
    with pytest.raises(ConfigError, match="rpc names a server twice"):
        with_rpc("box:1", "box:1")
    assert len(with_rpc(*(f"box:{port}" for port in range(1, 17))).options("large").rpc) == 16
    with pytest.raises(ConfigError, match="<= 16"):
        with_rpc(*(f"box:{port}" for port in range(1, 18)))


def test_with_no_layer_for_any_gpu_no_server_is_asked() -> None:
    named = ("box:1",)
    assert EngineOptions(rpc=named).servers == EngineOptions(rpc=named, gpu_layers=-1).servers == named
    assert EngineOptions(rpc=named, gpu_layers=0).servers == ()
