"""What a model's options come to on this machine: which devices compute its layers, and with how many threads.

Knows nothing of llama.cpp: the GPUs it sees, the devices of RPC servers, the model's size and its layers are given.
Promises that everything said of one placement agrees; other options make another placement.
"""

from __future__ import annotations

import msgspec

from glimp_local.engines.llama.rpc import RemoteDevice
from glimp_local.hardware import cpus
from glimp_local.settings import EngineOptions

_TINY_BYTES = 64_000_000
"""Below this size a model decodes a token in less time than two threads need to meet at their barriers."""
_CPU = "CPU"


def layers_on_gpu(options: EngineOptions) -> int:
    """Return the layers asked onto GPUs; -1 is all, which is what "auto" means to a model by itself."""
    return -1 if options.gpu_layers == "auto" else options.gpu_layers


class Placement(msgspec.Struct, frozen=True):
    """Where one model computes."""

    options: EngineOptions
    size_bytes: int
    """Of the model's file."""
    layers: int
    """Of the model, without its output."""
    gpus: tuple[str, ...]
    """All that llama.cpp sees here, if any layer may be on one."""
    remote: tuple[RemoteDevice, ...] = ()
    """Devices of RPC servers that layers may be on."""

    @property
    def is_tiny(self) -> bool:
        """Is the model too small for a second thread?"""
        return self.size_bytes < _TINY_BYTES

    @property
    def threads(self) -> int:
        """CPU threads that compute one token, at most."""
        if self.options.threads != "auto":
            return self.options.threads
        return 1 if self.is_tiny else cpus().threads

    @property
    def threads_batch(self) -> int:
        """CPU threads that compute several tokens at once, at most."""
        return self.threads if self.options.threads_batch == "auto" else self.options.threads_batch

    @property
    def adapts(self) -> bool:
        """May the number of threads follow what else the machine does: nobody has set it, and it matters?

        Not beside a server: what a token takes is then the network's doing, too.
        """
        if self.remote or self.is_offloaded:
            return False
        return self.options.threads == "auto" and not self.is_tiny and self.threads > 1

    @property
    def has_help(self) -> bool:
        """May anything but the CPU compute layers?"""
        return bool(self.gpus or self.remote)

    @property
    def batch(self) -> int:
        """Most tokens of a prompt to compute at once."""
        return self.options.batch or (512 if self.has_help else 128)

    @property
    def is_offloaded(self) -> bool:
        """Do GPUs, here or on servers, compute all of the layers, the output among them?"""
        return self.has_help and not 0 <= layers_on_gpu(self.options) <= self.layers

    @property
    def devices(self) -> frozenset[str]:
        """What computes the layers: the CPU, GPUs by their numbers, and servers as "rpc host:port".

        A server on this machine's CPU takes the CPU's time, too.
        """
        found = set() if self.is_offloaded else {_CPU}
        for device in self._used():
            if isinstance(device, int):
                found.add(str(device))
            else:
                found |= {f"rpc {device.endpoint}", *([_CPU] if device.is_this_cpu else [])}
        return frozenset(found)

    def _used(self) -> list[int | RemoteDevice]:
        """Return the numbers of the GPUs that have layers, and the devices of servers, in llama.cpp's order."""
        every = [*self.remote, *range(len(self.gpus))]
        if self.options.split == "none":
            return every[self.options.main_gpu : self.options.main_gpu + 1]
        split = self.options.tensor_split
        return [device for i, device in enumerate(every) if not any(split) or split[i : i + 1] > (0,)]

    @property
    def where(self) -> str:
        """Where the layers are, in words."""
        if not self.has_help:
            prompts = "" if self.threads_batch == self.threads else f", {self.threads_batch} for prompts"
            return f"{_CPU}, {self.threads} thread{'s' if self.threads > 1 else ''}{prompts}"
        layers = "all layers" if self.is_offloaded else f"{layers_on_gpu(self.options)} layers"
        names = [self.gpus[device] if isinstance(device, int) else device.name for device in self._used()]
        return f"{layers} on {', '.join(names)}"
