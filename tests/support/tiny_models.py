"""Small GGUF files for the tests: real architectures, real llama.cpp, weights made by hand or at random.

`write_story` makes a model whose next token follows a table: its embeddings are one-hot, so that a column of its output
matrix is the distribution behind a token. A little random attention makes the logits depend on everything before, so
that a wrong cache shows. The other writers make random models of plain and of sliding-window attention; those of
recurrent architectures are in `tiny_recurrent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace("assistant\n", "assistant\n<think>\n")

CALLING = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "Call them between <tool_call> and </tool_call>.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)

CONTROL = ["<|im_start|>", "<|im_end|>"]
MARKERS = ["<think>", "</think>"]
_STORY = ["First", " one.\n\n", "Second", " two:\n\n", "Third", "Fourth", "Wrong", "Hm", " three.\n\n", " way.\n\n"]
WORDS = [*_STORY, "\n\n", "Answer", " \\boxed{3}", "Loop", " again.\n\n", "é", "Never", " ends", " here"]

Table = Mapping[str, Mapping[str, float]]

LARGE: Table = {
    "\n": {"First": 9},
    "First": {" one.\n\n": 9},
    " one.\n\n": {"Second": 9},
    "Second": {" two:\n\n": 9},
    " two:\n\n": {"Third": 9},
    " again.\n\n": {"</think>": 9},
    "Third": {" three.\n\n": 9},
    "Fourth": {" three.\n\n": 9},
    "Hm": {" way.\n\n": 9},
    "Wrong": {" way.\n\n": 9},
    " three.\n\n": {"</think>": 9},
    " way.\n\n": {"</think>": 9},
    "</think>": {"\n\n": 9},
    "\n\n": {"Answer": 9},
    "Answer": {" \\boxed{3}": 9},
    " \\boxed{3}": {"<|im_end|>": 9},
}
"""A thought of three steps, sure of everything."""

SMALL: Table = {**LARGE, " two:\n\n": {"Wrong": 9, "Third": 8.5, "Fourth": 8.5, "Hm": 8.5}}
"""The same, but unsure behind the second step (about 1.37 nats), where it would go wrong."""

LOOPING: Table = {**LARGE, "\n": {"Loop": 9}, "Loop": {" again.\n\n": 9}, " again.\n\n": {"Loop": 9}}
ENDLESS: Table = {**LARGE, "\n": {"Never": 9}, "Never": {" ends": 9}, " ends": {" here": 9}, " here": {" ends": 9}}
RAMBLING: Table = {
    "\n": {"a": 9},
    " one.\n\n": {"a": 9},
    **{before: dict.fromkeys("abcdefghi", 9.0) for before in "abcd"},
    **{before: {**dict.fromkeys("abcdefgh", 9.0), " one.\n\n": 9.0} for before in "efghi"},
}
"""Steps of some twenty random letters, without end; to be drawn from the nine likeliest, or they are all the same."""
WANDERING: Table = {**LARGE, "\n": {"a": 9}, **{before: dict.fromkeys("abcdefgh", 9.0) for before in "abcdefgh"}}
"""One word without end; to be drawn, or it repeats itself."""
SILENT: Table = {**LARGE, " one.\n\n": {"<|im_end|>": 9}}
"""Ends its text inside the thought."""


def byte_alphabet() -> dict[int, str]:
    """GPT-2's spelling of bytes: printable ones as they are, the others from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in alphabet:
            alphabet[byte] = chr(256 + len(alphabet) - len(printable))
    return alphabet


def spell(text: str) -> str:
    alphabet = byte_alphabet()
    return "".join(alphabet[byte] for byte in text.encode())


class Vocabulary:
    """A byte-level BPE vocabulary: 256 bytes, the control tokens, the markers and the words."""

    def __init__(self, *, extra: int = 0, first: str = "") -> None:
        bytes_ = list(byte_alphabet().values())
        padding = [f"<pad{i}>" for i in range(extra)]
        self.tokens = [*([first] if first else []), *bytes_, *CONTROL, *MARKERS, *map(spell, WORDS), *padding]
        normal, control, user = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
        kinds = (
            dict.fromkeys(CONTROL, control)
            | dict.fromkeys(MARKERS, user)
            | dict.fromkeys(padding, gguf.TokenType.UNUSED)
        )
        self.types = [kinds.get(token, normal) for token in self.tokens]

    def id(self, text: str) -> int:
        return self.tokens.index(text if text in [*CONTROL, *MARKERS] else spell(text))

    def add_to(self, writer: Any) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(["Ċ Ċ"])
        writer.add_eos_token_id(self.id("<|im_end|>"))
        writer.add_add_bos_token(False)


VOCABULARY = Vocabulary()

Array = npt.NDArray[np.float32]


