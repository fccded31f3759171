"""What `glimp doctor` finds: facts about this machine and glimp's place on it, and what they mean, in words.

Each subject is examined by itself: whatever fails, a broken models.toml or a llama.cpp that does not load, is a finding
and takes no other subject down. No model of the user's is loaded, nothing is written, and no connection is opened but
to the servers that models.toml names. The facts come from `hardware`, `probe`, `storage` and `servers`; here, and in
`offload`, it is said what they mean.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from glimp_local import __version__, hardware, units
from glimp_local.engines.llama import release
from glimp_local.engines.llama.proof import Verdict, keep, lost_speed, prove
from glimp_local.engines.llama.proof_models import TYPES
from glimp_local.errors import GlimpError
from glimp_local.machine.doctor import offload, servers, storage
from glimp_local.machine.doctor.finding import REPORT, Fact, Finding, Judged
from glimp_local.machine.doctor.probe import Probe, probe
from glimp_local.machine.doctor.storage import Folder, PairState
from glimp_local.machine.locations import places

if TYPE_CHECKING:
    from glimp_local.machine.servers import PairServers

_PACKAGES = ("llama-cpp-python", "numpy", "huggingface-hub", "textual", "click", "msgspec", "rich")
_PREFIXES = ("GLIMP_", "HF_", "HUGGINGFACE_", "GGML_", "LLAMA_", "CUDA_", "HIP_", "ROCR_", "OMP_", "XDG_", "TEXTUAL_")
_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM", "LANG", "LC_ALL", "PYTHONUTF8")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_DRIVER = "update the GPU's driver, or rebuild llama-cpp-python for it; then glimp doctor tries again"
_SCARCE = 0.1
"""Below this part of it that is free, memory is scarce."""


class Terminal(msgspec.Struct, frozen=True):
    """Where glimp writes to."""

    is_terminal: bool
    columns: int
    rows: int
    colours: str | None
    """standard, 256, truecolor or windows; None without."""
    encoding: str


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. What could not be examined is null, and a finding says why."""

    glimp: str
    python: str
    system: str
    machine: str | None = None
    """Processor, cores and memory, in one line."""
    container: bool = False
    versions: dict[str, str | None]
    """Of the packages that matter; null where one is missing."""
    llama_cpp_python: str | None
    kernels: Verdict | None = None
    """Whether llama.cpp computes on this machine, and with which load options; null if that could not be tried."""
    probe: Probe | None = None
    gpus: list[str]
    """Those llama.cpp can offload to."""
    gpus_found: hardware.Gpus | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    cpus: hardware.Cpus | None = None
    memory: hardware.Memory | None = None
    models_file: str | None = None
    """The user's own models.toml; it need not exist."""
    data_folder: str | None = None
    folders: list[Folder]
    default_pair: str | None = None
    pairs: list[PairState]
    servers: dict[str, PairServers]
    """What the servers answered that models are on, by pair."""
    terminal: Terminal | None = None
    variables: list[str]
    """Names of the environment's variables that matter; never what is in them."""
    findings: list[Finding]


