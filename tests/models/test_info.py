"""What is told of a model from its header: what llama.cpp tells of it when it is loaded."""

from __future__ import annotations

from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from glimp_local.errors import ModelUnreadableError
from glimp_local.models.gguf.header import read_header
from glimp_local.models.info import ModelInfo, inspect
from tests.support import headers
from tests.support.headers import ARCHITECTURE, Key, Matrix, gguf_bytes, number, strings, text

BUILTIN = Path(__file__).parents[2] / "glimp_local" / "builtin"


def told(path: Path) -> ModelInfo:
    return inspect(read_header(path))


def of(tmp_path: Path, *keys: Key) -> ModelInfo:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes([ARCHITECTURE, *keys]))
    return told(path)


def assert_as_loaded(path: Path) -> None:
    info = told(path)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert model
    try:
        assert info.parameters == llama_cpp.llama_model_n_params(model)
        assert sum(share.size_bytes for share in info.types) == llama_cpp.llama_model_size(model)
        assert info.context_tokens == llama_cpp.llama_model_n_ctx_train(model)
        assert info.layers == llama_cpp.llama_model_n_layer(model)
        assert info.embedding == llama_cpp.llama_model_n_embd(model)
        assert info.heads == llama_cpp.llama_model_n_head(model)
    finally:
        llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("name", ["small", "attention", "sliding-window", "recurrent"])
def test_a_tiny_model_is_told_as_llama_cpp_tells_it(tiny: Path, name: str) -> None:
    assert_as_loaded(tiny / f"{name}.gguf")


def test_published_models_are_told_as_llama_cpp_tells_them(real_pair: tuple[Path, Path]) -> None:
    for path in real_pair:
        assert_as_loaded(path)
    small, large = map(told, real_pair)
    assert (small.quantisation, large.quantisation) == ("Q4_1", "Q4_K_M")
    assert large.vocabulary is not None
    assert (large.vocabulary.kind, large.vocabulary.pre_tokenizer) == ("BPE", "qwen2")
    assert (large.vocabulary.tokens, large.vocabulary.eos) == (151_936, "<|im_end|>")
    assert 4.9 < large.bits_per_parameter < 5.1
    assert (large.heads, large.kv_heads) == (12, 2)


def test_the_built_in_model_is_told() -> None:
    info = told(BUILTIN / "large.gguf")
    assert (info.name, info.licence, info.quantisation) == ("glimp built-in large", "MIT", "F16")
    assert info.parts == (info.path,)
    assert info.size_bytes == (BUILTIN / "large.gguf").stat().st_size
    assert info.active_parameters == info.parameters
    assert [share.type for share in info.types] == ["F16", "F32"]
    assert info.template is not None
    assert (info.template.thinking_open, info.template.thinking_close) == ("<think>", "</think>")
    assert not info.template.tools


def test_the_quantisations_have_the_names_of_llama_cpp(tmp_path: Path) -> None:
    for kind in gguf.LlamaFileType:
        if kind != gguf.LlamaFileType.GUESSED:
            expected = kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
            assert of(tmp_path, number("general.file_type", kind)).quantisation == expected
    assert of(tmp_path, number("general.file_type", 1024 + 15)).quantisation == "Q4_K_M"
    assert of(tmp_path, number("general.file_type", 900)).quantisation is None


def test_of_a_mixture_of_experts_those_used_are_counted(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "moe.gguf", "qwen3moe")
    writer.add_expert_count(8)
    writer.add_expert_used_count(2)
    writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros((8, 4, 32), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((10, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    info = told(tmp_path / "moe.gguf")
    assert (info.parameters, info.active_parameters) == (1024 + 320, 256 + 320)
    assert (info.experts, info.experts_used) == (8, 2)


def test_what_a_header_does_not_say_is_not_made_up(tmp_path: Path) -> None:
    info = of(tmp_path)
    named = (info.name, info.licence, info.quantisation, info.context_tokens, info.layers, info.heads, info.kv_heads)
    assert set(named) == {None}
    assert (info.vocabulary, info.template, info.experts) == (None, None, None)
    assert info.bits_per_parameter == 0


def test_an_architecture_nobody_knows_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes([text("general.architecture", "of-tomorrow"), number("of-tomorrow.block_count", 9)]))
    info = told(path)
    assert (info.architecture, info.layers) == ("of-tomorrow", 9)


@pytest.mark.parametrize(
    ("template", "close", "switch", "tools"),
    [
        ("{% if enable_thinking %}<think>\n{% endif %}", "</think>", True, False),
        ("[THINK]{{ tools }}", "[/THINK]", False, True),
        ("{{ messages }}", None, False, False),
    ],
)
def test_a_template_s_abilities_are_told(
    tmp_path: Path, template: str, close: str | None, switch: bool, tools: bool
) -> None:
    info = of(tmp_path, text("tokenizer.chat_template", template)).template
    assert info is not None
    assert (info.thinking_close, info.can_switch_thinking, info.tools) == (close, switch, tools)
    assert info.characters == len(template)


def test_a_token_that_is_not_there_ends_nothing(tmp_path: Path) -> None:
    tokens = Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["a"]))
    info = of(tmp_path, text("tokenizer.ggml.model", "gpt2"), tokens, number("tokenizer.ggml.eos_token_id", 7))
    assert info.vocabulary is not None
    assert (info.vocabulary.tokens, info.vocabulary.bos, info.vocabulary.eos) == (1, None, None)


def test_a_number_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadableError, match="block_count' is 'many', expected a number"):
        of(tmp_path, text("llama.block_count", "many"))


def test_the_memory_is_told_at_several_contexts(real_pair: tuple[Path, Path]) -> None:
    info = told(real_pair[1])
    assert [at.context_tokens for at in info.memory] == [4096, 16_384, 32_768]
    for at in info.memory:
        assert at.cache_bytes == 28 * (256 + 256) * 2 * at.context_tokens  # layers, keys and values, f16
        assert at.weights_bytes == sum(share.size_bytes for share in info.types)
        assert 0 < at.working_bytes < at.weights_bytes


def test_the_memory_is_told_up_to_the_trained_context(tiny: Path) -> None:
    assert [at.context_tokens for at in told(tiny / "small.gguf").memory] == [512]


def test_memory_that_no_machine_has_is_not_told(tmp_path: Path) -> None:
    numbers = {"block_count": 1, "embedding_length": 32, "context_length": 2**32 - 1, "attention.head_count": 2**32 - 1}
    numbers |= {"attention.key_length": 2**32 - 1}
    path = tmp_path / "model.gguf"
    keys = [ARCHITECTURE, *(number(f"llama.{key}", value) for key, value in numbers.items())]
    path.write_bytes(gguf_bytes(keys, [Matrix("blk.0.attn_qkv.weight", (32,))], data=128))
    info = told(path)
    assert (info.layers, info.memory) == (1, ())


def test_more_layers_than_llama_cpp_takes_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    keys = [ARCHITECTURE, number("llama.block_count", 2**32 - 1), number("llama.embedding_length", 1)]
    path.write_bytes(gguf_bytes(keys, [Matrix("a", (32,))], data=128))
    assert told(path).memory == ()
