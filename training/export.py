"""A trained model as a GGUF file that llama.cpp loads as it is."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer

from training.model import NORM_EPSILON, ROPE_BASE, Model

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}: {{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""ChatML with a colon, so that every word has a space before it, and is one token wherever it stands.

The assistant's turn begins with an opened thought.
"""


def export(model: Model, tokenizer: Tokenizer, path: Path, name: str) -> None:
    """Write a model with its vocabulary; matrices as F16, norms as 32-bit numbers."""
    shape = model.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_description("Counting stories and small sums only: one of the built-in pair of glimp-local")
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    _vocabulary(writer, tokenizer)
    state = {"embedding.weight": model.embeddings(), **model.state_dict()}
    del state["free.weight"], state["code"]  # the two parts of the embeddings
    for key, tensor in state.items():
        weights = tensor.detach().float().numpy()
        writer.add_tensor(_name(key), weights.astype(np.float16) if weights.ndim > 1 else weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_NAMES = {
    "embedding": "token_embd",
    "norm": "output_norm",
    "attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}


def _name(key: str) -> str:
    """Give llama.cpp's name of a tensor: blocks.0.attention.q.weight is blk.0.attn_q.weight."""
    own, _, suffix = key.rpartition(".")
    if own.startswith("blocks."):
        _, block, part = own.split(".", 2)
        return f"blk.{block}.{_NAMES[part]}.{suffix}"
    return f"{_NAMES[own]}.{suffix}"


def _vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    table = json.loads(tokenizer.to_str())
    ids: dict[str, int] = table["model"]["vocab"]
    tokens = sorted(ids, key=lambda token: ids[token])
    special = {token["content"] for token in table["added_tokens"]}
    types = [
        gguf.TokenType.NORMAL
        if token not in special
        # The marks of a thought are text that may be shown; the marks of a turn are not.
        else gguf.TokenType.CONTROL
        if token.startswith("<|")
        else gguf.TokenType.USER_DEFINED
        for token in tokens
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in table["model"]["merges"]]
    )
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|im_end|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
