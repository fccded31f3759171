"""Why llama.cpp cannot be loaded: known before it is tried, or read from the error."""

from __future__ import annotations

import os

from glimp_local import hardware, units
from glimp_local.engines.llama import release
from glimp_local.errors import BindingError
from glimp_local.text import one_line

_LEAST_ADDRESS_SPACE = 9 * 2**25
"""With less, numpy or ggml ends the process while it is loaded, or no thread can be started beside a tiny model."""
_MORE = "raise the limit, which `ulimit -v` shows: ulimit -v unlimited"
_MEMORY_SHORT = ("failed to map segment", "annot allocate memory", "annot create shared object descriptor")


def check_address_space() -> None:
    """Refuse a limit on this process's addresses under which loading llama.cpp would end it without a word."""
    limit = hardware.address_space_limit()
    if limit is None:
        return
    if limit < _LEAST_ADDRESS_SPACE:
        raise BindingError(
            f"llama-cpp-python cannot be loaded: this process may have {units.memory_size(limit)} of address space, "
            f"and takes {units.memory_size(_LEAST_ADDRESS_SPACE)} at least",
            hint=_MORE,
        )
    # numpy's library takes 40 MB for each of its threads, and none is needed here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def reason(error: BaseException) -> BindingError:
    """Return why llama-cpp-python did not load.

    The exception that began it says so in a sentence; those raised from it have a page on how to install numpy.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    says = one_line(str(error)) or type(error).__name__
    is_for_memory = isinstance(error, MemoryError) or any(words in says for words in _MEMORY_SHORT)
    if is_for_memory:
        return BindingError(
            f"llama-cpp-python cannot be loaded because memory is short: {says}",
            hint=f"close other programs, or {_MORE}",
        )
    hint = f"compile it on this machine: {release.install_command()}"
    return BindingError(f"llama-cpp-python cannot be loaded: {says}", hint=hint)
