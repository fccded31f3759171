"""A llama.cpp RPC server, asked for its version and its devices before llama.cpp hears of it.

llama.cpp ends the process if a server cannot be reached, speaks another version of the protocol, or breaks off. So it
is given only servers that have answered here a moment before: over a connection of our own, which is closed again,
because a server serves one connection at a time and lets the next one wait. Knows the protocol's first three messages,
and nothing else of llama.cpp.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from glimp_local.engines.llama import release
from glimp_local.errors import DeviceError
from glimp_local.networks import is_near
from glimp_local.settings import MAX_SERVERS

_SECONDS = 5.0
"""To connect, and for each answer. A server that serves somebody else answers nothing until that connection ends."""
_DEVICE_COUNT, _DEVICE_MEMORY, _HELLO = 15, 11, 14
"""Commands, by their numbers; that of HELLO is the same in all versions."""
_CAPABILITIES_BYTES = 24
"""How each side says what transports it has beside TCP; zeros are none."""
_WATCHING = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""Seconds of silence, then between three questions to the other system, and milliseconds for it to take what is sent.
The server's program need not answer: it may compute for as long as it likes."""
_OPEN_FILES = Path("/dev/fd")
_LENGTH = struct.Struct("<Q")
_BUILD = "build ggml-rpc-server from the source of llama-cpp-python"


class Offer(NamedTuple):
    """A device that a server has, in bytes of memory."""

    free_bytes: int
    """All of it, where the server computes on a CPU: it does not look what else its machine does."""
    total_bytes: int


class RemoteDevice(NamedTuple):
    """A device of an RPC server."""

    name: str
    """The server's address, and the device's number where it has several."""
    endpoint: str
    free_bytes: int
    total_bytes: int
    is_this_cpu: bool = False
    """Is it the very CPU, and the memory, of this machine?"""


def ask(endpoint: str, *, seconds: float = _SECONDS) -> list[Offer]:
    """Return the devices of a server, in its order.

    Raises DeviceError where there is no server, or one of another version, or one that is busy.
    """
    host, port = split(endpoint)
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except (OSError, UnicodeError) as error:
        raise DeviceError(
            f"the RPC server {endpoint} is not found: no IPv4 address belongs to {host!r} ({_reason(error)})",
            hint="correct `rpc` among the model's options, or leave it out",
        ) from error
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(address)
            return _converse(_Wire(connection, endpoint))
    except TimeoutError as error:
        raise DeviceError(
            f"the RPC server {endpoint} does not answer within {seconds:g} s",
            hint="see whether its machine is on and its port is not blocked; and whether another program uses the "
            "server, which serves one at a time",
        ) from error
    except OSError as error:
        raise DeviceError(
            f"the RPC server {endpoint} cannot be reached: {_reason(error)}",
            hint=f"start it there: ggml-rpc-server -H {address[0]} -p {port}; or leave `rpc` out of the options",
        ) from error


def watch(endpoint: str) -> int:
    """Have the system notice if the machine at the other end of this process's connections to a server is gone.

    llama.cpp waits for an answer without end, and nothing can interrupt it; a connection that is watched fails within
    about half a minute. Returns how many connections there are.
    """
    port = split(endpoint)[1]
    wanted = {(str(address), port) for address in _addresses(endpoint)}
    found = 0
    for name in _open_files():
        with suppress(OSError):  # no socket, or closed meanwhile
            copy = os.dup(name)
            try:
                connection = socket.socket(fileno=copy)
            except OSError:
                os.close(copy)
                raise
            with connection:
                if connection.family == socket.AF_INET and connection.getpeername() in wanted:
                    _watch(connection)
                    found += 1
    return found


def _open_files() -> list[int]:
    return [int(path.name) for path in _OPEN_FILES.iterdir()] if _OPEN_FILES.is_dir() else []


def _watch(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _WATCHING.items():
        if hasattr(socket, option):  # not every system has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def split(endpoint: str) -> tuple[str, int]:
    """Return host and port."""
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


def is_here(endpoint: str) -> bool:
    """Is the server on this machine?"""
    found = _addresses(endpoint)
    return bool(found) and all(address.is_loopback for address in found)


def is_public(endpoint: str) -> bool:
    """Is the server, as far as its address says, outside of this machine and of any private network?"""
    return not is_near(split(endpoint)[0])


def _addresses(endpoint: str) -> list[ipaddress.IPv4Address]:
    try:
        found = socket.getaddrinfo(*split(endpoint), socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # whoever connects is told
    return [ipaddress.IPv4Address(str(info[4][0])) for info in found]


class _Wire:
    """One connection, message by message; raises DeviceError for an answer that no such server gives."""

    def __init__(self, connection: socket.socket, endpoint: str) -> None:
        self._connection = connection
        self._endpoint = endpoint

    def call(self, command: int, request: bytes, size: int) -> bytes:
        """Send a request; return the answer, which has this many bytes."""
        try:
            self._connection.sendall(bytes([command]) + _LENGTH.pack(len(request)) + request)
        except ConnectionError as error:
            raise self.stranger() from error
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length != size:
            raise self.stranger()
        return self._read(size)

    def _read(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            try:
                more = self._connection.recv(count - len(read))
            except ConnectionError as error:
                raise self.stranger() from error
            if not more:
                raise self.stranger()
            read += more
        return read

    def stranger(self) -> DeviceError:
        """Return the error for what does not answer as it should."""
        return DeviceError(
            f"{self._endpoint} does not answer as the RPC server of llama-cpp-python {release.RELEASE} does: it is of "
            "another version, or another program",
            hint=f"{_BUILD} {release.RELEASE} (docs/rpc.md)",
        )

    def mismatch(self, version: tuple[int, ...]) -> DeviceError:
        """Return the error for a server of another version."""
        theirs, ours = (".".join(map(str, numbers)) for numbers in (version, release.RPC_PROTOCOL))
        return DeviceError(
            f"the RPC server {self._endpoint} speaks version {theirs} of the protocol, and llama-cpp-python "
            f"{release.RELEASE} speaks {ours}: both have to be built from the same llama.cpp",
            hint=f"{_BUILD} {release.RELEASE} (docs/rpc.md)",
        )


def _converse(wire: _Wire) -> list[Offer]:
    said = wire.call(_HELLO, bytes(_CAPABILITIES_BYTES), 4 + _CAPABILITIES_BYTES)
    # llama.cpp would take an older minor version; but then the numbers of its operations may be others.
    if (version := tuple(said[:3])) != release.RPC_PROTOCOL:
        raise wire.mismatch(version)
    (count,) = struct.unpack("<I", wire.call(_DEVICE_COUNT, b"", 4))
    if not 1 <= count <= MAX_SERVERS:
        raise wire.stranger()
    return [Offer(*struct.unpack("<QQ", wire.call(_DEVICE_MEMORY, struct.pack("<I", i), 16))) for i in range(count)]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
