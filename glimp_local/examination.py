"""What `glimp doctor` finds: facts about this machine and glimp's place on it, and what they mean, in words.

Each subject is examined by itself: whatever fails, a broken models.toml or a llama.cpp that does not load, is a finding
and takes no other subject down. No model of the user's is loaded, nothing is written, and the network is not touched.
The facts come from `hardware` and `probe`; here it is said what they mean.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from glimp_local import __version__, hardware, machine, model_files, offload
from glimp_local.config import ModelSource, PairConfig, load_catalogue
from glimp_local.errors import ConfigError, GlimpError, ModelMissingError
from glimp_local.places import Places, places
from glimp_local.probe import Probe, probe
from glimp_local.routing import Model

Level = Literal["fine", "to know", "needs doing"]

_PACKAGES = ("llama-cpp-python", "numpy", "huggingface-hub", "textual", "click", "msgspec", "rich")
_PREFIXES = ("GLIMP_", "HF_", "HUGGINGFACE_", "GGML_", "LLAMA_", "CUDA_", "HIP_", "ROCR_", "OMP_", "XDG_", "TEXTUAL_")
_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM", "LANG", "LC_ALL", "PYTHONUTF8")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_HUB = "hub cache"
_BUILTIN = "builtin"
_LEAST_BYTES = 200_000_000
"""With less than this, conversations and their caches are soon without room."""
_SCARCE = 0.1
"""Below this part of it that is free, memory is scarce."""


class Finding(msgspec.Struct, frozen=True):
    """What one fact means."""

    subject: str
    level: Level
    says: str
    do: str | None = None
    """What to do about it."""


class Folder(msgspec.Struct, frozen=True):
    """A place that glimp writes to."""

    name: str
    path: str
    exists: bool
    writable: bool
    """It is, or what it would be made in is."""
    free_bytes: int


class PairState(msgspec.Struct, frozen=True):
    """Can a pair be used now?"""

    pair: str
    ready: bool
    """All its files are on this machine."""
    missing_bytes: int
    """Size of the files that are not, as far as the catalogue lists it."""


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
    """Processor, cores, memory, versions, in one line."""
    container: bool = False
    versions: dict[str, str | None]
    """Of the packages that matter; null where one is missing."""
    llama_cpp_python: str | None
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
    terminal: Terminal | None = None
    variables: list[str]
    """Names of the environment's variables that matter; never what is in them."""
    findings: list[Finding]


Fact = TypeVar("Fact")
Judged = tuple[Fact, list[Finding]]


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
        except Exception as error:  # noqa: BLE001 - what cannot be examined must not hide the rest
            findings.append(Finding(subject, "to know", f"could not be examined: {type(error).__name__}: {error}"))
            return None
        findings.extend(found)
        return fact

    versions = look("packages", _packages) or {}
    tried = look("llama.cpp", lambda: _of_probe(probe()))
    container = hardware.in_container()
    gpus = look("GPU", lambda: _of_gpus(hardware.gpus(), tried or Probe(), container=container))
    cpus = look("threads", lambda: _of_cpus(hardware.cpus()))
    memory = look("memory", lambda: _of_memory(hardware.memory()))
    where = look("folders", lambda: (places(models_file), []))
    folders = look("folders", lambda: _of_folders(where)) if where else None
    catalogue = look("pairs", lambda: _pairs(models_file, pair, folders or []))
    devices = tried.build.devices if tried and tried.build else []
    return Examination(
        glimp=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=_system(),
        machine=look("machine", lambda: (machine.describe(), [])),
        container=container,
        versions=versions,
        llama_cpp_python=versions.get("llama-cpp-python"),
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
        default_pair=catalogue[0] if catalogue else None,
        pairs=catalogue[1] if catalogue else [],
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
            Finding("llama.cpp", "fine", f"a token comes out of the built-in small model, in {proof.seconds:.1f} s")
        )
    return tried, findings


def _of_gpus(gpus: hardware.Gpus, tried: Probe, *, container: bool) -> Judged[hardware.Gpus]:
    findings = []
    if tried.build is not None:
        for device in tried.build.devices:
            # ggml calls all memory of the machine free: its own subject tells it better.
            size = "" if device.kind == "CPU" else f", {gib(device.free_bytes)} of {gib(device.total_bytes)} free"
            findings.append(Finding("devices", "fine", f"{device.name}: {device.description} ({device.kind}){size}"))
    verdict = offload.judge(gpus, tried, container=container)
    return gpus, [*findings, Finding("GPU", *verdict)]


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
    says = f"{gib(memory.available_bytes)} of {gib(memory.total_bytes)} available; swap {gib(memory.swap_total_bytes)}"
    findings = [Finding("memory", "fine", says)]
    if memory.limit_bytes is not None:
        limit = f"its container or control group lets this process have {gib(memory.limit_bytes)} only"
        findings.append(Finding("memory", "to know", limit))
    if memory.available_bytes < _SCARCE * memory.total_bytes:
        findings.append(
            Finding("memory", "to know", "memory is scarce now: a model that does not fit is read again and again")
        )
    return memory, findings


