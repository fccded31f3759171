"""llama-cpp-python as this package uses it: loaded, checked, quiet.

Importing this module imports `llama_cpp` (0.15 s), checks that it is the release the package is written for, sends
llama.cpp's log lines to `logging` (logger `glimp_local.llama`) and starts its backends.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from glimp_local import crash_notes
from glimp_local.engines.llama import release, unloadable
from glimp_local.errors import BindingError
from glimp_local.hardware import Device, DeviceKind

unloadable.check_address_space()
# Before it aborts, llama.cpp would start a debugger on itself, which may take its time, or download symbols.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")
crash_notes.note("doing", "starting llama.cpp")
try:
    import llama_cpp
    import llama_cpp._ggml
except (ImportError, OSError, RuntimeError, MemoryError) as error:
    # A library of its own, or of a GPU, is missing; or it is not installed.
    raise unloadable.reason(error) from error

lib = llama_cpp
"""The binding's functions. All modules take them from here, so that what keeps llama.cpp from loading is said here."""

RELEASE = release.RELEASE
REBUILD_FOR_CUDA = release.rebuild_command("CUDA")

log = logging.getLogger("glimp_local.llama")
log.addHandler(logging.NullHandler())  # without any handler, logging itself would write warnings to the terminal

_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING}
"""llama.cpp's levels, one lower than their names: its "info" is a page a model, its "warn" is for its own developers,
and its errors come back as exceptions with a hint."""
_ERROR, _CONTINUED = 4, 5

_errors: deque[str] = deque(maxlen=20)  # the last error lines, for the message of the exception that follows them
_line, _level = "", logging.DEBUG


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]  # ctypes declares none
def _receive(level: int, text: bytes, _user_data: object) -> None:
    """Collect llama.cpp's log into lines (it sends fragments) and pass them on."""
    global _line, _level  # noqa: PLW0603 - llama.cpp has one log for the whole process
    if level != _CONTINUED:
        _level = _LEVELS.get(level, logging.DEBUG)
    _line += text.decode("utf-8", "replace")
    if _line.endswith("\n"):
        line, _line = _line.rstrip(), ""
        log.log(_level, "%s", line)
        if _level == _LEVELS[_ERROR]:
            _errors.append(line)


@contextmanager
def collected_errors() -> Iterator[deque[str]]:
    """Collect the error lines that llama.cpp logs inside the block."""
    _errors.clear()
    yield _errors


def _check() -> None:
    """Refuse a llama-cpp-python whose C structs may differ: a wrong field offset would crash or compute nonsense."""
    found = llama_cpp.__version__
    defaults = llama_cpp.llama_context_default_params()
    if found != RELEASE or (defaults.n_batch, defaults.n_ubatch) != (2048, 512):
        raise BindingError(
            f"llama-cpp-python is {found}, but glimp-local is written for {RELEASE} and its memory layout",
            hint=f"pip install llama-cpp-python=={RELEASE}",
        )


_check()
llama_cpp.llama_log_set(_receive, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]  # and none here
def _note_abort(message: bytes) -> None:
    """Note why llama.cpp gives up: it ends the process as soon as this returns.

    Whichever thread of llama.cpp this is, it does not hold Python's lock, and so can wait for it.
    """
    error = next((line for line in reversed(_errors) if " error: " in line), "")  # CUDA's reason is in the log alone
    said = f"{message.decode('utf-8', 'replace')} {error}".strip()
    if crash_notes.has_reader():
        crash_notes.note("said", said)
    else:
        os.write(2, f"{said}\n".encode())


def _exported(name: str) -> Any:
    """Find a function of ggml, which the binding does not wrap.

    On Windows a library does not pass on the functions of the libraries it uses.
    """
    ggml = llama_cpp._ggml  # noqa: SLF001 - there is no other way to it
    try:
        return getattr(ggml.libggml, name)
    except AttributeError:
        return getattr(ggml.ctypes_ext.load_shared_library("ggml-base", ggml.libggml_base_path), name)


_set_abort_callback = _exported("ggml_set_abort_callback")
_set_abort_callback.argtypes, _set_abort_callback.restype = [ctypes.c_void_p], ctypes.c_void_p
_set_abort_callback(ctypes.cast(_note_abort, ctypes.c_void_p))
atexit.register(_set_abort_callback, None)  # from then on there is no Python that could run it


