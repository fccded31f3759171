"""Python imports this at its start, where its folder is on PYTHONPATH: connections to other machines fail.

Whoever tries one is written down in the file that OFFLINE_LOG names.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

_HERE = {"localhost", "127.0.0.1", "::1", "", None}
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _refuse(host: object) -> None:
    if (host.decode() if isinstance(host, bytes) else host) not in _HERE:
        with Path(os.environ["OFFLINE_LOG"]).open("a", encoding="utf-8") as log:
            log.write(f"{host}\n")
        raise OSError(f"{host} is another machine")


def _checked(address: Any) -> Any:
    if isinstance(address, tuple):  # else it is the name of a file
        _refuse(address[0])
    return address


def _look_up(host: Any, *rest: Any, **named: Any) -> Any:
    _refuse(host)
    return _getaddrinfo(host, *rest, **named)


socket.socket.connect = lambda self, address: _connect(self, _checked(address))  # type: ignore[method-assign]
socket.socket.connect_ex = lambda self, address: _connect_ex(self, _checked(address))  # type: ignore[method-assign]
socket.getaddrinfo = _look_up