def _of_folders(where: Places) -> Judged[list[Folder]]:
    folders = [
        _folder("your models.toml", where.models_file),
        _folder("data", where.data_folder),
        _folder(_HUB, where.hub_cache),
    ]
    findings = []
    for folder in folders:
        there = "" if folder.exists else " (not there yet)"
        says = f"{folder.name}: {folder.path}{there}"
        if not folder.writable:
            do = "let your user write there, or name another place (XDG_CONFIG_HOME, XDG_DATA_HOME, HF_HOME, --models)"
            findings.append(Finding("folders", "needs doing", f"{says} cannot be written", do))
        elif folder.free_bytes < _LEAST_BYTES:
            do = "make room there"
            findings.append(Finding("folders", "needs doing", f"{says}: only {gb(folder.free_bytes)} free", do))
        else:
            findings.append(Finding("folders", "fine", f"{says}, {gb(folder.free_bytes)} free"))
    return folders, findings


def _folder(name: str, path: Path) -> Folder:
    exists = path.exists()
    # A models.toml is written anew beside the old one.
    above = next(folder for folder in ((path, *path.parents) if path.is_dir() else path.parents) if folder.exists())
    return Folder(
        name=name,
        path=str(path),
        exists=exists,
        writable=above.is_dir() and os.access(above, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(above).free,
    )


def _pairs(
    models_file: Path | None, pair: str | None, folders: list[Folder]
) -> Judged[tuple[str | None, list[PairState]]]:
    try:
        catalogue = load_catalogue(models_file)
    except ConfigError as error:
        do = error.hint or "mend it there, or move the file away: glimp then uses the packaged one"
        return (None, []), [Finding("models.toml", "needs doing", str(error), do)]
    states = [_pair_state(name, catalogue.pairs[name]) for name in catalogue.pairs]
    findings = [Finding("models.toml", "fine", f"valid; {len(states)} pairs")]
    try:
        default, _ = catalogue.pair(pair)
    except GlimpError as error:
        return (None, states), [*findings, Finding("pairs", "needs doing", str(error), error.hint)]
    findings.append(Finding("pairs", "fine", f"here: {', '.join(s.pair for s in states if s.ready) or 'none'}"))
    missing = ", ".join(f"{state.pair} ({gb(state.missing_bytes)})" for state in states if not state.ready)
    if missing:
        findings.append(Finding("pairs", "fine", f"not here, or in part: {missing}"))
    try:
        model_files.find_all(_sources(catalogue.pairs[default]))
    except ModelMissingError as error:
        findings.append(Finding("pairs", "needs doing", f"the default pair {default!r}: {error}", error.hint))
    return (default, states), [*findings, *_room(states, folders)]


def _pair_state(name: str, config: PairConfig) -> PairState:
    missing = []
    for source in _sources(config).values():
        try:
            model_files.find(source)
        except ModelMissingError:
            missing.append(source.size_bytes or 0)
    return PairState(name, not missing, sum(missing))


def _sources(config: PairConfig) -> dict[Model, ModelSource]:
    wanted: dict[Model, ModelSource | None] = {"small": config.small, "large": config.large}
    alone = config.policy in wanted
    return {model: found for model, found in wanted.items() if found and (not alone or model == config.policy)}


def _room(states: list[PairState], folders: list[Folder]) -> list[Finding]:
    """Say it where there is no room for the first real pair."""
    free = next((folder.free_bytes for folder in folders if folder.name == _HUB), None)
    sizes = [state.missing_bytes for state in states if state.missing_bytes]
    has_one = any(state.ready and state.pair != _BUILTIN for state in states)
    if free is None or has_one or not sizes or free > min(sizes):
        return []
    says = f"the smallest pair that is not here takes {gb(min(sizes))}, and {gb(free)} are free where it would go"
    return [Finding("pairs", "needs doing", says, "make room, or set HF_HOME to a folder on another disk")]


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


def gib(size_bytes: float) -> str:
    """Write a size of memory."""
    return f"{size_bytes / 2**30:.1f} GiB"


def gb(size_bytes: float) -> str:
    """Write a size on a disk."""
    return f"{size_bytes / 1e9:.1f} GB"
