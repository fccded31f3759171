"""From a file to llama.cpp's model and context, or to an error that says what to do.

What is made here belongs to the caller, who frees it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glimp_local.engines.llama import binding, proof, servers
from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.placement import layers_on_gpu
from glimp_local.errors import CancelledError, GlimpError, MemoryShortError, ModelUnreadableError, UsageError
from glimp_local.settings import MAX_DRAFT, MAX_ROLLBACK, EngineOptions

_LOAD_MODES = {"auto": -1, "read": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "direct-io": 4}
_SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
_FLASH = {"auto": -1, "off": 0, "on": 1}
_CACHE_TYPES = {
    "auto": lib.GGML_TYPE_F16,
    "f16": lib.GGML_TYPE_F16,
    "q8_0": lib.GGML_TYPE_Q8_0,
    "q4_0": lib.GGML_TYPE_Q4_0,
}


def load_model(
    path: Path, options: EngineOptions, cancel: threading.Event, on_progress: Callable[[float], None] | None
) -> Any:
    """Load a model; `on_progress` hears the loaded fraction.

    Raises CancelledError where `cancel` is set meanwhile, ModelUnreadableError where the file cannot be loaded,
    MemoryShortError where there is no memory for it, DeviceError where an RPC server cannot be used, UsageError for
    options that cannot be, and what `on_progress` raises.
    """
    raised: list[BaseException] = []

    def progress(fraction: float, _user_data: object) -> bool:
        # An exception (Ctrl-C may come here) cannot pass through llama.cpp: it is raised when loading has stopped.
        try:
            if on_progress is not None:
                on_progress(fraction)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            raised.append(error)
        return not (raised or cancel.is_set())

    devices = _devices(options)
    params = _model_params(options, cancel)
    params.devices = None if devices is None else ctypes.cast(devices, ctypes.c_void_p)
    params.progress_callback = lib.llama_progress_callback(progress)
    with binding.collected_errors() as errors:
        model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if model and not raised:
        return model
    if model:
        lib.llama_model_free(model)
    if raised:
        raise raised[0]
    if cancel.is_set():
        raise CancelledError(f"cancelled while loading {path.name}")
    reason = next((line for line in errors if "error loading model" in line), "llama.cpp gives no reason")
    reason = reason.split("error loading model: ")[-1]
    if _is_for_memory(reason):
        raise MemoryShortError(
            f"no memory for the weights of {path.name}: {reason}",
            hint="close what else takes memory, take fewer --gpu-layers, or a smaller pair (glimp plan says what fits)",
            of="weights",
        )
    raise ModelUnreadableError(
        f"{path} cannot be loaded: {reason}",
        hint="the file may be cut short or damaged: download it again",
    )


def _devices(options: EngineOptions) -> Any:
    """Return the list of devices that layers may go to, which ends with a null; None leaves the choice to llama.cpp.

    Servers stand first, as in llama.cpp's own programs: then a GPU of this machine has the last layers, and the logits
    of each token, which are many numbers, do not cross the network.
    """
    remote = servers.pointers(options.servers)
    if not (remote or binding.gpus_left_alone()):
        return None
    found = [*remote, *(binding.device_by_name(device.name) for device in binding.offload_devices())]
    if len(found) > lib.llama_max_devices():
        raise UsageError(
            f"the model would be spread over {len(found)} devices, and llama.cpp takes {lib.llama_max_devices()} at "
            "most",
            hint="name fewer servers in `rpc`",
        )
    return (ctypes.c_void_p * (len(found) + 1))(*found, None)


def _model_params(options: EngineOptions, cancel: threading.Event) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = layers_on_gpu(options)
    params.split_mode = _SPLIT_MODES[options.split]
    params.main_gpu = options.main_gpu
    params.load_mode = _LOAD_MODES[options.load_mode]
    extra = options.extra_buffers
    params.use_extra_bufts = proof.settle(cancel).extra_buffers if extra == "auto" else extra
    if len(options.tensor_split) > lib.llama_max_devices():
        raise UsageError(f"tensor_split is for {lib.llama_max_devices()} GPUs at most")
    if options.tensor_split:
        params.tensor_split = (ctypes.c_float * lib.llama_max_devices())(*options.tensor_split)
    return params


def make_context(
    model: Any, name: str, options: EngineOptions, *, context: int, batch_size: int, threads: tuple[int, int]
) -> Any:
    """Make a context of this many tokens; `threads` are those for one token and for a batch, `name` is the model's.

    Raises UsageError where the model cannot keep its cache in the type asked for, MemoryShortError where there is no
    memory, GlimpError for any other reason.
    """
    params = lib.llama_context_default_params()
    params.n_ctx = context
    params.n_batch = batch_size
    params.n_ubatch = min(batch_size, 512)
    params.n_outputs_max = min(MAX_DRAFT + 1, batch_size)  # rows of logits read of one batch
    params.n_seq_max = 1
    params.n_rs_seq = MAX_ROLLBACK  # llama.cpp makes it 0 where the architecture cannot
    params.n_threads, params.n_threads_batch = threads
    params.flash_attn_type = _FLASH[options.flash_attention]
    params.type_k = params.type_v = _CACHE_TYPES[options.cache_type]
    params.swa_full = options.swa_full
    params.op_offload = not binding.gpus_left_alone()
    with binding.collected_errors() as errors:
        made = lib.llama_init_from_model(model, params)
    if made:
        return made
    reason = errors[-1] if errors else "no reason given"
    if "K cache " in reason or "V cache " in reason:
        raise UsageError(
            f"{name} cannot keep its cache as {options.cache_type}: {reason}",
            hint='this model needs f16: leave --cache-type out, or say cache_type = "f16" in models.toml',
        )
    message = f"no context of {context:,} tokens for {name}: {reason}"
    if _is_for_memory(reason):
        hint = "for want of memory, try a smaller --ctx, --cache-type q8_0 or fewer layers on the GPU"
        raise MemoryShortError(message, hint=hint, of="context")
    raise GlimpError(message)


def _is_for_memory(reason: str) -> bool:
    return any(words in reason for words in ("allocate", "out of memory", "bad_alloc"))  # mmap says "Cannot allocate"
