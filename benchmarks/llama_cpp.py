"""llama.cpp's own programs, built once from the source distribution of the llama-cpp-python that is installed.

`python -m benchmarks.llama_cpp` builds `ggml-rpc-server` and prints where it is; `llama-bench` is built on first use.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

import llama_cpp
import msgspec
import platformdirs

from benchmarks.setup import MissingError
from glimp_local.engines.llama.binding import RELEASE
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.placement import layers_on_gpu

PYTHON_LIBRARY = Path(llama_cpp.__file__).parent / "lib"
"""The folder of the shared libraries that Python uses."""

_SEARCHED_FIRST = {"linux": "LD_LIBRARY_PATH", "darwin": "DYLD_LIBRARY_PATH"}
"""The variable that has a program take its libraries from another folder than the one it was built in."""

_NOT_NEEDED = ("TESTS", "EXAMPLES", "SERVER")


class Result(msgspec.Struct, frozen=True):
    """One test, of the many fields llama-bench tells."""

    backends: str
    """What it could compute with, such as "CPU" or "CUDA"."""
    samples_ts: list[float]
    """Tokens per second of each repetition."""


class LlamaBench:
    """A llama-bench; with `python_library` it computes with the very libraries that Python uses."""

    def __init__(self, path: Path, *, python_library: bool = False) -> None:
        self._path = path
        self._environment = dict(os.environ)
        if python_library:
            if sys.platform not in _SEARCHED_FIRST:
                raise MissingError("llama-bench cannot be made to use Python's libraries on this system")
            self._environment[_SEARCHED_FIRST[sys.platform]] = str(PYTHON_LIBRARY)

    def prefill(self, engine: Engine, tokens: int, *, batch: int) -> float:
        """Measure the tokens per second of a prompt, read in batches, with an engine's file and settings."""
        return self._measure(engine, ["-p", tokens, "-n", 0, "-b", batch, "-ub", min(batch, 512)])

    def decode(self, engine: Engine, tokens: int, *, depth: int) -> float:
        """Measure the tokens per second of forward passes behind `depth` tokens; nothing is sampled."""
        return self._measure(engine, ["-p", 0, "-n", tokens, "-d", depth])

    def _measure(self, engine: Engine, what: list[object]) -> float:
        options = engine.options
        settings = ["-t", engine.placement.threads, "-fa", options.flash_attention, "-ngl", layers_on_gpu(options)]
        cache = "f16" if options.cache_type == "auto" else options.cache_type
        settings += ["-ctk", cache, "-ctv", cache, "-r", 1, "-o", "json"]
        command = [str(part) for part in [self._path, "-m", engine.path, *what, *settings]]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)  # noqa: S603 - built here
        if done.returncode:
            raise MissingError(f"llama-bench failed: {done.stderr[-500:].decode('utf-8', 'replace')}")
        found = result(done.stdout)
        if engine.placement.gpus and found.backends == "CPU":
            raise MissingError(
                f"{self._path} was built without the GPU that Python computes with",
                hint="build it with the CMAKE_ARGS of llama-cpp-python, or compare without: --gpu-layers 0",
            )
        return statistics.median(found.samples_ts)


def result(output: bytes) -> Result:
    """Read the JSON of a llama-bench that made one test; raises ValueError for any other."""
    results = msgspec.json.decode(output, type=list[Result])
    if len(results) != 1 or not results[0].samples_ts:
        raise ValueError(f"llama-bench made {len(results)} tests, not one")
    return results[0]


def find(given: Path | None) -> Path:
    """Give the path of llama-bench: the one given, or one that is built on the first call (ten minutes on two cores).

    CMAKE_ARGS counts as it does for llama-cpp-python. Raises MissingError where it cannot be built.
    """
    if given is not None:
        if not given.exists():
            raise MissingError(f"{given}: no such file", hint="--llama-bench wants the path of the program")
        return given
    return _built("llama-bench", [])


def rpc_server() -> Path:
    """Give the path of ggml-rpc-server, which is built on the first call.

    CMAKE_ARGS counts as it does for llama-cpp-python. Raises MissingError where it cannot be built.
    """
    return _built("ggml-rpc-server", ["-DGGML_RPC=ON"])


def _built(target: str, needed: list[str]) -> Path:
    """Give the path of a program, built in a folder for these flags where it is not yet."""
    folder = platformdirs.user_cache_path("glimp", appauthor=False) / f"llama-cpp-{RELEASE}"
    given = shlex.split(os.environ.get("CMAKE_ARGS", ""))
    flags = [*given, *(flag for flag in needed if flag not in given)]
    build = folder / "-".join(["build", *flags]).replace("/", "_")
    program = build / "bin" / target
    if not program.exists():
        _build(target, _source(folder), build, flags)
    return program


def _source(folder: Path) -> Path:
    """Download and unpack the source distribution, once; give the folder of llama.cpp in it."""
    source = folder / f"llama_cpp_python-{RELEASE}" / "vendor" / "llama.cpp"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        _run([*download, "--dest", str(folder), f"llama-cpp-python=={RELEASE}"])
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()
    return source


def _build(target: str, source: Path, build: Path, flags: list[str]) -> None:
    print(f"building {target} in {build}: about ten minutes on two cores", file=sys.stderr)
    settings = ["-DCMAKE_BUILD_TYPE=Release", *(f"-DLLAMA_BUILD_{part}=OFF" for part in _NOT_NEEDED), *flags]
    _run(["cmake", "-S", str(source), "-B", str(build), *settings])
    _run(["cmake", "--build", str(build), "--target", target, "--parallel", str(os.cpu_count() or 1)])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip and cmake
    except FileNotFoundError as error:
        raise MissingError(f"{command[0]} is not installed, and llama.cpp has to be built with it") from error
    if done.returncode:
        raise MissingError(f"llama.cpp could not be built: {' '.join(command[:4])} said {done.stderr[-500:]}")


if __name__ == "__main__":
    print(rpc_server())
