"""Fixtures: a home of our own, tiny models, the real pair, llama.cpp's vocabularies and templates."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

import glimp_local
from glimp_local import load_pair
from glimp_local.engines.llama import proof
from glimp_local.engines.llama.binding import RELEASE
from glimp_local.engines.llama.proof import Verdict
from glimp_local.pair import Pair
from tests.support import commands, hub_server, markers, pulling, rated, tiny_models, tiny_recurrent, vllm_server
from tests.support.commands import Glimp
from tests.support.hub_server import Hub
from tests.support.sessions import GREEDY, Open
from tests.support.sharing import made_once
from tests.support.tiny_models import LARGE, SMALL, byte_alphabet, write_story
from tests.support.vllm_server import VllmServer
from training import hf_folder

# How long an example takes says nothing on a machine that does other things, too.
settings.register_profile("untimed", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("untimed")

BUILTIN = Path(glimp_local.__file__).parent / "builtin"
REAL_SMALL = "smollm2-135m-instruct-q4_1.gguf"
REAL_LARGE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"


def pytest_configure() -> None:
    """Hear Ctrl-C in the background of a shell, and a closed terminal under nohup: children would ignore both, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (hangup := getattr(signal, "SIGHUP", None)) is not None and signal.getsignal(hangup) is signal.SIG_IGN:
        signal.signal(hangup, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    markers.mark(items)


@pytest.fixture(autouse=True)
def processes_are_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    markers.refuse_processes(request.node, monkeypatch)


@pytest.fixture(scope="session")
def verdict() -> Verdict:
    """Try llama.cpp out once for all tests."""
    found = proof.prove()
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> Path:
    """Give each test its own configuration, data and hub cache: none reads or writes the user's.

    What llama.cpp can do on this machine is known there, and how fast it would be is made up.
    """
    folder = tmp_path / "home"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith(("GLIMP_", "HF_")) and name not in {"GLIMP_REAL_PAIR", vllm_server.VARIABLE}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    commands.read_hub_settings()
    proof.keep(verdict)
    rated.make_up(monkeypatch)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny models once for all workers; give their folder."""
    return made_once(tmp_path_factory, "tiny", _write_tiny_models)


def _write_tiny_models(folder: Path) -> None:
    write_story(folder / "large.gguf", LARGE, seed=1)
    write_story(folder / "small.gguf", SMALL, seed=2)
    write_story(folder / "looping.gguf", tiny_models.LOOPING)
    write_story(folder / "endless.gguf", tiny_models.ENDLESS)
    write_story(folder / "patient.gguf", tiny_models.WANDERING, context=16384)
    write_story(folder / "rambling.gguf", tiny_models.RAMBLING, context=16384)
    write_story(folder / "silent.gguf", tiny_models.SILENT)
    write_story(folder / "calling.gguf", LARGE, template=tiny_models.CALLING, context=2048)
    write_story(folder / "plain.gguf", SMALL, template=tiny_models.CHATML)
    write_story(folder / "no-template.gguf", SMALL, template=None)
    write_story(folder / "other-vocabulary.gguf", LARGE, vocabulary=tiny_models.Vocabulary(first="<zero>"), seed=3)
    write_story(folder / "padded.gguf", LARGE, vocabulary=tiny_models.Vocabulary(extra=40))
    tiny_models.write_attention(folder / "attention.gguf")
    tiny_models.write_sliding_window(folder / "sliding-window.gguf")
    tiny_recurrent.write_recurrent(folder / "recurrent.gguf")
    tiny_recurrent.write_hybrid(folder / "hybrid.gguf")
    tiny_recurrent.write_delta_net(folder / "delta-net.gguf")
    tiny_recurrent.write_mamba_hybrid(folder / "mamba-hybrid.gguf")


@pytest.fixture(scope="session")
def real_pair() -> tuple[Path, Path]:
    """Give the paths of two published models; skip, saying so, where they are not."""
    folder = Path(os.environ.get("GLIMP_REAL_PAIR", ""))
    paths = folder / REAL_SMALL, folder / REAL_LARGE
    if not os.environ.get("GLIMP_REAL_PAIR") or not all(path.exists() for path in paths):
        pytest.skip(f"GLIMP_REAL_PAIR names no folder with {REAL_SMALL} and {REAL_LARGE}")
    return paths


@pytest.fixture(scope="session")
def hf_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the built-in pair as Hugging Face folders, once for all workers: `small` and `large` in this folder."""
    return made_once(tmp_path_factory, "hf", _write_hf_folders)


def _write_hf_folders(folder: Path) -> None:
    for model in ("small", "large"):
        hf_folder.write(BUILTIN / f"{model}.gguf", folder / model)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """Give the Python that has vLLM and transformers; skip, saying so, where none is named."""
    return vllm_server.vllm_python()


@pytest.fixture(scope="session")
def vllm_small(vllm_python: Path, hf_folders: Path) -> Iterator[VllmServer]:  # noqa: ARG001 - skips before
    """Serve the built-in small model with vLLM; each worker of a parallel run starts its own, 2.6 GB each."""
    with VllmServer(hf_folders / "small", cores=str(min(os.sched_getaffinity(0)))) as server:
        yield server


@pytest.fixture(scope="session")
def vllm_large(vllm_python: Path, hf_folders: Path) -> Iterator[VllmServer]:  # noqa: ARG001 - skips before
    """Serve the built-in large model with vLLM."""
    with VllmServer(hf_folders / "large", cores=str(max(os.sched_getaffinity(0)))) as server:
        yield server


@pytest.fixture(scope="session")
def llama_cpp_models(request: pytest.FixtureRequest) -> Path:
    """Give llama.cpp's own folder of vocabularies and templates, out of the binding's source distribution.

    It is downloaded once with pip and kept in pytest's cache; where that fails the tests on it are skipped, but never
    in continuous integration.
    """
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("llama-cpp-source")
    models = folder / f"llama_cpp_python-{RELEASE}" / "vendor" / "llama.cpp" / "models"
    with FileLock(folder / ".lock"):  # another worker may be at it
        _download(folder, models)
    return models


def _download(folder: Path, models: Path) -> None:
    if not models.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        done = subprocess.run(
            [*command, "--dest", folder, f"llama-cpp-python=={RELEASE}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = f"llama-cpp-python's source distribution could not be downloaded: {done.stderr[-300:]}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            wanted = [member for member in tar if "/vendor/llama.cpp/models/" in member.name]
            tar.extractall(folder, wanted, filter="data")
        archive.unlink()


@pytest.fixture
def open_pair(tiny: Path) -> Iterator[Open]:
    opened: list[Pair] = []

    def open_(small: str | None = "small", large: str | None = "large", **settings: Any) -> Pair:
        pair = load_pair(
            small=small and tiny / f"{small}.gguf",
            large=large and tiny / f"{large}.gguf",
            # Which drafts pay, and who can read along, hangs on the machine.
            **{"sampling": GREEDY, "draft": "off", "catch_up": "lazy", **settings},
        )
        opened.append(pair)
        return pair

    yield open_
    for pair in opened:
        pair.close()


@pytest.fixture
def in_bytes(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    """Open a pair whose model writes a text byte by byte, so that characters and markers take several tokens."""
    opened: list[Pair] = []

    def open_(text: str, other: Path | None = None, **settings: Any) -> Pair:
        # Every byte of the text occurs once, or a table of single tokens could not tell what follows.
        spelled = [byte_alphabet()[byte] for byte in text.encode()]
        assert len(set(spelled)) == len(spelled)
        table: dict[str, dict[str, float]] = {"\n": {spelled[0]: 9.0}}
        for before, after in pairwise(spelled):
            table[before] = {after: 9.0}
        table[spelled[-1]] = {"<|im_end|>": 9.0}
        path = write_story(tmp_path / "bytes.gguf", table, spelled=True)
        pair = load_pair(small=path, large=other or path, sampling=GREEDY, **settings)
        opened.append(pair)
        return pair

    yield open_
    for pair in opened:
        pair.close()


@pytest.fixture
def small(tiny: Path) -> Path:
    return tiny / "small.gguf"


@pytest.fixture
def large(tiny: Path) -> Path:
    return tiny / "large.gguf"


@pytest.fixture
def endless(tiny: Path) -> Path:
    """Never ends a thought by itself, and repeats no step where it is drawn at temperature 1."""
    return tiny / "rambling.gguf"


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub with the built-in pair on it, as a pair "tiny" of the user's models.toml."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with hub_server.serving() as hub:
        pulling.fill(hub)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        file = home / "config" / "glimp" / "models.toml"
        file.parent.mkdir(parents=True)
        file.write_text(pulling.pair(hub))
        yield hub


@pytest.fixture
def glimp(tiny: Path, request: pytest.FixtureRequest) -> Glimp:
    """Run `glimp` in this process; of a test that is marked `process`, in one of its own."""
    return Glimp(tiny, apart=request.node.get_closest_marker("process") is not None)


@pytest.fixture
def rambling(tiny: Path, tmp_path: Path) -> list[str]:
    """Flags for a pair that never comes to an end."""
    file = tmp_path / "models.toml"
    file.write_text(
        "[pairs.rambling]\nsampling = {temperature = 1.0, top_k = 9, top_p = 1.0, min_p = 0.0}\n"
        + "".join(f'{model} = {{path = "{tiny / "rambling.gguf"}"}}\n' for model in ("small", "large")),
        encoding="utf-8",
    )
    return ["--pair", "rambling", "--seed", "1", "--models", str(file)]