_KINDS: dict[int, DeviceKind] = {
    0: "CPU",
    1: "GPU",
    2: "integrated GPU",
    3: "accelerator",
}
"""By ggml's number (`enum ggml_backend_dev_type`)."""


def devices() -> list[Device]:
    """List what llama.cpp can compute on, in its order; the CPU is among them."""
    library = ggml()
    found = []
    for i in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(i)
        kind = _KINDS.get(library.ggml_backend_dev_type(device))
        if kind is None:
            continue
        free, total = memory(device)
        found.append(
            Device(
                name=library.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=library.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                kind=kind,
                total_bytes=total,
                free_bytes=free,
            )
        )
    return found


def memory(device: int) -> tuple[int, int]:
    """Return the free and the total bytes of a device, given by ggml's pointer to it."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml().ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


_left_alone = threading.Event()


def leave_gpus_alone() -> None:
    """Use no GPU in this process from now on, as if llama.cpp saw none."""
    _left_alone.set()


def gpus_left_alone() -> bool:
    """Was it decided to use no GPU?"""
    return _left_alone.is_set()


def offload_devices() -> list[Device]:
    """List the GPUs llama.cpp puts layers on: it leaves an integrated one alone where there is another one.

    Empty on a machine without a GPU, in a build without a GPU backend, and if GPUs are left alone.
    """
    if gpus_left_alone():
        return []
    found = devices()
    return [device for device in found if device.kind == "GPU"] or [device for device in found if device.is_gpu][:1]


def device_by_name(name: str) -> int:
    """Return ggml's pointer to a device."""
    found: int = ggml().ggml_backend_dev_by_name(name.encode())
    return found


def gpus() -> list[str]:
    """Name the GPUs llama.cpp puts layers on."""
    return [device.description for device in offload_devices()]


def backends() -> list[str]:
    """Name the backends that are compiled in, like "CPU" and "CUDA"."""
    library = ggml()
    names = (
        library.ggml_backend_reg_name(library.ggml_backend_reg_get(i)) for i in range(library.ggml_backend_reg_count())
    )
    return [name.decode("utf-8", "replace") for name in names]


def build() -> str:
    """Say which llama.cpp is inside: ggml's version and, where it is known, the commit."""
    library = ggml()
    version, commit = (text.decode("utf-8", "replace") for text in (library.ggml_version(), library.ggml_commit()))
    return f"ggml {version} ({commit})"


def offloads() -> bool:
    """Is there a device that layers can be put on? (llama.cpp's own function counts RPC as one.)"""
    return any(device.is_gpu for device in devices())


def supports_rpc() -> bool:
    """Can layers be computed by RPC servers?"""
    return bool(llama_cpp.llama_supports_rpc())


def system_info() -> str:
    """Say what each backend was compiled with, the CPU's instructions above all."""
    text: bytes = llama_cpp.llama_print_system_info()
    return text.decode("utf-8", "replace").strip(" |")


@cache
def ggml() -> SimpleNamespace:
    """Return ggml's functions that are used, with their types."""
    handle, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    found = SimpleNamespace()
    for name, arguments, result in (
        ("ggml_backend_dev_count", [], size),
        ("ggml_backend_dev_get", [size], handle),
        ("ggml_backend_dev_by_name", [text], handle),
        ("ggml_backend_dev_type", [handle], ctypes.c_int),
        ("ggml_backend_dev_name", [handle], text),
        ("ggml_backend_dev_description", [handle], text),
        ("ggml_backend_dev_memory", [handle, ctypes.POINTER(size), ctypes.POINTER(size)], None),
        ("ggml_backend_reg_count", [], size),
        ("ggml_backend_reg_get", [size], handle),
        ("ggml_backend_reg_name", [handle], text),
        ("ggml_backend_reg_by_name", [text], handle),
        ("ggml_backend_reg_dev_count", [handle], size),
        ("ggml_backend_reg_dev_get", [handle, size], handle),
        ("ggml_backend_reg_get_proc_address", [handle, text], handle),
        ("ggml_version", [], text),
        ("ggml_commit", [], text),
    ):
        function = _exported(name)
        function.argtypes, function.restype = arguments, result
        setattr(found, name, function)
    return found
