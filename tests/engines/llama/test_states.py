"""What an engine holds, written to a file and taken up by another engine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from glimp_local.engines.llama import binding, states
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import CacheError
from glimp_local.models.identity import former_identity
from glimp_local.settings import EngineOptions
from tests.support.engines import ARCHITECTURES, IDS, TOLERANCE, fresh_logits


def saved(model: Path, file: Path, *, snapshot: int = 200, length: int = 300) -> Path:
    """Let an engine read IDS, and write what it holds."""
    engine = Engine(model, context=512)
    engine.feed(IDS[:snapshot])
    engine.snapshot()
    engine.feed(IDS[snapshot:length])
    most = engine.state_bytes
    assert most - 1024 < engine.save_state(file) == file.stat().st_size <= most
    engine.close()
    return file


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_another_engine_goes_on_from_a_file_as_if_it_had_read_all_itself(tiny: Path, tmp_path: Path, name: str) -> None:
    model = tiny / f"{name}.gguf"
    file = saved(model, tmp_path / "x.state")
    engine = Engine(model, context=512)
    engine.feed(IDS[50:70])  # what was held before is gone
    assert engine.load_state(file) == 300
    assert engine.ids == IDS[:300]
    with pytest.raises(RuntimeError, match="no logits"):
        engine.logits()
    before = engine.fed
    engine.sync(IDS[:310])
    assert engine.fed - before == 10
    assert np.allclose(engine.logits(), fresh_logits(model, IDS[:310]), atol=TOLERANCE)
    engine.close()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_comes_next_is_to_the_last_bit_what_the_first_engine_computes(
    tiny: Path, tmp_path: Path, name: str
) -> None:
    engines = [Engine(tiny / f"{name}.gguf", context=512) for _ in range(2)]
    engines[0].feed(IDS[:300])
    engines[0].save_state(tmp_path / "x.state")
    engines[1].load_state(tmp_path / "x.state")
    for token in IDS[300:310]:
        for engine in engines:
            engine.decode(token)
        assert np.array_equal(engines[0].logits(), engines[1].logits())
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_snapshots_are_in_the_file_so_that_it_can_go_back(tiny: Path, tmp_path: Path, name: str) -> None:
    model = tiny / f"{name}.gguf"
    engine = Engine(model, context=512)
    engine.load_state(saved(model, tmp_path / "x.state"))
    assert engine.comes_back_to(IDS[:200]) != engine.keeps_past
    target = [*IDS[:200], *IDS[205:215]]
    engine.sync(target)
    assert engine.fed == 10
    assert np.allclose(engine.logits(), fresh_logits(model, target), atol=TOLERANCE)
    engine.close()


def test_drafted_tokens_are_no_part_of_the_file(tiny: Path, tmp_path: Path) -> None:
    engine, other = (Engine(tiny / "attention.gguf", context=512) for _ in range(2))
    engine.feed(IDS[:100])
    engine.decode(IDS[100], IDS[201:204])
    engine.save_state(tmp_path / "x.state")
    assert other.load_state(tmp_path / "x.state") == 101
    other.feed(IDS[101:110])
    assert np.allclose(other.logits(), fresh_logits(engine.path, IDS[:110]), atol=TOLERANCE)
    engine.close()
    other.close()


def test_an_engine_that_holds_nothing_can_be_saved_and_taken_up(tiny: Path, tmp_path: Path) -> None:
    engine = Engine(tiny / "attention.gguf", context=512)
    engine.save_state(tmp_path / "x.state")
    assert engine.load_state(tmp_path / "x.state") == 0
    engine.feed(IDS[:20])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:20]), atol=TOLERANCE)
    engine.close()


def assert_refused(engine: Engine, file: Path, message: str) -> None:
    """The file must be refused, and the engine work on from nothing."""
    engine.sync(IDS[:30])
    with pytest.raises(CacheError, match=message):
        engine.load_state(file)
    assert engine.ids == []
    engine.sync(IDS[:40])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:40]), atol=TOLERANCE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_cut_short_or_damaged_anywhere_is_refused(tiny: Path, tmp_path: Path, name: str) -> None:
    # llama.cpp would abort the process.
    file = saved(tiny / f"{name}.gguf", tmp_path / "x.state")
    whole = file.read_bytes()
    engine = Engine(tiny / f"{name}.gguf", context=512)
    for kept in (0, 4, 11, 20, 500, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        file.write_bytes(whole[:kept])
        assert_refused(engine, file, "x.state is damaged")
    for at in (0, 8, 20, 1300, len(whole) // 2, len(whole) - 40, len(whole) - 20, len(whole) - 10, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert_refused(engine, file, "x.state is damaged")
    file.write_bytes(whole)
    assert engine.load_state(file) == 300
    engine.close()


def test_a_file_of_another_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    for name in ARCHITECTURES:
        file = saved(tiny / f"{name}.gguf", tmp_path / "x.state")
        for other in {*ARCHITECTURES, "small"} - {name}:
            engine = Engine(tiny / f"{other}.gguf", context=512)
            assert_refused(engine, file, "is of another model")
            engine.close()


def test_a_file_of_other_options_is_refused(tiny: Path, tmp_path: Path) -> None:
    file = saved(tiny / "attention.gguf", tmp_path / "x.state")
    for options, message in (
        (EngineOptions(cache_type="q8_0"), r"is of cache_type \w+, not q8_0"),
        (EngineOptions(flash_attention="off"), "cannot be taken up: "),
        (EngineOptions(swa_full=True, cache_type="q4_0"), r"is of cache_type \w+, not q4_0, swa_full false, not true"),
    ):
        engine = Engine(tiny / "attention.gguf", options, context=512)
        with pytest.raises(CacheError, match=message):
            engine.load_state(file)
        assert engine.ids == []
        engine.close()


def test_a_file_of_another_llama_cpp_is_refused(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tiny / "attention.gguf", tmp_path / "x.state")
    engine = Engine(tiny / "attention.gguf", context=512)
    monkeypatch.setattr(binding, "RELEASE", "9.9.9")
    assert_refused(engine, file, r"is of llama-cpp-python 0\.[\d.]+, not 9\.9\.9")
    engine.close()


def test_more_tokens_than_there_is_room_for_are_refused(tiny: Path, tmp_path: Path) -> None:
    file = saved(tiny / "attention.gguf", tmp_path / "x.state")
    engine = Engine(tiny / "attention.gguf", context=128)
    assert_refused(engine, file, r"holds 300 tokens, more than the context \(128\)")
    engine.close()


@pytest.mark.parametrize("batch", [16, 256])
def test_a_state_is_taken_up_with_batches_of_another_size(tiny: Path, tmp_path: Path, batch: int) -> None:
    # A sliding-window cache is as large as the window and a batch.
    model = tiny / "sliding-window.gguf"
    file = saved(model, tmp_path / "x.state")
    engine = Engine(model, EngineOptions(batch=batch), context=512)
    engine.load_state(file)
    engine.sync(IDS[:320])
    assert engine.fed == 20
    assert np.allclose(engine.logits(), fresh_logits(model, IDS[:320]), atol=TOLERANCE)
    engine.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_and_the_engine_goes_on(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf", context=512)
    engine.feed(IDS[:100])
    with pytest.raises(CacheError, match="No space left on device"):
        engine.save_state(Path("/dev/full"))
    engine.sync(IDS[:110])
    assert engine.fed == 110
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:110]), atol=TOLERANCE)
    engine.close()


def touch(model: Path) -> None:
    """Let a file look written to since."""
    about = model.stat()
    os.utime(model, ns=(about.st_atime_ns, about.st_mtime_ns + 1))


def refuses(model: Path, file: Path, why: str) -> None:
    """Load a state into a new engine, which refuses it."""
    engine = Engine(model, context=512)
    with pytest.raises(CacheError, match=why):
        engine.load_state(file)
    engine.close()


def test_a_state_of_a_file_that_was_written_since_is_refused_even_if_it_looks_the_same(
    tiny: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(tiny / "large.gguf", tmp_path / "model.gguf"))
    file = saved(model, tmp_path / "x.state")
    touch(model)
    refuses(model, file, "of the model's file as it was before somebody wrote to it")


def test_what_an_earlier_glimp_kept_is_read_if_it_is_of_the_same_file(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def former(model: Path, _identity: str, options: EngineOptions) -> dict[str, str]:
        found = depends_on(model, former_identity(model), options)
        del found["written"]
        return found

    depends_on, model = states.depends_on, Path(shutil.copy(tiny / "large.gguf", tmp_path / "model.gguf"))
    with monkeypatch.context() as patch:
        patch.setattr(states, "depends_on", former)
        file = saved(model, tmp_path / "x.state")
    engine = Engine(model, context=512)
    assert engine.load_state(file) == len(engine.ids) > 0
    engine.close()
    touch(model)
    refuses(model, file, "is of another model")