def examine(
    models_file: Path | None = None,
    pair: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Examination:
    """Examine this machine; `models_file` and `pair` are what --models and GLIMP_PAIR name."""
    findings: list[Finding] = []

    def look(subject: str, examination: Callable[[], Judged[Fact]]) -> Fact | None:
        try:
            fact, found = examination()
        except GlimpError as error:
            findings.append(Finding(subject, "needs doing", str(error), error.hint or REPORT))
            return None
        except Exception as error:  # noqa: BLE001 - what cannot be examined must not hide the rest
            says = f"could not be examined: {type(error).__name__}: {error}"
            findings.append(Finding(subject, "needs doing", says, REPORT))
            return None
        findings.extend(found)
        return fact

    versions = look("packages", _packages) or {}
    where = look("folders", lambda: (places(models_file), []))
    folders = look("folders", lambda: storage.folders(where)) if where else None
    kernels = look("kernels", _kernels)  # what it keeps may make a folder
    tried = look("llama.cpp", lambda: _of_probe(probe()))
    container = look("GPU", lambda: (hardware.in_container(), [])) or False
    gpus = look("GPU", lambda: _of_gpus(hardware.gpus(), tried or Probe(), container=container))
    cpus = look("threads", lambda: _of_cpus(hardware.cpus()))
    memory = look("memory", lambda: _of_memory(hardware.memory()))
    starts = tried is not None and tried.build is not None
    catalogue = look("pairs", lambda: storage.pairs(models_file, pair, folders or [], llama_cpp_starts=starts))
    default = catalogue[0] if catalogue else None
    answered = look("servers", lambda: servers.servers(models_file, default))
    devices = tried.build.devices if tried and tried.build else []
    return Examination(
        glimp=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=_system(),
        machine=look("machine", _machine),
        container=container,
        versions=versions,
        llama_cpp_python=versions.get("llama-cpp-python"),
        kernels=kernels,
        probe=tried,
        gpus=[device.description for device in devices if device.is_gpu],
        gpus_found=gpus,
        physical_cores=cpus.physical if cpus else None,
        logical_cores=cpus.logical if cpus else None,
        cpus=cpus,
        memory=memory,
        models_file=str(where.models_file) if where else None,
        data_folder=str(where.data_folder) if where else None,
        folders=folders or [],
        default_pair=default,
        pairs=catalogue[1] if catalogue else [],
        servers=answered or {},
        terminal=look("terminal", lambda: _terminal(environment)),
        variables=look("variables", lambda: _variables(environment)) or [],
        findings=findings,
    )


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = ""
    return " ".join(filter(None, (name, platform.system(), platform.release(), platform.machine())))


def _machine() -> Judged[str]:
    cores, memory = hardware.cpus().physical, hardware.memory().total_bytes
    return f"{hardware.processor()}, {cores} cores, {units.memory_size(memory)}", []


def _packages() -> Judged[dict[str, str | None]]:
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    missing = " ".join(name for name, version in versions.items() if version is None)
    if missing:
        return versions, [Finding("packages", "needs doing", f"not installed: {missing}", f"pip install {missing}")]
    return versions, [Finding("packages", "fine", ", ".join(f"{name} {versions[name]}" for name in versions))]


def _kernels() -> Judged[Verdict | None]:
    """Try llama.cpp's kernels out again, and have what is found used from now on."""
    verdict = prove()
    if verdict is None:
        # If llama.cpp does not start, its own subject says why.
        return None, [Finding("kernels", "to know", "llama.cpp's kernels could not be tried out")]
    if verdict.is_certain:
        keep(verdict)
    return verdict, [_of_verdict(verdict)]


def _of_verdict(verdict: Verdict) -> Finding:
    on_gpu = "'s GPU" if verdict.gpus else ""
    if verdict.failure is None:
        return Finding("kernels", "fine", f"llama.cpp computes with {', '.join(TYPES)} on this machine{on_gpu}")
    command = release.portable_command(verdict.features)
    if verdict.choice is None:
        says = f"llama.cpp crashes on this machine, with every option tried: {verdict.failure}"
        return Finding("kernels", "needs doing", says, command)
    says = f"llama.cpp crashes on this machine with its usual options ({verdict.failure})"
    if not verdict.choice.gpu:
        return Finding("kernels", "to know", f"{says}: without its GPU it works, so all work is on the CPU", _DRIVER)
    lost = lost_speed()
    rate = ""
    if lost is not None:
        rate = f"; with repacked weights (Q4_0, Q4_K) prompts would be read {lost[0]:.1f} times as fast"
        rate += f", and tokens written {lost[1]:.1f} times as fast"
    return Finding(
        "kernels", "to know", f"{says}; without extra buffers it works, and they are not used{rate}", command
    )


def _of_probe(tried: Probe) -> Judged[Probe]:
    """Judge whether llama.cpp starts, and whether a token comes out."""
    build, proof, objection = tried.build, tried.proof, tried.objection
    findings = []
    if build is not None:
        compiled = f"{build.ggml}, compiled for {', '.join(build.backends)}"
        findings.append(Finding("llama.cpp", "fine", f"llama-cpp-python {build.release}, {compiled}"))
        findings.append(Finding("llama.cpp", "fine", build.features.replace(" = 1", "").replace(" | ", " ")))
    if objection is not None:
        what = "no token comes out of it" if build else "llama.cpp does not start"
        do = objection.hint or offload.reinstall(tried)
        findings.append(Finding("llama.cpp", "needs doing", f"{what}: {objection.error}", do))
    if proof is not None:
        findings.append(
            Finding(
                "llama.cpp",
                "fine",
                f"a token comes out of the built-in small model, in {units.duration(proof.seconds)}",
            )
        )
    return tried, findings


def _of_gpus(gpus: hardware.Gpus, tried: Probe, *, container: bool) -> Judged[hardware.Gpus]:
    findings = []
    if tried.build is not None:
        for device in tried.build.devices:
            # ggml calls all memory of the machine free: its own subject tells it better.
            size = (
                ""
                if device.kind == "CPU"
                else f", {units.memory_size(device.free_bytes)} of {units.memory_size(device.total_bytes)} free"
            )
            findings.append(Finding("devices", "fine", f"{device.name}: {device.description} ({device.kind}){size}"))
    return gpus, [*findings, offload.judge(gpus, tried, container=container)]


def _of_cpus(cpus: hardware.Cpus) -> Judged[hardware.Cpus]:
    cores = f"{cpus.physical} physical cores, {cpus.logical} logical"
    takes = f"glimp takes {cpus.threads} thread{'s' if cpus.threads > 1 else ''} for a model, one for a tiny one"
    if cpus.threads == cpus.physical:
        return cpus, [Finding("threads", "fine", f"{cores}; {takes}")]
    bounds = []
    if cpus.allowed < cpus.physical:
        bounds.append(f"may run on {cpus.allowed} of them")
    if cpus.limit is not None:
        bounds.append(f"may spend the time of {cpus.limit:g} (the limit of its container or control group)")
    return cpus, [Finding("threads", "to know", f"{cores}, but this process {' and '.join(bounds)}: {takes}")]


def _of_memory(memory: hardware.Memory) -> Judged[hardware.Memory]:
    available, total = units.memory_size(memory.available_bytes), units.memory_size(memory.total_bytes)
    says = f"{available} of {total} available; swap {units.memory_size(memory.swap_total_bytes)}"
    findings = [Finding("memory", "fine", says)]
    if memory.limit_bytes is not None:
        limit = f"its container or control group lets this process have {units.memory_size(memory.limit_bytes)} only"
        findings.append(Finding("memory", "to know", limit))
    if memory.available_bytes < _SCARCE * memory.total_bytes:
        findings.append(
            Finding("memory", "to know", "memory is scarce now: a model that does not fit is read again and again")
        )
    return memory, findings


def _terminal(environment: Mapping[str, str]) -> Judged[Terminal]:
    from rich.console import Console  # noqa: PLC0415 - what rich cannot tell is one finding, not the end

    size = shutil.get_terminal_size()
    console = Console(force_terminal=True, _environ=environment)
    terminal = Terminal(
        is_terminal=sys.stdout.isatty(),
        columns=size.columns,
        rows=size.lines,
        colours=None if console.no_color else console.color_system,
        encoding=sys.stdout.encoding.lower(),
    )
    what = f"{size.columns} x {size.lines}" if terminal.is_terminal else "stdout is no terminal"
    findings = [
        Finding("terminal", "fine", f"{what}; colours: {terminal.colours or 'none'}; encoding: {terminal.encoding}")
    ]
    if not terminal.encoding.startswith("utf"):
        says = f"text is written as {terminal.encoding}: what it has no sign for becomes a question mark"
        findings.append(Finding("terminal", "to know", says, "choose a UTF-8 locale, or set PYTHONUTF8=1"))
    return terminal, findings


def _variables(environment: Mapping[str, str]) -> Judged[list[str]]:
    names = sorted(
        name for name in environment if name.startswith(_PREFIXES) or name in _VARIABLES or name.upper() in _PROXIES
    )
    return names, [Finding("variables", "fine", f"set: {', '.join(names) or 'none that matters'}")]
