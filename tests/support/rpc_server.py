"""RPC servers: llama.cpp's own, of the library that the binding uses, and one that is made up.

`python -m tests.support.rpc_server HOST:PORT` serves this machine's CPU with one thread until it is killed.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from glimp_local.engines.llama import release, rpc
from glimp_local.errors import DeviceError

_CPU = 0
"""`GGML_BACKEND_DEVICE_TYPE_CPU`."""
_SECONDS = 30
HELLO, DEVICE_COUNT, DEVICE_MEMORY = 14, 15, 11


@contextmanager
def serving(endpoint: str | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run llama.cpp's server in a process of its own, on a free port or at this address; give it, and the process."""
    if endpoint is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.support.rpc_server", endpoint]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + _SECONDS
            while not _answers(endpoint):
                assert process.poll() is None, "the RPC server ended"
                assert time.monotonic() < end, "the RPC server does not answer"
                time.sleep(0.05)
            yield endpoint, process
        finally:
            process.kill()


def _answers(endpoint: str) -> bool:
    try:
        return bool(rpc.ask(endpoint))
    except DeviceError:
        return False


class MadeUp:
    """A server that answers HELLO with a version, and has devices of these free and total bytes.

    With `raw`, it sends these bytes in place of its first answer, and hangs up. `heard` are the commands it has read.
    """

    def __init__(
        self,
        devices: Sequence[tuple[int, int]] = ((5, 9),),
        version: tuple[int, int, int] = release.RPC_PROTOCOL,
        raw: bytes | None = None,
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard: list[int] = []
        self._devices, self._version, self._raw = devices, version, raw
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):  # wakes the thread up
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    while head := stream.read(9):
                        command, length = struct.unpack("<BQ", head)
                        self.heard.append(command)
                        answer = self._answer(command, stream.read(length))
                        stream.write(answer if self._raw is None else self._raw)
                        stream.flush()
                        if self._raw is not None:
                            break

    def _answer(self, command: int, request: bytes) -> bytes:
        if command == HELLO:
            said = bytes(self._version) + bytes(1 + 24)
        elif command == DEVICE_COUNT:
            said = struct.pack("<I", len(self._devices))
        else:
            assert command == DEVICE_MEMORY
            said = struct.pack("<QQ", *self._devices[struct.unpack("<I", request)[0]])
        return struct.pack("<Q", len(said)) + said


def main() -> None:
    """Serve."""
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - loads llama.cpp, which the tests' part does without

    ggml = binding.ggml()
    cpu = next(
        device
        for device in map(ggml.ggml_backend_dev_get, range(ggml.ggml_backend_dev_count()))
        if ggml.ggml_backend_dev_type(device) == _CPU
    )
    registry = ggml.ggml_backend_reg_by_name(b"RPC")
    address = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_rpc_start_server")
    size, text = ctypes.c_size_t, ctypes.c_char_p
    start = ctypes.CFUNCTYPE(None, text, text, size, size, ctypes.c_void_p)(address)
    start(sys.argv[1].encode(), None, 1, 1, (ctypes.c_void_p * 1)(cpu))


if __name__ == "__main__":
    main()
