"""The engine on real llama.cpp: feeding, going back, sampling, where it runs."""

import logging
import os
import shutil
from pathlib import Path
from typing import Literal

import llama_cpp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimp_local.engines.llama import binding
from glimp_local.engines.llama.engine import Engine
from glimp_local.settings import MAX_ROLLBACK, STEP_SNAPSHOTS, EngineOptions, SamplingSettings
from tests.support.engines import ARCHITECTURES, HYBRIDS, IDS, TOLERANCE, drawing, fresh_logits


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_another_past_gives_clearly_other_logits(tiny: Path, name: str) -> None:
    path = tiny / f"{name}.gguf"
    for other in ([IDS[1], IDS[0], *IDS[2:20]], IDS[1:20], [*IDS[:17], 7, *IDS[18:20]]):
        assert np.abs(fresh_logits(path, other) - fresh_logits(path, IDS[:20])).max() > 5 * TOLERANCE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_feeding_in_pieces_equals_feeding_at_once(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", EngineOptions(batch=16), context=512)
    for start in range(0, 90, 7):
        engine.feed(IDS[start : min(start + 7, 90)])
    assert engine.ids == IDS[:90]
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:90]), atol=TOLERANCE)
    engine.close()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("lengths", [(300, 250), (300, 120), (300, 40), (300, 300), (300, 1), (150, 149, 290, 10)])
