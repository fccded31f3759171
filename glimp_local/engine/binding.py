"""llama-cpp-python as this package uses it: loaded, checked, quiet.

Importing this module imports `llama_cpp` (0.15 s), checks that it is the release the package is written for, sends
llama.cpp's log lines to `logging` (logger `glimp_local.llama`) and starts its backends.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp
import llama_cpp._ggml

from glimp_local.errors import BindingError

RELEASE = "0.3.36"
REBUILD_FOR_CUDA = (
    f'CMAKE_ARGS="-DGGML_CUDA=on" pip install --no-cache-dir --force-reinstall "llama-cpp-python=={RELEASE}"'
)

log = logging.getLogger("glimp_local.llama")
log.addHandler(logging.NullHandler())  # without any handler, logging itself would write warnings to the terminal

_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING}
"""llama.cpp's levels, one lower than their names: its "info" is a page a model, its "warn" is for its own developers,
and its errors come back as exceptions with a hint."""
_ERROR, _CONTINUED = 4, 5
_GPU_TYPES = (1, 2)  # ggml_backend_dev_type: a GPU with its own memory, and one that shares the host's

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


def gpus() -> list[str]:
    """Name the GPUs llama.cpp can offload to; empty on a machine without one and in a build without a GPU backend."""
    library = llama_cpp._ggml.libggml  # noqa: SLF001 - the binding wraps no function that lists devices
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_description.restype = ctypes.c_char_p
    devices = map(library.ggml_backend_dev_get, range(library.ggml_backend_dev_count()))
    return [
        library.ggml_backend_dev_description(device).decode("utf-8", "replace")
        for device in devices
        if library.ggml_backend_dev_type(device) in _GPU_TYPES
    ]
