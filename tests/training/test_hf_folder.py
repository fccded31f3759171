"""A built-in GGUF as a Hugging Face folder: names, shapes, order of rows, vocabulary, and the very same logits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest
import tokenizers
from gguf.quants import quantize
from safetensors.numpy import load_file

from glimp_local.engines.llama.engine import Engine
from tests.conftest import BUILTIN
from tests.support.texts import TEXTS
from tests.support.vocabularies import vocabulary
from training import hf_folder

SHAPES = {"small": (128, 192, 3, 4), "large": (320, 896, 8, 10)}
"""Width, width of the feed-forward layers, layers, heads."""
TOKENS = 2816
PROMPT_TOKENS = 50
MEAN_TOLERANCE, TOLERANCE = 0.01, 0.25
"""Of a logit between -32 and 33. Measured: mean 0.0043 and largest 0.076 (small), 0.0045 and 0.114 (large); llama.cpp
rounds what it multiplies with 16-bit weights, and its cache, to 16 bits."""
LOGITS = Path(__file__).parents[1] / "support" / "hf_logits.py"

models = pytest.mark.parametrize("model", ["small", "large"])


@models
def test_tensors_have_hugging_face_s_names_and_shapes(hf_folders: Path, model: str) -> None:
    width, wide, layers, _ = SHAPES[model]
    expected: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (TOKENS, width), "model.norm.weight": (width,)}
    for layer in range(layers):
        parts: dict[str, tuple[int, ...]] = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"}
        parts |= {"mlp.gate_proj": (wide, width), "mlp.up_proj": (wide, width), "mlp.down_proj": (width, wide)}
        parts |= {"input_layernorm": (width,), "post_attention_layernorm": (width,)}
        expected |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
    found = load_file(hf_folders / model / "model.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == expected
    assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float32)}


@models
def test_the_configuration_says_what_the_header_says(hf_folders: Path, model: str) -> None:
    config = json.loads((hf_folders / model / "config.json").read_bytes())
    width, wide, layers, heads = SHAPES[model]
    assert (config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]) == (width, wide, layers)
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (heads, heads, 32)
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 500000.0}
    assert config["rms_norm_eps"] == 1e-5
    assert config["tie_word_embeddings"] is True


def test_the_rows_of_queries_and_keys_are_put_into_halves_and_no_others(hf_folders: Path) -> None:
    found = load_file(hf_folders / "small" / "model.safetensors")
    before = {tensor.name: np.asarray(tensor.data) for tensor in gguf.GGUFReader(BUILTIN / "small.gguf").tensors}
    order = [head * 32 + row for head in range(4) for row in [*range(0, 32, 2), *range(1, 32, 2)]]
    for part in "qk":
        assert np.array_equal(
            found[f"model.layers.1.self_attn.{part}_proj.weight"], before[f"blk.1.attn_{part}.weight"][order]
        )
    assert np.array_equal(found["model.layers.1.self_attn.v_proj.weight"], before["blk.1.attn_v.weight"])


def test_the_tokenizer_gives_llama_cpp_s_ids(hf_folders: Path) -> None:
    theirs = tokenizers.Tokenizer.from_file(str(hf_folders / "small" / "tokenizer.json"))
    with vocabulary(BUILTIN / "small.gguf") as ours:
        for text in TEXTS:
            assert theirs.encode(text).ids == ours.tokenize(text, control=True), text
            assert theirs.decode(ours.tokenize(text, control=True), skip_special_tokens=False) == text


def test_a_quantised_tensor_is_written_as_the_numbers_it_stands_for(tmp_path: Path) -> None:
    quantised = _with_q8_0(tmp_path / "quantised.gguf", "blk.0.ffn_up.weight")
    hf_folder.write(quantised, tmp_path / "folder")
    hf_folder.write(BUILTIN / "small.gguf", tmp_path / "plain")
    name = "model.layers.0.mlp.up_proj.weight"
    found, plain = (load_file(tmp_path / folder / "model.safetensors")[name] for folder in ("folder", "plain"))
    assert 0 < np.abs(found - plain).max() < np.abs(plain).max() / 100


def _with_q8_0(path: Path, name: str) -> Path:
    """Write the small model with one tensor quantised."""
    reader = gguf.GGUFReader(BUILTIN / "small.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type)
    for tensor in reader.tensors:
        data, kind = tensor.data, tensor.tensor_type
        if tensor.name == name:
            kind = gguf.GGMLQuantizationType.Q8_0
            data = quantize(np.asarray(data).astype(np.float32), kind)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_another_architecture_is_refused_in_words(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(hf_folder.UnsupportedError, match=r"its general\.architecture is .*, and only llama is known"):
        hf_folder.write(tiny / "hybrid.gguf", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@models
def test_transformers_computes_llama_cpp_s_logits(vllm_python: Path, hf_folders: Path, model: str) -> None:
    engine = Engine(BUILTIN / f"{model}.gguf", context=128)
    prompt = engine.vocabulary.tokenize(PROMPT, control=True)[:PROMPT_TOKENS]
    assert len(prompt) == PROMPT_TOKENS
    ours = []
    for token in prompt:
        engine.feed([token])
        ours.append(engine.logits().copy())
    engine.close()
    command = [str(vllm_python), str(LOGITS), str(hf_folders / model)]
    done = subprocess.run(command, input=json.dumps(prompt), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = np.array(json.loads(done.stdout))
    difference = np.abs(np.array(ours) - theirs)
    assert (np.argmax(ours, axis=1) == np.argmax(theirs, axis=1)).all()
    assert difference.mean() < MEAN_TOLERANCE
    assert difference.max() < TOLERANCE


PROMPT = (
    "<|im_start|>user: Emma has 57 marbles and Ben has 93. Emma finds 89 more. Ben gives Emma a third of his marbles. "
    "How many marbles does Emma have now?<|im_end|>\n<|im_start|>assistant\n<think>\nEmma starts with 57.\n\nEmma"
)
