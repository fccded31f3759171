"""The devices of RPC servers, as llama.cpp takes them: for one model at a time.

llama.cpp's own programs register such devices beside the local GPUs, where every model loaded later is spread over
them. Here they are never registered: each model is given its list of devices, so that a model without `rpc` stays on
this machine, and one with it gets its own servers only.

A server serves one connection at a time, and llama.cpp has one for all models of this process. So a server that is in
use here is not asked over another connection (`rpc.ask`), which would wait for the first one to end.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Sequence

import psutil

from glimp_local import crash_notes
from glimp_local.engines.llama import binding, release, rpc
from glimp_local.errors import DeviceError

_in_use: Counter[str] = Counter()
"""How many open models have layers on a server."""
_lock = threading.Lock()


def devices(endpoints: Sequence[str]) -> list[rpc.RemoteDevice]:
    """Ask servers for their devices.

    Raises DeviceError where llama.cpp was built without RPC, or a server cannot be used.
    """
    found = []
    for endpoint in endpoints:
        offers = _offers(endpoint)
        is_here = rpc.is_here(endpoint)
        for i, offer in enumerate(offers):
            name = endpoint if len(offers) == 1 else f"{endpoint}/{i}"
            # A server on a GPU has that one's memory to offer, one on a CPU all of its machine's.
            is_this_cpu = is_here and offer.total_bytes == psutil.virtual_memory().total
            found.append(rpc.RemoteDevice(name, endpoint, *offer, is_this_cpu))
    return found


def pointers(endpoints: Sequence[str]) -> list[int]:
    """Return llama.cpp's pointers to the devices of servers, in the order of `devices`.

    Safe to call again for the same servers. Raises what `devices` raises.
    """
    if not endpoints:
        return []
    crash_notes.note("server", " and ".join(endpoints))
    return [pointer for endpoint in endpoints for pointer in _registered(endpoint, len(_offers(endpoint)))]


def begin_use(endpoints: Sequence[str]) -> None:
    """Note that a model with layers on these servers is in memory: from now on llama.cpp holds a connection to each."""
    with _lock:
        _in_use.update(endpoints)
    for endpoint in endpoints:
        rpc.watch(endpoint)


def end_use(endpoints: Sequence[str]) -> None:
    """Note that it is no more."""
    with _lock:
        _in_use.subtract(endpoints)


def _offers(endpoint: str) -> list[rpc.Offer]:
    """Ask a server for its devices, over the connection there is if it is in use here."""
    if not binding.supports_rpc():
        raise DeviceError(
            f"the model is to use the RPC server {endpoint}, but llama-cpp-python was built without RPC",
            hint=f"rebuild it: {release.rpc_command(binding.backends())}; or leave `rpc` out of the options",
        )
    with _lock:
        is_in_use = _in_use[endpoint] > 0
    if is_in_use:
        return [rpc.Offer(*binding.memory(pointer)) for pointer in _registered(endpoint)]
    return rpc.ask(endpoint)


def _registered(endpoint: str, count: int | None = None) -> list[int]:
    """Make a server known to llama.cpp; return its devices.

    llama.cpp asks for their number once in the life of a process. Raises DeviceError if it is another one now.
    """
    ggml = binding.ggml()
    reg = ggml.ggml_backend_reg_by_name(b"RPC")
    address = ggml.ggml_backend_reg_get_proc_address(reg, b"ggml_backend_rpc_add_server")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)
    server = add_server(endpoint.encode())
    found = [] if server is None else range(ggml.ggml_backend_reg_dev_count(server))
    if not found or count not in {None, len(found)}:
        raise DeviceError(
            f"the RPC server {endpoint} does not have the {len(found)} devices any more that it had when it was first "
            "used",
            hint="start glimp again",
        )
    return [ggml.ggml_backend_reg_dev_get(server, i) for i in found]
