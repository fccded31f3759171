"""A GGUF of the built-in kind as a Hugging Face folder: `python -m training.hf_folder MODEL.gguf FOLDER`.

vLLM and transformers read such a folder and no GGUF. What is written: Llama with a byte-level vocabulary cut as
llama.cpp's "llama-bpe", whatever types its tensors have (a quantised one is written as the numbers it stands for).
Nothing else is written: another architecture or pre-tokenizer ends with a sentence.

Three things differ between the two formats besides names. llama.cpp turns neighbouring numbers of a head together
(0 and 1, 2 and 3), Hugging Face a number of the first half and one of the second (0 and d/2, 1 and d/2 + 1), so the
rows of the query and key matrices are put in another order. llama.cpp knows how to cut text by a name, tokenizer.json
holds the pattern. And llama.cpp takes a word that is a token as that token without merging, which tokenizer.json must
say (`ignore_merges`).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from safetensors.numpy import save_file

CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # English endings
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word, with the character in front of it
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, with the line ends behind it
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 cuts a text before it merges: what a GGUF calls "llama-bpe"."""

_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class UnsupportedError(ValueError):
    """The GGUF is of a kind that is not written."""


class Source:
    """A GGUF: its settings, and its tensors as 32-bit numbers by Hugging Face's names; raises UnsupportedError."""

    def __init__(self, path: Path) -> None:
        self._reader = gguf.GGUFReader(path)
        for key, known in (
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "llama-bpe"),
        ):
            if (found := self.setting(key)) != known:
                raise UnsupportedError(f"{path} cannot be written: its {key} is {found}, and only {known} is known")
        if self.setting("tokenizer.ggml.add_bos_token", default=False):
            raise UnsupportedError(f"{path} cannot be written: a token begins each of its texts")
        self.heads: int = self.setting("llama.attention.head_count")
        self.kv_heads: int = self.setting("llama.attention.head_count_kv", default=self.heads)
        self.tokens: list[str] = self.setting("tokenizer.ggml.tokens")

    def setting(self, key: str, *, default: Any = None) -> Any:
        """Read a setting, or take the default where there is none."""
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def weights(self) -> dict[str, np.ndarray]:
        """Read all tensors; raises UnsupportedError for one that is not known."""
        found = {}
        for tensor in self._reader.tensors:
            numbers = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            part = tensor.name.removesuffix(".weight").rpartition(".")[2]
            if part in {"attn_q", "attn_k"}:
                numbers = _in_halves(numbers, self.heads if part == "attn_q" else self.kv_heads)
            found[_name(tensor.name)] = np.ascontiguousarray(numbers)
        return found


def write(model: Path, folder: Path) -> None:
    """Write the folder; raises UnsupportedError and OSError."""
    source = Source(model)
    weights = source.weights()
    folder.mkdir(parents=True, exist_ok=True)
    end: int = source.setting("tokenizer.ggml.eos_token_id")
    padding: int = source.setting("tokenizer.ggml.padding_token_id", default=end)
    _write_json(folder / "config.json", _config(source, tied="lm_head.weight" not in weights, end=end, padding=padding))
    _write_json(folder / "generation_config.json", {"eos_token_id": end, "pad_token_id": padding})
    _write_json(folder / "tokenizer.json", _tokenizer(source))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": source.tokens[end],
            "pad_token": source.tokens[padding],
            "model_max_length": source.setting("llama.context_length"),
            "clean_up_tokenization_spaces": False,  # else " ." would be shown as "."
        },
    )
    if template := source.setting("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _name(name: str) -> str:
    """Translate a tensor's name; raises UnsupportedError."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in _IN_A_LAYER or parts[3] != "weight":
        raise UnsupportedError(f"the tensor {name} has no counterpart in a Llama of Hugging Face")
    return f"model.layers.{parts[1]}.{_IN_A_LAYER[parts[2]]}.weight"


def _in_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Put each head's rows from pairs of neighbours into two halves: 0 2 4 ... 1 3 5 ..."""
    neighbours = rows.reshape(heads, -1, 2, rows.shape[1])
    return neighbours.transpose(0, 2, 1, 3).reshape(rows.shape)


def _config(source: Source, *, tied: bool, end: int, padding: int) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": source.setting("llama.rope.freq_base", default=10000.0)}
    width: int = source.setting("llama.embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(source.tokens),
        "hidden_size": width,
        "intermediate_size": source.setting("llama.feed_forward_length"),
        "num_hidden_layers": source.setting("llama.block_count"),
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.kv_heads,
        "head_dim": source.setting("llama.rope.dimension_count", default=width // source.heads),
        "hidden_act": "silu",
        "max_position_embeddings": source.setting("llama.context_length"),
        "rms_norm_eps": float(f"{source.setting('llama.attention.layer_norm_rms_epsilon'):.6g}"),  # of 32 bits there
        "rope_theta": rope["rope_theta"],  # older transformers
        "rope_parameters": rope,  # 5 and newer
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": padding,
        "dtype": "float32",
    }


def _tokenizer(source: Source) -> dict[str, Any]:
    kinds: list[int] = source.setting("tokenizer.ggml.token_type")
    shown_as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    cut = {"type": "Split", "pattern": {"Regex": CUT}, "behavior": "Isolated", "invert": False}
    whole = {gguf.TokenType.CONTROL: True, gguf.TokenType.USER_DEFINED: False}  # is it special, so never shown?
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token,
                "content": source.tokens[token],
                "special": whole[gguf.TokenType(kind)],
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
            }
            for token, kind in enumerate(kinds)
            if kind in whole
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, shown_as_bytes]},
        "post_processor": shown_as_bytes,
        "decoder": shown_as_bytes,
        "model": {
            "type": "BPE",
            "vocab": {text: token for token, text in enumerate(source.tokens)},
            "merges": [merge.split(" ") for merge in source.setting("tokenizer.ggml.merges")],
            "ignore_merges": True,
            "byte_fallback": False,
            "fuse_unk": False,
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m training.hf_folder", description="a GGUF as a Hugging Face folder")
    parser.add_argument("model", type=Path, help="a GGUF like the built-in ones")
    parser.add_argument("folder", type=Path, help="is made where it is not there")
    given = parser.parse_args()
    try:
        write(given.model, given.folder)
    except (ValueError, OSError) as error:  # gguf's own errors are ValueErrors, too
        sys.exit(f"nothing was written: {error}")
    print(f"{given.model} is written to {given.folder}")


if __name__ == "__main__":
    main()