def save(path: Path, writer: Any, tensors: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write the tensors as f32 and close the file."""
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_story(
    path: Path,
    table: Table,
    *,
    vocabulary: Vocabulary = VOCABULARY,
    template: str | None = THINKING,
    context: int = 512,
    seed: int = 0,
    spelled: bool = False,
) -> Path:
    """Write a llama whose next token follows `table` (logits; what is not listed gets -20).

    `spelled` says that the table's tokens stand in the vocabulary's own spelling, as single bytes do.
    """
    size = len(vocabulary.tokens)
    width = -(-size // 32) * 32
    logits = np.full((size, width), -20.0)
    for before, following in table.items():
        for after, logit in following.items():
            if spelled and before in vocabulary.tokens and after in vocabulary.tokens:
                logits[vocabulary.tokens.index(after), vocabulary.tokens.index(before)] = logit
            else:
                logits[vocabulary.id(after), vocabulary.id(before)] = logit
    random = np.random.default_rng(seed)

    def small(*shape: int) -> Array:
        return np.asarray(random.normal(size=shape) * 0.03, dtype=np.float32)

    embeddings = np.zeros((size, width))
    embeddings[np.arange(size), np.arange(size)] = 1
    tensors = {
        "token_embd.weight": embeddings,
        "output_norm.weight": np.ones(width),
        "output.weight": logits / np.sqrt(width),
        "blk.0.attn_norm.weight": np.ones(width),
        "blk.0.ffn_norm.weight": np.ones(width),
        "blk.0.attn_q.weight": small(width, width),
        "blk.0.attn_k.weight": small(width, width),
        "blk.0.attn_v.weight": small(width, width),
        "blk.0.attn_output.weight": small(width, width),
        "blk.0.ffn_gate.weight": small(32, width),
        "blk.0.ffn_up.weight": small(32, width),
        "blk.0.ffn_down.weight": small(width, 32),
    }
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    llama_like(writer, context, width, layers=1, hidden=32, heads=4)
    if template is not None:
        writer.add_chat_template(template)
    vocabulary.add_to(writer)
    return save(path, writer, tensors)


def llama_like(writer: Any, context: int, width: int, *, layers: int, hidden: int, heads: int) -> None:
    """Write the metadata that nearly every architecture has."""
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(VOCABULARY.tokens))


class RandomWeights:
    """Random weights around zero, norms around one."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> Array:
        # Of a size at which sums neither fade nor explode: rounding stays small, another past shows.
        return np.asarray(self._random.normal(size=shape) / np.sqrt(shape[-1]), dtype=np.float32)

    def norm(self, size: int) -> Array:
        return 1 + self(size) * 0.1


def write_attention(path: Path, *, context: int = 512, head: int = 32) -> Path:
    """Write a llama with random weights: plain attention, which can go back to any length.

    `head` is the width of its one head of keys, and of the values: twice two layers cache so many numbers a token.
    """
    make, width, hidden = RandomWeights(4), 64, 96
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "output_norm.weight": make.norm(width)}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": make.norm(width),
            f"blk.{i}.ffn_norm.weight": make.norm(width),
            f"blk.{i}.attn_q.weight": make(2 * head, width),
            f"blk.{i}.attn_k.weight": make(head, width),
            f"blk.{i}.attn_v.weight": make(head, width),
            f"blk.{i}.attn_output.weight": make(width, 2 * head),
            f"blk.{i}.ffn_gate.weight": make(hidden, width),
            f"blk.{i}.ffn_up.weight": make(hidden, width),
            f"blk.{i}.ffn_down.weight": make(width, hidden),
        }
    writer = gguf.GGUFWriter(path, "llama")
    llama_like(writer, context, width, layers=2, hidden=hidden, heads=2)
    writer.add_head_count_kv(1)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)


def write_sliding_window(path: Path, *, window: int = 32, context: int = 512) -> Path:
    """Write a Gemma 2 with random weights: every other layer sees only the last `window` tokens."""
    make, width, hidden, head = RandomWeights(1), 64, 96, 16
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "output_norm.weight": make.norm(width)}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": make.norm(width),
            f"blk.{i}.post_attention_norm.weight": make.norm(width),
            f"blk.{i}.ffn_norm.weight": make.norm(width),
            f"blk.{i}.post_ffw_norm.weight": make.norm(width),
            f"blk.{i}.attn_q.weight": make(4 * head, width),
            f"blk.{i}.attn_k.weight": make(2 * head, width),
            f"blk.{i}.attn_v.weight": make(2 * head, width),
            f"blk.{i}.attn_output.weight": make(width, 4 * head),
            f"blk.{i}.ffn_gate.weight": make(hidden, width),
            f"blk.{i}.ffn_up.weight": make(hidden, width),
            f"blk.{i}.ffn_down.weight": make(width, hidden),
        }
    writer = gguf.GGUFWriter(path, "gemma2")
    llama_like(writer, context, width, layers=2, hidden=hidden, heads=4)
    writer.add_head_count_kv(2)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_sliding_window(window)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)
