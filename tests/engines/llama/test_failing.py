"""The engine where it cannot go on: cancelled, full, closed, or given what llama.cpp does not load."""

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import llama_cpp
import numpy as np
import pytest

from glimp_local.engines.llama import binding
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import (
    BindingError,
    CancelledError,
    ContextFullError,
    DecodeError,
    GlimpError,
    ModelMissingError,
    ModelUnreadableError,
    UsageError,
)
from glimp_local.messages import Message
from glimp_local.settings import EngineOptions, SamplingSettings
from tests.support.engines import IDS, TOLERANCE, drawing, fresh_logits
from tests.support.rendering import renderer


def test_there_are_no_logits_before_a_token(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="feed a token"):
        engine.logits()
    with pytest.raises(RuntimeError, match="logits of the last token"):
        engine.sample(drawing(engine, SamplingSettings(), seed=1))


def test_a_full_context_loses_nothing(engine: Engine) -> None:
    engine.feed(IDS[:250])
    for token in IDS[250:256]:
        engine.decode(token)
    before = engine.logits().copy()
    with pytest.raises(ContextFullError, match="256 tokens"):
        engine.decode(1)
    with pytest.raises(ContextFullError):
        engine.feed([1, 2])
    assert engine.ids == IDS[:256]
    assert np.array_equal(engine.logits(), before)
    engine.sync(IDS[:200])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:200]), atol=TOLERANCE)


def test_a_cancel_stops_between_two_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = engine._compute

    def cancel_after_the_second(count: int) -> None:
        compute(count)
        if len(engine.ids) >= 32:
            engine.cancel.set()

    monkeypatch.setattr(engine, "_compute", cancel_after_the_second)
    with pytest.raises(CancelledError):
        engine.feed(IDS[:200])
    assert engine.ids == IDS[:64]
    engine.cancel.clear()
    monkeypatch.undo()
    engine.sync(IDS[:200])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:200]), atol=TOLERANCE)


def test_a_failed_computation_leaves_the_engine_where_it_stood(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.feed(IDS[:40])
    monkeypatch.setattr(llama_cpp, "llama_decode", lambda *_: -2)
    with pytest.raises(DecodeError, match="-2"):
        engine.decode(5)
    monkeypatch.undo()
    assert engine.ids == IDS[:40]
    engine.sync(IDS[:41])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:41]), atol=TOLERANCE)


def test_loading_reports_progress_and_can_be_cancelled(tiny: Path) -> None:
    heard: list[float] = []
    Engine(tiny / "attention.gguf", on_progress=heard.append).close()
    assert heard[-1] == 1
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError, match="while loading"):
        Engine(tiny / "attention.gguf", cancel=cancel)


@pytest.mark.parametrize("flash_attention", ["auto", "on"])
@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_a_cache_type_that_the_heads_of_a_model_do_not_fit_is_refused_with_a_hint(
    tiny: Path, cache_type: Literal["q8_0", "q4_0"], flash_attention: Literal["auto", "on"]
) -> None:
    options = EngineOptions(cache_type=cache_type, flash_attention=flash_attention)
    with pytest.raises(UsageError, match=rf"cannot keep its cache as {cache_type}: .*block size 32") as caught:
        Engine(tiny / "sliding-window.gguf", options, context=256)
    assert "f16" in str(caught.value.hint)


def test_a_context_that_cannot_be_made_is_an_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda *_: None)
    with pytest.raises(GlimpError, match="no context of 256 tokens for attention: no reason given"):
        Engine(tiny / "attention.gguf", context=256)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"nowhere\.gguf"):
        Engine(tmp_path / "nowhere.gguf")


def test_a_text_file_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    with pytest.raises(ModelUnreadableError, match="no GGUF file"):
        Engine(path)


def test_a_folder_is_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadableError, match="is a folder"):
        Engine(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.9])
def test_a_gguf_cut_short_says_why(tiny: Path, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.gguf"
    content = (tiny / "attention.gguf").read_bytes()
    path.write_bytes(content[: max(8, int(len(content) * keep))])
    with pytest.raises(ModelUnreadableError, match=r"cut\.gguf is cut short or damaged: ") as caught:
        Engine(path)
    assert "download it again" in str(caught.value.hint)


def test_a_model_without_chat_template_says_what_to_do(tiny: Path) -> None:
    engine = Engine(tiny / "no-template.gguf")
    with pytest.raises(ModelUnreadableError, match="no chat template") as caught:
        engine.template(renderer())
    assert "--chat-template" in str(caught.value.hint)
    assert engine.template(renderer(), "{{ messages[0].content }}").render([Message("user", "hi")]) == "hi"
    engine.close()


def test_closing_twice_is_safe(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf")
    engine.close()
    engine.close()


def test_an_engine_left_open_does_not_disturb_the_end_of_the_process(tiny: Path) -> None:
    path = str(tiny / "attention.gguf")
    code = f"from glimp_local.engines.llama.engine import Engine; from pathlib import Path; e = Engine(Path({path!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_release_of_the_binding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "__version__", "0.3.35")
    with pytest.raises(BindingError, match=r"0\.3\.35") as caught:
        binding._check()
    assert caught.value.hint == f"pip install llama-cpp-python=={binding.RELEASE}"


def test_structs_that_moved_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Moved(ctypes.Structure):
        _fields_ = [("n_batch", ctypes.c_uint32), ("n_ubatch", ctypes.c_uint32)]

    monkeypatch.setattr(llama_cpp, "llama_context_default_params", lambda: Moved(16384, 1))
    with pytest.raises(BindingError):
        binding._check()


def test_a_closed_engine_says_so(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf")
    engine.feed(IDS[:5])
    sampler = drawing(engine, SamplingSettings(), seed=1)
    engine.close()
    uses: list[Callable[[], object]] = [
        engine.logits,
        lambda: engine.sample(sampler),
        partial(engine.feed, [1]),
        partial(engine.decode, 1),
        partial(engine.rewind, 0),
    ]
    for use in uses:
        with pytest.raises(GlimpError, match="closed"):
            use()
    with pytest.raises(GlimpError, match="closed"):
        engine.vocabulary.tokenize("a")


def test_what_the_progress_raises_comes_out_of_the_loading(tiny: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(tiny / "attention.gguf", on_progress=interrupt)


def test_too_many_proportions_of_gpus_are_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="GPUs at most"):
        Engine(tiny / "attention.gguf", EngineOptions(tensor_split=(1.0,) * 1000))