def test_going_back_and_on_equals_a_fresh_run(tiny: Path, name: str, lengths: tuple[int, ...]) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    engine.feed(IDS[:100])
    engine.snapshot()
    for turn, length in enumerate(lengths):
        # Each turn shares a beginning with what is held and then goes its own way.
        target = IDS[: length // 2] + [(token + turn) % 256 for token in IDS[length // 2 : length]]
        engine.sync(target)
        assert engine.ids == target
        assert np.allclose(engine.logits(), fresh_logits(engine.path, target), atol=TOLERANCE)
    engine.close()


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=6), which=st.sampled_from(ARCHITECTURES))
def test_ids_and_cache_always_agree(tiny: Path, lengths: list[int], which: str) -> None:
    engine = Engine(tiny / f"{which}.gguf", context=256)
    for turn, length in enumerate(lengths):
        engine.sync([(token + turn * (i > length // 2)) % 256 for i, token in enumerate(IDS[:length])])
        if turn % 2:
            engine.snapshot()
        assert llama_cpp.llama_memory_seq_pos_max(engine._cache.memory, 0) == len(engine.ids) - 1
    assert np.allclose(engine.logits(), fresh_logits(engine.path, engine.ids), atol=TOLERANCE)
    engine.close()


def test_only_plain_attention_goes_back_to_any_length(tiny: Path) -> None:
    kept = {}
    for name in ARCHITECTURES:
        engine = Engine(tiny / f"{name}.gguf", context=512)
        engine.feed(IDS[:100])
        engine.snapshot()
        engine.feed(IDS[100:400])
        kept[name] = (engine.keeps_past, engine.rewind(120))
        engine.close()
    assert kept == {
        "attention": (True, 120),
        "sliding-window": (False, 100),
        "recurrent": (False, 100),
        **dict.fromkeys(HYBRIDS, (False, 100)),
    }


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_hybrid_model_takes_back_guesses_and_nothing_that_was_computed_before_them(tiny: Path, name: str) -> None:
    path = tiny / f"{name}.gguf"
    engine = Engine(path, context=512)
    assert (engine.keeps_past, engine.most_drafted) == (False, MAX_ROLLBACK)
    engine.feed(IDS[:50])
    for drafted, true in ((3, 0), (3, 1), (2, 2), (3, 3), (9, 1), (1, 0)):
        start = len(engine.ids)
        guesses = IDS[start + 1 : start + 1 + true] + [7] * (drafted - true)
        engine.decode(IDS[start], guesses)
        assert engine.drafted == min(drafted, MAX_ROLLBACK)
        for token in IDS[start + 1 : start + 1 + true]:
            engine.decode(token)
        engine.decode(IDS[start + 1 + true])
        assert engine.ids == IDS[: start + 2 + true]
        assert np.allclose(engine.logits(), fresh_logits(path, engine.ids), atol=TOLERANCE)
    held = len(engine.ids)
    assert engine.rewind(held - 1) == 0, "of a batch of one token nothing is taken back"
    engine.feed(IDS[:60])
    assert engine.rewind(58) == 58, "of a prompt its last tokens are"
    assert engine.rewind(57) == 0, "once"
    engine.feed(IDS[:60])
    engine.snapshot()
    engine.feed(IDS[60:63])
    engine.rewind(62)
    engine.feed(IDS[62:70])
    assert engine.rewind(61) == 60, "the snapshot is still there"
    engine.feed(IDS[60:80])
    assert np.allclose(engine.logits(), fresh_logits(path, IDS[:80]), atol=TOLERANCE)
    engine.close()


@pytest.mark.parametrize("name", ["recurrent", *HYBRIDS])
def test_the_starts_of_the_latest_steps_are_remembered_beside_those_of_turns(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    for length in range(20, 200, 20):
        engine.feed(IDS[length - 20 : length])
        if length in {20, 40}:
            engine.snapshot()
        engine.snapshot_step()
    kept = range(180 - 20 * (STEP_SNAPSHOTS - 1), 181, 20)
    engine.feed(IDS[180:190])
    for length in reversed(kept):
        assert engine.rewind(length + 5) == length
        engine.feed(IDS[length : length + 7])
        assert np.allclose(engine.logits(), fresh_logits(engine.path, engine.ids), atol=TOLERANCE)
    assert engine.rewind(kept[0] - 1) == 40
    assert engine.rewind(39) == 20
    assert engine.rewind(19) == 0
    engine.close()


@pytest.mark.parametrize("name", HYBRIDS)
def test_behind_guesses_there_is_no_snapshot(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    engine.feed(IDS[:50])
    engine.snapshot_step()
    engine.decode(IDS[50], IDS[51:53])
    engine.snapshot_step()
    engine.snapshot()
    assert engine.drafted == 2
    engine.feed(IDS[51:80])
    assert engine.rewind(51) == 50
    engine.feed(IDS[50:60])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:60]), atol=TOLERANCE)
    engine.close()
    assert engine._cache._steps == []


def test_large_snapshots_are_fewer(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny / "hybrid.gguf", context=512)
    for limit, count in ((1, 1), (2**30, STEP_SNAPSHOTS)):
        monkeypatch.setattr("glimp_local.engines.llama.cache.STEP_SNAPSHOT_BYTES", limit)
        engine.rewind(0)
        for start in range(0, 100, 10):
            engine.feed(IDS[start : start + 10])
            engine.snapshot_step()
        assert len(engine._cache._steps) == count
    engine.close()


@pytest.mark.parametrize("name", ["attention", "sliding-window"])
def test_models_that_go_back_some_way_by_themselves_remember_no_steps(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    engine.feed(IDS[:100])
    engine.snapshot_step()
    assert engine._cache._steps == []
    engine.feed(IDS[100:120])
    assert engine.rewind(100) == 100
    engine.close()


@pytest.mark.parametrize("name", ["sliding-window", "recurrent"])
def test_other_models_take_nothing_back(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    assert engine.most_drafted == 0
    engine.close()


def test_a_whole_sliding_window_cache_needs_no_snapshot(tiny: Path) -> None:
    engine = Engine(tiny / "sliding-window.gguf", EngineOptions(swa_full=True), context=512)
    engine.feed(IDS)
    assert engine.keeps_past
    assert engine.rewind(40) == 40
    engine.close()


def test_syncing_feeds_only_what_is_new(engine: Engine) -> None:
    assert engine.sync(IDS[:50]) == 50
    assert engine.sync(IDS[:60]) == 10
    assert engine.sync(IDS[:60]) == 0
    # Going back leaves no logits behind: the last token is computed again.
    assert engine.sync(IDS[:30]) == 1


def test_greedy_sampling_takes_the_likeliest_token(engine: Engine) -> None:
    engine.feed(IDS[:20])
    sampler = drawing(engine, SamplingSettings(temperature=0), seed=1)
    assert engine.sample(sampler) == int(engine.logits().argmax())


def test_sampling_leaves_the_raw_logits(engine: Engine) -> None:
    sampler = drawing(engine, SamplingSettings(temperature=1.5, top_k=3, presence_penalty=1.0), seed=1)
    engine.feed(IDS[:20])
    before = engine.logits().copy()
    engine.sample(sampler)
    assert np.array_equal(before, engine.logits())


def test_a_seed_makes_sampling_repeatable(engine: Engine) -> None:
    def draw(seed: int) -> list[int]:
        sampler = drawing(engine, SamplingSettings(temperature=5.0, top_k=0, top_p=1.0), seed=seed)
        engine.sync(IDS[:20])
        return [engine.sample(sampler) for _ in range(20)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_penalties_follow_what_the_engine_holds(engine: Engine) -> None:
    sampler = drawing(engine, SamplingSettings(temperature=0, presence_penalty=100.0), seed=1)
    engine.feed([7] * 20)
    likeliest = int(engine.logits().argmax())
    assert engine.sample(sampler) == likeliest
    # With the likeliest token in the text, the penalty rules it out; without it, it is drawn again.
    engine.sync([*[7] * 10, likeliest, *[7] * 10])
    assert engine.sample(sampler) != likeliest
    engine.sync([7] * 20)
    assert engine.sample(sampler) == likeliest


def test_min_p_and_top_k_leave_only_likely_tokens(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf", context=256)
    engine.feed(IDS[:20])
    for kept, sampling in (
        (4, SamplingSettings(temperature=100, top_k=4, top_p=1)),
        (1, SamplingSettings(temperature=100, top_k=0, top_p=1, min_p=1)),
        (1, SamplingSettings(temperature=100, top_k=0, top_p=0)),
    ):
        sampler = drawing(engine, sampling, seed=1)
        likely = {int(token) for token in np.argsort(engine.logits())[-kept:]}
        assert {engine.sample(sampler) for _ in range(60)} == likely
    engine.close()


def test_no_more_context_is_taken_than_the_model_was_trained_for(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf", context=100_000)
    assert engine.context == engine.trained_context == 512
    engine.close()


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_a_quantised_cache_rounds_but_remembers(tiny: Path, cache_type: Literal["q8_0", "q4_0"]) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(flash_attention="on", cache_type=cache_type), context=256)
    engine.feed(IDS[:50])
    difference = np.abs(engine.logits() - fresh_logits(engine.path, IDS[:50]))
    assert 0 < difference.max() < {"q8_0": 0.2, "q4_0": 1.5}[cache_type]
    engine.close()


def test_the_cache_is_rounded_only_where_that_is_asked_for(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(cache_type="f16"), context=512)
    engine.feed(IDS[:50])
    assert np.array_equal(engine.logits(), fresh_logits(engine.path, IDS[:50]))
    engine.close()


@pytest.mark.parametrize("load_mode", ["read", "mmap"])
def test_the_way_of_loading_changes_no_logits(tiny: Path, load_mode: Literal["read", "mmap"]) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(load_mode=load_mode), context=512)
    engine.feed(IDS[:20])
    assert np.array_equal(engine.logits(), fresh_logits(engine.path, IDS[:20]))
    engine.close()


def test_native_log_lines_go_to_logging(
    tiny: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, logger="glimp_local.llama"):
        Engine(tiny / "attention.gguf").close()
    assert any("general.architecture" in record.message for record in caplog.records)
    assert capfd.readouterr() == ("", "")


def test_a_tiny_model_runs_on_one_thread(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(tiny / "attention.gguf", tmp_path / "x.gguf"))
    for options, expected in ((EngineOptions(), 1), (EngineOptions(threads=2), 2)):
        engine = Engine(copy, options)
        assert engine.placement.threads == expected
        engine.close()


def test_prompts_have_threads_of_their_own(tiny: Path) -> None:
    path = tiny / "attention.gguf"
    for options, expected, device in (
        (EngineOptions(), (1, 1), "CPU, 1 thread"),
        (EngineOptions(threads=2), (2, 2), "CPU, 2 threads"),
        (EngineOptions(threads_batch=3), (1, 3), "CPU, 1 thread, 3 for prompts"),
    ):
        engine = Engine(path, options)
        assert (engine.placement.threads, engine.placement.threads_batch) == threads_of(engine) == expected
        assert engine.placement.where == device
        engine.close()


def test_the_threads_of_a_living_engine_can_be_changed(engine: Engine) -> None:
    engine.feed(IDS[:50])
    engine.set_threads(2, 3)
    assert (engine.placement.threads, engine.placement.threads_batch) == threads_of(engine) == (2, 3)
    engine.sync([*IDS[:20], *IDS[30:90]])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, engine.ids), atol=TOLERANCE)
    engine.set_threads(1, 1)
    assert threads_of(engine) == (1, 1)


def threads_of(engine: Engine) -> tuple[int, int]:
    return llama_cpp.llama_n_threads(engine._context), llama_cpp.llama_n_threads_batch(engine._context)


def test_a_model_is_offloaded_where_a_gpu_has_its_output_too(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny / "attention.gguf"  # of two layers
    assert not offloaded(path, -1)
    monkeypatch.setattr(binding, "gpus", lambda: ["a GPU"])
    assert [offloaded(path, layers) for layers in (-1, 0, 2, 3)] == [True, False, False, True]


def offloaded(path: Path, layers: int) -> bool:
    engine = Engine(path, EngineOptions(gpu_layers=layers))
    found = engine.placement.is_offloaded
    engine.close()
    return found


def test_penalties_are_told_anew_after_a_rewind_to_the_same_length(engine: Engine) -> None:
    sampler = drawing(engine, SamplingSettings(temperature=0, presence_penalty=100.0, penalty_tokens=4), seed=1)
    engine.feed([7] * 20)
    likeliest = engine.sample(sampler)
    engine.decode(likeliest)
    engine.rewind(20)
    engine.feed([7])
    expected = fresh_logits(engine.path, [7] * 21)
    expected[7] = -np.inf
    assert engine.sample(sampler) == int(expected.argmax())


def test_a_path_that_is_no_text_is_loaded(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.gguf")
    shutil.copy(tiny / "attention.gguf", path)
    engine = Engine(path)
    engine.feed(IDS[:3])
    engine.close()
