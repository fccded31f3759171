"""Whether llama.cpp computes on this machine: found out in a process of its own, and kept."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from glimp_local import apart
from glimp_local.engines.llama import binding, proof, release
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.proof import Attempt, Choice, Verdict
from glimp_local.engines.llama.proof_models import WRITABLE, write_model
from glimp_local.errors import BindingError, CancelledError
from glimp_local.models.gguf.header import read_header
from glimp_local.paths import data_folder
from tests.support.commands import Glimp

DYING = """
import os, signal, sys
if "glimp_local.engines.llama.proving" in sys.orig_argv:
    from glimp_local.engines.llama.bare import BareModel
    loaded, decode = BareModel.__init__, BareModel.decode
    def init(self, path, options, *, context):
        extra_buffers = self.extra_buffers = options.extra_buffers
        self.dies = {condition}
        loaded(self, path, options, context=context)
    def compute(self, ids):
        if self.dies:
            os.kill(os.getpid(), signal.{signal})
        decode(self, ids)
    BareModel.__init__, BareModel.decode = init, compute
"""


def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, signal: str = "SIGSEGV") -> None:
    """Have the process that tries llama.cpp out end itself under a condition; forget what is known."""
    folder = tmp_path / "dying"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DYING.format(condition=condition, signal=signal))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (data_folder() / "proof.json").unlink()
    proof.forget()


@pytest.fixture(autouse=True)
def forgetful() -> None:
    proof.forget()


def test_every_number_type_is_multiplied_on_this_machine(verdict: Verdict) -> None:
    assert verdict.attempts[-1].failure is None
    assert verdict.choice is not None
    assert verdict.features == binding.system_info()
    assert verdict.gpus == tuple(binding.gpus())


@pytest.mark.parametrize("type_name", sorted(WRITABLE))
def test_a_model_for_the_proof_is_a_sound_gguf_of_its_type(tmp_path: Path, type_name: str) -> None:
    write_model(tmp_path / "a.gguf", type_name)
    header = read_header(tmp_path / "a.gguf")
    matrices = [tensor for tensor in header.tensors if tensor.name.startswith("blk.0.ffn_up")]
    assert [(tensor.type, tensor.shape) for tensor in matrices] == [(type_name, (256, 256))]
    assert header.size_bytes < 4_000_000


def test_what_is_known_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    monkeypatch.setattr(proof, "prove", lambda _: pytest.fail("it was tried again"))
    assert proof.settle() == verdict.choice
    assert proof.take_news() is None


def test_another_gpu_is_tried_out(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    monkeypatch.setattr(binding, "gpus", lambda: ["a new GPU"])
    monkeypatch.setattr(proof, "prove", lambda _: verdict)
    assert proof.settle() == verdict.choice


@pytest.mark.slow
def test_kernels_that_crash_are_done_without_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glimp: Glimp
) -> None:
    dying(tmp_path, monkeypatch, "extra_buffers and 'Q4_1' in path.name")
    first = glimp("solve", "--text", "Mia has 24 marbles. Mia finds 17 more. How many marbles does Mia have now?")
    assert first.code == 0
    assert "41" in first.out
    assert first.err.count("crash on this machine (ended by SIGSEGV while multiplying Q4_1 matrices)") == 1
    assert "-DGGML_NATIVE=OFF" in first.err
    kept = proof.known()
    assert kept is not None
    assert kept.choice == Choice(extra_buffers=False)
    second = glimp("solve", "--text", "Mia has 24 marbles. Mia finds 17 more. How many marbles does Mia have now?")
    assert (second.code, second.out) == (0, first.out)
    assert "crash" not in second.err


def test_the_choice_reaches_llama_cpp(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    load = llama_cpp.llama_model_load_from_file

    def note(path: bytes, params: Any) -> Any:
        asked.append(params.use_extra_bufts)
        return load(path, params)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", note)
    for extra_buffers in (True, False):
        proof.keep(Verdict((Attempt(Choice(extra_buffers=extra_buffers), None),), tuple(binding.gpus()), ""))
        proof.forget()
        Engine(small).close()
    assert asked == [True, False]


def test_where_nothing_works_the_error_has_the_command_that_rebuilds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glimp: Glimp
) -> None:
    dying(tmp_path, monkeypatch, "True", "SIGILL")
    result = glimp("solve", "--text", "What is 1 + 1?")
    assert result.code == BindingError.exit_code
    assert "llama.cpp crashes on this machine, with every option tried: ended by SIGILL" in result.err
    assert "hint: CMAKE_ARGS=" in result.err
    assert "Traceback" not in result.err


def test_numbers_that_are_none_count_as_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying(tmp_path, monkeypatch, "False")
    file = tmp_path / "dying" / "sitecustomize.py"
    file.write_text(
        "import sys\nif 'glimp_local.engines.llama.proving' in sys.orig_argv:\n"
        "    from glimp_local.engines.llama import proof_models\n    proof_models._SCALE = b'\\x00\\x7e'\n"
    )
    found = proof.prove()
    assert found is not None
    assert found.failure == "llama.cpp computed a value that is not a number while multiplying Q8_0 matrices"


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_a_process_that_somebody_ends_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: str
) -> None:
    dying(tmp_path, monkeypatch, "True", signal)
    assert proof.prove() is None
    assert proof.settle() == Choice()
    assert proof.known() is None


def test_a_crash_is_not_forgotten_if_the_next_choice_cannot_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(tmp_path, monkeypatch, "True", "SIGSEGV if self.extra_buffers else signal.SIGKILL")
    assert proof.settle() == Choice(extra_buffers=False)
    assert proof.known() is None  # it is tried again the next time


@pytest.mark.slow
def test_a_choice_that_takes_too_long_is_not_given_up_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying(tmp_path, monkeypatch, "extra_buffers and __import__('time').sleep(60)")
    monkeypatch.setattr(proof, "_SECONDS", 3.0)
    assert proof.settle() == Choice(extra_buffers=False)
    assert proof.known() is None


def test_a_cancel_ends_the_proof_at_once_and_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying(tmp_path, monkeypatch, "__import__('time').sleep(60)")
    cancel = threading.Event()
    threading.Timer(1.0, cancel.set).start()
    with pytest.raises(CancelledError):
        proof.settle(cancel)
    assert proof.known() is None


def test_without_a_temporary_folder_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert proof.prove() is None


@pytest.mark.parametrize(
    ("code", "crashed", "how"),
    [
        (0, False, "ended with the code 0x0"),
        (-11, True, "ended by SIGSEGV"),
        (-15, False, "ended by SIGTERM"),
        (-35, False, "ended by signal 35"),
        (0xC0000005, True, "ended with the code 0xc0000005"),
        (3, True, "ended with the code 0x3"),
    ],
)
def test_a_crash_is_told_from_other_endings(
    monkeypatch: pytest.MonkeyPatch, code: int, crashed: bool, how: str
) -> None:
    on_windows = code > 0
    monkeypatch.setattr(apart, "command", lambda _: [sys.executable, "-c", "pass"])
    monkeypatch.setattr(subprocess.Popen, "returncode", property(lambda _: code, lambda *_: None), raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(apart, "ON_WINDOWS", on_windows)
        ending = apart.run("any", seconds=60)
    assert (ending.crashed, ending.how) == (crashed, how)


@pytest.mark.slow
def test_the_doctor_says_what_was_chosen_and_what_speed_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glimp: Glimp
) -> None:
    dying(tmp_path, monkeypatch, "extra_buffers and 'Q4_0' in path.name")
    found = json.loads(glimp("doctor", "--json").out)
    (finding,) = (finding for finding in found["findings"] if finding["subject"] == "kernels")
    assert finding["level"] == "to know"
    assert "ended by SIGSEGV while multiplying Q4_0 matrices" in finding["says"]
    assert "times as fast" in finding["says"]
    assert "-DGGML_NATIVE=OFF" in finding["do"]
    assert [attempt["failure"] is None for attempt in found["kernels"]["attempts"]] == [False, True]
    known = proof.known()
    assert known is not None
    assert known.choice == Choice(extra_buffers=False)


def test_the_doctor_needs_something_done_where_nothing_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glimp: Glimp
) -> None:
    dying(tmp_path, monkeypatch, "True", "SIGABRT")
    result = glimp("doctor")
    assert result.code == 1
    assert "with every option tried: ended by SIGABRT while multiplying F16 matrices" in result.out


@pytest.mark.parametrize("content", [b"", b"[]", b'{"verdicts": 3}', b"[" * 200_000, b'{"verdicts": {"a": {}}}'])
def test_a_damaged_file_of_verdicts_is_as_good_as_none(content: bytes, verdict: Verdict) -> None:
    (data_folder() / "proof.json").write_bytes(content)
    assert proof.known() is None
    proof.keep(verdict)
    assert proof.known() == verdict


def test_of_many_verdicts_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    for number in range(40):
        monkeypatch.setattr(proof, "machine_key", lambda number=number: str(number))
        proof.keep(verdict)
    kept = json.loads((data_folder() / "proof.json").read_bytes())["verdicts"]
    assert list(kept) == [str(number) for number in range(24, 40)]


def test_another_build_is_tried_out_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    proof.machine_key.cache_clear()
    before = proof.machine_key()
    monkeypatch.setattr(release, "RELEASE", "0.3.37")
    proof.machine_key.cache_clear()
    assert proof.machine_key() != before
    monkeypatch.undo()
    proof.machine_key.cache_clear()
    assert proof.machine_key() == before
