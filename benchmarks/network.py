"""A slow line between two programs of this machine: two network namespaces, and every packet between them late.

Each namespace has a `tun` device, and a thread here carries the packets from one to the other, half a round trip later.
Both ends are the kernel's own TCP, so connections cost their round trip, and acknowledgements, windows and losses are
real; only the cable is not. (`tc ... netem` would do the same, but many kernels are built without it.) It needs Linux,
root, `ip` and /dev/net/tun. The line has no limit of bandwidth besides this thread's, some hundred megabytes a second
at best, and no jitter but the scheduler's; `round_trip_seconds` measures what it is.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from benchmarks.setup import MissingError

_TUN = Path("/dev/net/tun")
_PACKET_BYTES = 65536
_WAITING_PACKETS = 2000
"""More than this many on their way are lost, as in a router."""

if sys.platform == "linux":
    import fcntl

    _TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


class End:
    """One end of the line: a namespace with one address, in which programs can be run."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def command(self, *arguments: str) -> list[str]:
        """Give the command that runs another one at this end."""
        return ["ip", "netns", "exec", self.name, *arguments]


class Line:
    """Two ends, and the time between them."""

    def __init__(self, near: End, far: End, round_trip_seconds: float) -> None:
        self.near = near
        self.far = far
        self.wanted_seconds = round_trip_seconds

    def round_trip_seconds(self, times: int = 10) -> float:
        """Measure it: the median time of connecting by TCP, which is one round trip."""
        program = (sys.executable, "-c", _CONNECT, self.far.address, str(times))
        with _listening(self.far) as port:
            done = subprocess.run(  # noqa: S603 - our own program
                self.near.command(*program, str(port)), capture_output=True, text=True, check=True
            )
        return float(done.stdout)


_CONNECT = """
import socket, statistics, sys, time
address, times, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
taken = []
for _ in range(times):
    began = time.perf_counter()
    with socket.create_connection((address, port)):
        taken.append(time.perf_counter() - began)
print(statistics.median(taken))
"""
_LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        server.accept()[0].close()
"""


@contextmanager
def line(round_trip_seconds: float) -> Iterator[Line]:
    """Make a line and remove it in the end; raises MissingError where that cannot be done."""
    _check()
    number = os.getpid()
    ends = End(f"glimp-near-{number}", "10.213.77.1"), End(f"glimp-far-{number}", "10.213.77.2")
    devices: list[int] = []
    try:
        for end, other in (ends, ends[::-1]):
            devices.append(_end(end, other, f"glimp{len(devices)}-{number}"[:15]))
        with _carried(devices, round_trip_seconds / 2):
            yield Line(*ends, round_trip_seconds)
    finally:
        for device in devices:
            os.close(device)
        for end in ends:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", end.name)


def _check() -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None or not _TUN.exists():
        raise MissingError(
            "Not measured over a slow line: this takes Linux, root, `ip` and /dev/net/tun.",
            hint="run it as root, with iproute2 installed",
        )


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S603, S607 - the system's own


def _end(end: End, other: End, device: str) -> int:
    """Make a namespace with a device whose packets come out of the descriptor that is returned."""
    _ip("netns", "add", end.name)
    descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", device, "netns", end.name)
        _ip("-n", end.name, "address", "add", end.address, "peer", other.address, "dev", device)
        for name in (device, "lo"):
            _ip("-n", end.name, "link", "set", name, "up")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _carried(devices: Sequence[int], delay_seconds: float) -> Iterator[None]:
    """Carry packets between two devices inside the block."""
    told, tell = socket.socketpair()
    thread = threading.Thread(target=_carry, args=(devices, delay_seconds, told), name="line")
    thread.start()
    try:
        yield
    finally:
        tell.close()
        thread.join()
        told.close()


def _carry(devices: Sequence[int], delay_seconds: float, told: socket.socket) -> None:
    """Carry packets until the socket is closed at its other end.

    `select` waits for microseconds, which `poll` and `epoll` round up to milliseconds.
    """
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        pause = max(0.0, waiting[0][0] - monotonic()) if waiting else None
        ready, _, _ = select.select([*devices, told.fileno()], [], [], pause)
        if told.fileno() in ready:
            return
        now = monotonic()
        for device in ready:
            other = devices[1 - devices.index(device)]
            with suppress(BlockingIOError):
                while len(waiting) < _WAITING_PACKETS:
                    waiting.append((now + delay_seconds, other, os.read(device, _PACKET_BYTES)))
        while waiting and waiting[0][0] <= monotonic():
            _, device, packet = waiting.popleft()
            with suppress(OSError):  # a full queue loses packets, as a router does
                os.write(device, packet)


@contextmanager
def _listening(end: End) -> Iterator[int]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        end.command(sys.executable, "-c", _LISTEN, end.address), stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
