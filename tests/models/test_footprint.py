"""The memory of a model, counted from its header, against what llama.cpp itself counts for the same file."""

from pathlib import Path
from typing import Any, cast

import pytest

from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import ModelUnreadableError, UsageError
from glimp_local.models.catalogue import load_catalogue
from glimp_local.models.footprint import CacheType, footprint, padded
from glimp_local.models.gguf.header import Header, Tensor, read_header
from glimp_local.models.known import known_header
from glimp_local.paths import packaged_file
from glimp_local.settings import STEP_SNAPSHOTS, TURN_SNAPSHOTS
from tests.support import tiny_models, tiny_recurrent
from tests.support.allocations import MEBIBYTE, counted, write_header
from tests.support.engines import ARCHITECTURES, IDS

ROUNDED = 0.02 * MEBIBYTE  # llama.cpp prints hundredths of a MiB, of up to two caches
TINY = 0.75 * MEBIBYTE
BUILTIN = packaged_file().with_name("glimp_local") / "builtin"
CHOICES: list[dict[str, Any]] = [{}, {"cache_type": "q8_0"}, {"cache_type": "q4_0"}, {"flash_attention": "off"}]


def listed() -> list[str]:
    """Name the files of the catalogue that are downloaded."""
    pairs = load_catalogue(packaged_file()).pairs.values()
    return sorted({source.file for pair in pairs for source in (pair.small, pair.large) if source and source.file})


def check(path: Path, contexts: tuple[int, ...], *, near: float, tiny: float = 0) -> None:
    """Compare the caches to the last digit that is printed, and the whole within a part of it."""
    model = footprint(read_header(path))
    with counted(path) as truth:
        for context in contexts:
            for options in CHOICES if model.roundable else [{}, {"flash_attention": "off"}]:
                for ubatch in (128, 512):
                    caches, computing = truth.of(context, ubatch, **options)
                    kind = cast("CacheType", options.get("cache_type", "f16"))
                    planned = model.cache_bytes(model.layers, context, kind, ubatch=ubatch)
                    assert planned == pytest.approx(caches, abs=ROUNDED)
                    fused = options.get("flash_attention") != "off"
                    whole = model.weights_bytes + planned + model.compute_bytes(context, ubatch=ubatch, fused=fused)
                    assert whole == pytest.approx(model.weights_bytes + caches + computing, rel=near, abs=tiny)


@pytest.mark.slow
@pytest.mark.parametrize("file", listed())
def test_the_memory_of_the_catalogue_s_models_is_llama_cpp_s_within_a_hundredth(file: str, tmp_path: Path) -> None:
    header = known_header(file)
    assert header is not None
    check(write_header(tmp_path / file, header), (2048, 16384, 40960), near=0.01)


@pytest.mark.parametrize("file", listed())
def test_the_catalogue_s_models_are_of_the_published_sizes_less_their_vocabularies(file: str) -> None:
    header = known_header(file)
    assert header is not None
    sources = [pair.source(model) for pair in load_catalogue(packaged_file()).pairs.values() for model in pair.models]
    (size, *_) = {source.size_bytes for source in sources if source is not None and source.file == file}
    assert size is not None
    assert 5_940_000 < size - header.size_bytes < 5_990_000


def test_the_built_in_models_are_counted_within_a_twentieth_or_a_mebibyte() -> None:
    for path in sorted(BUILTIN.glob("*.gguf")):
        check(path, (512, 1024, 2048), near=0.05, tiny=TINY)


@pytest.mark.parametrize(
    "write",
    [
        tiny_models.write_attention,
        tiny_recurrent.write_hybrid,
        tiny_recurrent.write_recurrent,
        tiny_recurrent.write_delta_net,
        tiny_recurrent.write_mamba_hybrid,
    ],
)
def test_caches_follow_from_the_layers_whatever_they_are(write: Any, tmp_path: Path) -> None:
    check(write(tmp_path / "model.gguf", context=32768), (512, 8192, 32768), near=0.05, tiny=TINY)


@pytest.mark.parametrize("window", [32, 1024])
def test_a_sliding_window_caches_no_more_than_it_sees(window: int, tmp_path: Path) -> None:
    path = tiny_models.write_sliding_window(tmp_path / "model.gguf", context=32768, window=window)
    check(path, (512, 8192, 32768), near=0.05, tiny=TINY)
    model = footprint(read_header(path))
    whole = model.cache_bytes(model.layers, 32768, "f16", ubatch=128, full_window=True)
    assert model.cache_bytes(model.layers, 32768, "f16", ubatch=128) < 0.6 * whole


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_snapshots_are_counted(tiny: Path, name: str) -> None:
    engine = Engine(tiny / f"{name}.gguf", context=512)
    for length in range(50, 400, 50):
        engine.feed(IDS[length - 50 : length])
        engine.snapshot()
        engine.snapshot_step()
    held = sum(len(state) for _, state in (*engine._cache.snapshots, *engine._cache._steps))
    engine.close()
    model = footprint(read_header(engine.path))
    # llama.cpp writes some words of its own into each, and the positions of the cells.
    assert model.snapshot_bytes(512, "f16") == pytest.approx(held, rel=0.1, abs=300 * (TURN_SNAPSHOTS + STEP_SNAPSHOTS))
    assert bool(held) == (name != "attention")
    assert not model.snapshot_bytes(512, "f16", full_window=True) or name != "sliding-window"


@pytest.mark.real
def test_the_real_models_are_counted_within_a_hundredth(real_pair: tuple[Path, Path]) -> None:
    for path in real_pair:
        check(path, (1024, 4096, 8192), near=0.01)


def test_all_weights_are_counted_once(tiny: Path) -> None:
    for name in (*ARCHITECTURES, "small"):
        header = read_header(tiny / f"{name}.gguf")
        assert footprint(header).weights_bytes == sum(tensor.size_bytes for tensor in header.tensors)


def test_a_model_whose_heads_are_no_whole_blocks_keeps_its_cache_unrounded(tiny: Path) -> None:
    path = tiny / "hybrid.gguf"  # heads of 16 numbers
    assert not footprint(read_header(path)).roundable
    assert footprint(read_header(tiny / "attention.gguf")).roundable
    with counted(path) as truth, pytest.raises(UsageError, match="cannot keep its cache as q8_0"):
        truth.of(512, 128, cache_type="q8_0")


def test_a_header_without_layers_says_what_is_missing() -> None:
    header = Header(Path("x.gguf"), (Path("x.gguf"),), 0, {"general.architecture": "llama"}, ())
    with pytest.raises(ModelUnreadableError, match=r"'llama\.block_count' is None"):
        footprint(header)


def test_latent_attention_caches_one_vector_a_layer() -> None:
    tensors = (
        Tensor("token_embd.weight", (64, 100), "F32", 25_600),
        Tensor("blk.0.attn_kv_a_mqa.weight", (64, 576), "F32", 147_456),
    )
    keys = {"block_count": 1, "embedding_length": 64, "attention.head_count": 4, "context_length": 512}
    metadata = {"general.architecture": "deepseek2", **{f"deepseek2.{key}": value for key, value in keys.items()}}
    model = footprint(Header(Path("x.gguf"), (Path("x.gguf"),), 0, metadata, tensors))
    assert model.cache_bytes(model.layers, 256, "f16", ubatch=128) == 256 * 576 * 2


def test_a_context_is_rounded_up_to_whole_blocks_of_cells() -> None:
    assert [padded(context) for context in (1, 256, 257)] == [256, 256, 512]
