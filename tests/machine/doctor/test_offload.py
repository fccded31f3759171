"""What is said of a GPU: for every way in which it can be there and not be used."""

from __future__ import annotations

import pytest

from glimp_local.engines.llama.release import RELEASE, rebuild_command
from glimp_local.hardware import Device, Gpu, Gpus
from glimp_local.machine.doctor.offload import judge
from glimp_local.machine.doctor.probe import Build, Objection, Probe, Proof

H100 = Gpu("NVIDIA", "NVIDIA H100", 80 * 2**30, integrated=False)
CUDA = 'CMAKE_ARGS="-DGGML_CUDA=on" pip install --no-cache-dir --force-reinstall "llama-cpp-python=='


def seen(*found: Gpu, driver: str | None = "570.1", error: str | None = None, devices: bool = True) -> Gpus:
    return Gpus(list(found), driver, error, nvidia_devices=devices, render_devices=devices)


def built(*backends: str, device: bool = False, proof: Proof | None = None) -> Probe:
    devices = [Device("CPU", "a CPU", "CPU", 1, 1)]
    if device:
        devices.insert(0, Device("CUDA0", "NVIDIA H100", "GPU", 80 * 2**30, 79 * 2**30))
    build = Build(RELEASE, "ggml 1", [*backends, "CPU"], offloads=bool(backends), features="", devices=devices)
    return Probe(build, proof, None if proof else Objection("no"))


PROVED = Proof(layers=5, layers_on_gpu=5, seconds=0.5)
ON_THE_CPU = Proof(layers=0, layers_on_gpu=0, seconds=0.5)
CPU = built(proof=ON_THE_CPU)


@pytest.mark.parametrize(
    ("gpus", "tried", "level", "says", "do"),
    [
        (
            seen(H100),
            CPU,
            "needs doing",
            "llama-cpp-python was built without CUDA; this machine has an NVIDIA GPU (NVIDIA H100, 80.0 GiB): all work",
            CUDA,
        ),
        (
            seen(H100, driver=None, error="Failed to initialize NVML"),
            CPU,
            "needs doing",
            "its driver does not work: nvidia-smi says: Failed to initialize NVML",
            "reinstall NVIDIA's driver; then rebuild (needs the CUDA toolkit): ",
        ),
        (
            seen(H100, driver=None, error="Failed"),
            built("CUDA", proof=ON_THE_CPU),
            "needs doing",
            "nvidia-smi says: Failed",
            "restart the machine, or reinstall NVIDIA's driver",
        ),
        (seen(H100, driver=None, devices=False), CPU, "needs doing", "but no driver of NVIDIA's", "install NVIDIA's"),
        (seen(H100), built("CUDA", proof=ON_THE_CPU), "needs doing", "finds no device", "CUDA_VISIBLE_DEVICES"),
        (seen(H100), built("CUDA", device=True, proof=PROVED), "fine", "offload works: 5 of 5 layers", None),
        (seen(H100), built("CUDA", device=True), "needs doing", "no token comes out", "--gpu-layers 0"),
        (seen(H100), built("CUDA", device=True, proof=ON_THE_CPU), "needs doing", "put no layer", "report"),
        (seen(), CPU, "fine", "no GPU is seen here: all work is on the CPU", None),
        (seen(), built("CUDA", proof=ON_THE_CPU), "fine", "llama-cpp-python was built for one", None),
        (
            seen(Gpu("AMD", None, None, integrated=False)),
            CPU,
            "needs doing",
            "built without Vulkan; this machine has an AMD GPU:",
            "-DGGML_VULKAN=on",
        ),
        (
            seen(Gpu("Intel", None, None, integrated=True)),
            CPU,
            "to know",
            "an Intel integrated GPU: all work is on the CPU. It shares the machine's memory",
            "-DGGML_VULKAN=on",
        ),
        (seen(Gpu("Intel", None, None, integrated=True), H100), CPU, "needs doing", "without CUDA", CUDA),
        (seen(Gpu("Apple", None, None, integrated=True)), CPU, "needs doing", "without Metal", "-DGGML_METAL=on"),
        (seen(H100), Probe(), "to know", "llama.cpp has to start before", None),
    ],
)
def test_what_stands_between_llama_cpp_and_a_gpu_is_said_with_the_way_out(
    gpus: Gpus, tried: Probe, level: str, says: str, do: str | None
) -> None:
    found = judge(gpus, tried, container=False)
    assert found.level == level
    assert says in found.says
    assert (found.do is None) if do is None else (do in str(found.do))


@pytest.mark.parametrize(
    ("gpu", "flag"), [(H100, "--gpus all"), (Gpu("AMD", None, None, integrated=False), "--device /dev/dri")]
)
def test_a_container_that_was_not_given_the_gpu_is_told_from_a_missing_driver(gpu: Gpu, flag: str) -> None:
    found = judge(seen(gpu, driver=None, devices=False), CPU, container=True)
    assert found.level == "to know"
    assert "this container was not given it" in found.says
    assert flag in str(found.do)
    assert judge(seen(gpu), CPU, container=True).level == "needs doing"


def test_the_rebuild_is_spelled_for_the_shell_of_the_system() -> None:
    assert rebuild_command("CUDA", "Linux") == f'{CUDA}{RELEASE}"'
    assert rebuild_command("Vulkan", "Windows").startswith('$env:CMAKE_ARGS = "-DGGML_VULKAN=on"; pip install ')
