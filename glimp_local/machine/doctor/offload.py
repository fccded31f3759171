"""Does the work go to a GPU? What the system sees and what llama.cpp sees, held against each other, in words."""

from __future__ import annotations

import platform
from functools import partial

from glimp_local import units
from glimp_local.engines.llama.release import Backend, install_command, rebuild_command
from glimp_local.hardware import Gpu, Gpus, Maker
from glimp_local.machine.doctor.finding import REPORT, Finding
from glimp_local.machine.doctor.probe import Build, Probe

_OWN: dict[Maker, Backend] = {"NVIDIA": "CUDA", "AMD": "Vulkan", "Intel": "Vulkan", "Apple": "Metal"}
"""The backend to compile for a maker's GPUs."""
_NAMES: dict[Maker, set[str]] = {
    "NVIDIA": {"CUDA", "Vulkan"},
    "AMD": {"ROCm", "Vulkan"},
    "Intel": {"SYCL", "Vulkan"},
    "Apple": {"MTL"},
}
"""The backends that compute on a maker's GPUs, as ggml calls them."""
_NEEDS: dict[Backend, str] = {"CUDA": " (needs the CUDA toolkit)", "Vulkan": " (needs the Vulkan SDK)", "Metal": ""}
_CPU = "all work is on the CPU"

_finding = partial(Finding, "GPU")


def judge(gpus: Gpus, tried: Probe, *, container: bool) -> Finding:
    """Say whether llama.cpp uses the GPU that is here, and what to do where it does not."""
    gpu = min(gpus.found, key=lambda gpu: gpu.integrated, default=None)
    here = f"this machine has {_named(gpu)}" if gpu else "no GPU is seen here"
    build = tried.build
    if build is None:
        return _finding("to know", f"{here}; llama.cpp has to start before more can be said")
    used = [f"{device.name} ({device.description})" for device in build.devices if device.is_gpu]
    if used:
        return _used(", ".join(used), tried)
    if gpu is None:
        for_nothing = "; llama-cpp-python was built for one" if build.offloads else ""
        return _finding("fine", f"{here}{for_nothing}: {_CPU}")
    if container and not (gpus.nvidia_devices if gpu.maker == "NVIDIA" else gpus.render_devices):
        flag = "--gpus all" if gpu.maker == "NVIDIA" else "--device /dev/dri"
        return _finding(
            "to know", f"{here}, but this container was not given it: {_CPU}", f"start it with docker run {flag}"
        )
    return _without_driver(gpu, gpus, build) or _without_device(gpu, build)


def reinstall(tried: Probe) -> str:
    """Say what to do where llama.cpp does not start, or computes nothing."""
    if tried.build is not None and tried.build.offloads:
        return f"is it the GPU? See whether `glimp solve --gpu-layers 0` works. If not: {install_command()}"
    return f"compile it on this machine: {install_command()}"


def _used(devices: str, tried: Probe) -> Finding:
    proof = tried.proof
    if proof is None:
        return _finding(
            "needs doing", f"llama.cpp sees {devices}, but no token comes out with a model there", reinstall(tried)
        )
    if not proof.layers_on_gpu:
        says = f"llama.cpp sees {devices}, but put no layer of the built-in small model there: {_CPU}"
        return _finding("needs doing", says, REPORT)
    layers = f"{proof.layers_on_gpu} of {proof.layers} layers of the built-in small model"
    return _finding("fine", f"offload works: {layers} on {devices}")


def _without_driver(gpu: Gpu, gpus: Gpus, build: Build) -> Finding | None:
    """Say it where NVIDIA's driver is what stands between."""
    if gpu.maker != "NVIDIA" or gpus.nvidia_driver is not None:
        return None
    then = "" if "CUDA" in build.backends else f"; then {_rebuild('CUDA')}"
    if gpus.nvidia_error is not None:
        says = f"this machine has {_named(gpu)}, but its driver does not work: nvidia-smi says: {gpus.nvidia_error}"
        return _finding("needs doing", says, f"restart the machine, or reinstall NVIDIA's driver{then}")
    if gpus.nvidia_devices:
        return None
    says = f"this machine has {_named(gpu)}, but no driver of NVIDIA's: {_CPU}"
    return _finding("needs doing", says, f"install NVIDIA's driver{then}")


def _without_device(gpu: Gpu, build: Build) -> Finding:
    """Say why llama.cpp finds no device where there is a GPU."""
    backend = _OWN[gpu.maker]
    if _NAMES[gpu.maker] & set(build.backends):
        says = f"llama-cpp-python was built for {_named(gpu)}, but llama.cpp finds no device: {_CPU}"
        return _finding("needs doing", says, _find_device(gpu))
    says = f"llama-cpp-python was built without {backend}; this machine has {_named(gpu)}: {_CPU}"
    if gpu.integrated and gpu.maker in {"AMD", "Intel"}:
        return _finding("to know", f"{says}. It shares the machine's memory, so that little is lost", _rebuild(backend))
    return _finding("needs doing", says, _rebuild(backend))


def _find_device(gpu: Gpu) -> str:
    if gpu.maker == "NVIDIA":
        return "see whether CUDA_VISIBLE_DEVICES hides it; else the driver is older than the CUDA it was built with"
    if platform.system() == "Linux":
        return "install the Vulkan driver (mesa-vulkan-drivers), and let your user use /dev/dri (group render)"
    return "install the maker's current driver"


def _rebuild(backend: Backend) -> str:
    return f"rebuild{_NEEDS[backend]}: {rebuild_command(backend)}"


def _named(gpu: Gpu) -> str:
    """Name a GPU, with its article."""
    details = [gpu.name] if gpu.name else []
    if gpu.total_bytes:
        details.append(units.memory_size(gpu.total_bytes))
    kind = "integrated GPU" if gpu.integrated else "GPU"
    return f"an {gpu.maker} {kind}" + (f" ({', '.join(details)})" if details else "")
