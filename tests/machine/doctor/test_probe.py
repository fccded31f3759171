"""llama.cpp tried out in a process of its own: what is known afterwards, also where it dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.engines.llama.release import RELEASE, install_command
from glimp_local.machine.doctor.probe import probe


@pytest.fixture
def llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put another llama_cpp before the real one; give its file."""
    file = tmp_path / "fake" / "llama_cpp" / "__init__.py"
    file.parent.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "fake"))
    return file


def test_a_token_comes_out_of_what_is_installed() -> None:
    found = probe()
    assert found.objection is None
    assert found.build is not None
    assert found.build.release == RELEASE
    assert "CPU" in found.build.backends
    assert found.build.ggml.startswith("ggml ")
    assert "=" in found.build.features
    assert [device.kind for device in found.build.devices].count("CPU") == 1
    assert found.proof is not None
    assert 0 < found.proof.seconds < 60
    assert found.proof.layers_on_gpu == found.proof.layers if found.build.offloads else found.proof.layers == 0


def test_a_library_that_is_missing_is_named(llama_cpp: Path) -> None:
    llama_cpp.write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    found = probe()
    assert (found.build, found.proof) == (None, None)
    assert found.objection is not None
    assert found.objection.error == "llama-cpp-python cannot be loaded: libcuda.so.1: cannot open shared object file"
    assert found.objection.hint == f"compile it on this machine: {install_command()}"


def test_another_release_is_said_with_the_command_that_mends_it(llama_cpp: Path) -> None:
    llama_cpp.write_text(
        "from types import SimpleNamespace\n"
        "__version__ = '0.2.0'\n"
        "llama_log_callback = lambda function: function\n"
        "llama_context_default_params = lambda: SimpleNamespace(n_batch=2048, n_ubatch=512)\n"
    )
    (llama_cpp.parent / "_ggml.py").write_text("")
    found = probe()
    assert found.objection is not None
    assert "llama-cpp-python is 0.2.0" in found.objection.error
    assert found.objection.hint == f"pip install llama-cpp-python=={RELEASE}"


def test_a_build_for_another_processor_ends_only_its_own_process(llama_cpp: Path) -> None:
    llama_cpp.write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    found = probe()
    assert found.objection is not None
    assert "ended by SIGILL" in found.objection.error


def test_a_gpu_that_aborts_the_process_leaves_the_build_known_and_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('glimp_local.machine.doctor.probe' in argument for argument in sys.orig_argv):\n"
        "    import os\n"
        "    from glimp_local.engines.llama.engine import Engine\n"
        "    def abort(*_, **__):\n"
        "        sys.stderr.write('CUDA error: no kernel image is available'); sys.stderr.flush(); os.abort()\n"
        "    Engine.__init__ = abort\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = probe()
    assert found.build is not None
    assert found.proof is None
    assert found.objection is not None
    assert found.objection.error.endswith("ended by SIGABRT: CUDA error: no kernel image is available")


def test_one_that_hangs_is_ended(llama_cpp: Path) -> None:
    llama_cpp.write_text("import time; time.sleep(60)")
    found = probe(seconds=1)
    assert found.objection is not None
    assert found.objection.error == "there was no result in 1 seconds"


def test_a_module_of_the_same_name_in_this_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert probe().proof is not None
