"""How much memory a model takes, by layer: from the header of its GGUF, without loading it.

Knows what llama.cpp allocates, and where; knows nothing of the machine it would do that on, and decides nothing:
`planning.py` does. A layer's weights are the tensors called `blk.N.`; its cache follows from the same tensors, whatever
the architecture is called. `benchmarks/planned.py` compares the sum with what llama.cpp really takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Literal

import msgspec

from glimp_local.errors import ModelUnreadableError
from glimp_local.models.gguf.header import Array, Header, Tensor
from glimp_local.settings import MAX_DRAFT, MAX_ROLLBACK, STEP_SNAPSHOT_BYTES, STEP_SNAPSHOTS, TURN_SNAPSHOTS

CacheType = Literal["f16", "q8_0", "q4_0"]
FLOAT = 4
"""Bytes of an f32: what llama.cpp computes with."""

_CACHE_BYTES: dict[CacheType, tuple[int, int]] = {"f16": (2, 1), "q8_0": (34, 32), "q4_0": (18, 32)}
"""Bytes of this many values of the cache."""
_CELLS = 256
"""llama.cpp rounds a context up to a multiple of this."""
_UBATCH = 512
"""Most tokens it computes in one pass."""
_TOKEN_BYTES, _MERGE_BYTES, _NODE_BYTES = 190, 115, 1500
"""What llama.cpp keeps in memory for a token, for a merge, and for a node of the graph of a pass: measured
(`python -m benchmarks plan`), as the libraries' containers have no formula."""
_LEAST_NODES, _NODES_PER_TENSOR = 1024, 8
"""For how many nodes llama.cpp makes room."""
_MOST_BLOCKS = 512
"""LLAMA_MAX_LAYERS: it aborts the process beyond."""
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_ROLL_BACK = {"lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe"}
"""Architectures whose last tokens llama.cpp can take back (its llm_arch_supports_rs_rollback)."""
_WINDOW_PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "olmo2": 4,
    "plamo3": 8,
}
"""One layer in this many sees the whole context, the others a sliding window, if the file does not say so."""


class Layer(msgspec.Struct, frozen=True):
    """One block of a model."""

    weights_bytes: int
    matrices_bytes: dict[str, int]
    """The matrices among the weights, by their number type: what a CPU may keep a second time, in its own order."""
    cache_values: int
    """Numbers in the KV cache for one token; 0 in a layer without attention."""
    state_bytes: int
    """A recurrent layer's state: the same for any context."""
    window: int
    """Most tokens the layer looks back on; 0 is all."""


class Footprint(msgspec.Struct, frozen=True):
    """A model as its memory is counted."""

    layers: tuple[Layer, ...]
    input_bytes: int
    """The table of embeddings, which always stays with the CPU."""
    output: Layer
    """What comes behind the last block. Where it is the table of embeddings once more, it takes memory of its own only
    on another device."""
    output_is_input: bool
    vocabulary: int
    """Tokens."""
    merges: int
    """Rules of a byte-pair vocabulary."""
    tensors: int
    embedding: int
    """Width of a token's vector."""
    heads: int
    query: int
    """Width of the queries of all heads together."""
    feed_forward: int
    """Widest values between two blocks' matrices, for one token: of all experts at work together."""
    trained_context: int
    roundable: bool
    """Can its cache be kept as q8_0 or q4_0, that is in blocks of 32 numbers of a head?"""
    states: int
    """How many states llama.cpp keeps of a recurrent layer: one more for each token that can be taken back."""
    idle_bytes: int
    """Of the weights, those that do not work on a token: experts that are not used."""

    @property
    def weights_bytes(self) -> int:
        """All weights, as they lie in the file."""
        table = 0 if self.output_is_input else self.input_bytes
        return table + self.output.weights_bytes + sum(layer.weights_bytes for layer in self.layers)

    def cache_bytes(
        self, layers: Iterable[Layer], context: int, cache_type: CacheType, *, ubatch: int, full_window: bool = False
    ) -> int:
        """Count the KV cache of some layers for a context of this many tokens."""
        size, values = _CACHE_BYTES[cache_type]
        total = 0
        for layer in layers:
            seen = context if full_window or not layer.window else min(context, layer.window + ubatch)
            total += padded(seen) * layer.cache_values * size // values + layer.state_bytes * self.states
        return total

    def snapshot_bytes(self, context: int, cache_type: CacheType, *, full_window: bool = False) -> int:
        """Count the snapshots of a model that cannot go back to any length: of states, and of what windows hold.

        They lie in the memory of the CPU, wherever the layers are. Those of steps are the chat's, where a step may be
        written again.
        """
        size, values = _CACHE_BYTES[cache_type]
        states = sum(layer.state_bytes for layer in self.layers)
        windows = sum(
            min(context, layer.window) * layer.cache_values * size // values
            for layer in self.layers
            if layer.window and not full_window
        )
        each = states + windows
        steps = max(1, min(STEP_SNAPSHOTS, STEP_SNAPSHOT_BYTES // states)) if states and not windows else 0
        return (TURN_SNAPSHOTS + steps) * each

    def compute_bytes(self, context: int, *, ubatch: int, fused: bool, outputs: int = MAX_DRAFT + 1) -> int:
        """Estimate the largest intermediate results of one pass over `ubatch` tokens.

        They are, beside the attention mask, either those of the feed-forward part (gate, up and their product), or
        those of attention where it is not `fused` (a score for every token, head and cell), or the logits of the
        tokens they are wanted for.
        """
        outputs = min(outputs, ubatch)
        # A mask for those that see all, and one for those that see a window.
        windows = {layer.window for layer in self.layers if layer.cache_values}
        seen = [padded(min(context, window + ubatch) if window else context) for window in windows]
        cells = max(seen, default=0)
        mask = sum(seen) * ubatch * (2 if fused else FLOAT)
        feed_forward = ubatch * (self.feed_forward + 3 * self.embedding + max(self.embedding, self.query))
        attention = 0 if fused or not cells else ubatch * (cells * self.heads + 5 * self.query)
        logits = outputs * (self.vocabulary + 2 * self.embedding)
        return mask + FLOAT * max(feed_forward, attention, logits)

    def other_bytes(self, outputs: int = MAX_DRAFT + 1) -> int:
        """Estimate what belongs to no layer: tokeniser, graph, and the rows of logits that are read."""
        tokeniser = self.vocabulary * _TOKEN_BYTES + self.merges * _MERGE_BYTES
        graph = max(_LEAST_NODES, _NODES_PER_TENSOR * self.tensors) * _NODE_BYTES
        return tokeniser + graph + self.vocabulary * outputs * FLOAT


def padded(context: int) -> int:
    """Round a context up to the cells llama.cpp makes for it."""
    return -(-context // _CELLS) * _CELLS


def ubatch_of(batch: int) -> int:
    """Give how many tokens of a batch llama.cpp computes in one pass."""
    return min(batch, _UBATCH)


def footprint(header: Header) -> Footprint:
    """Count a model's memory; raises ModelUnreadableError where the header lacks what that takes."""
    count = header.number("block_count")
    if count > _MOST_BLOCKS:
        raise ModelUnreadableError(f"{header.path} speaks of {count:,} layers; llama.cpp takes {_MOST_BLOCKS} at most")
    blocks: list[dict[str, Tensor]] = [{} for _ in range(count)]
    rest: dict[str, Tensor] = {}
    for tensor in header.tensors:
        match = _BLOCK.fullmatch(tensor.name)
        if match is not None and int(match[1]) < count:
            blocks[int(match[1])][match[2]] = tensor
        else:
            rest[tensor.name] = tensor
    embeddings = rest.pop("token_embd.weight", None)
    tied = "output.weight" not in rest and embeddings is not None
    output = _layer([*rest.values(), *([embeddings] if tied and embeddings is not None else [])])
    embedding, heads = header.number("embedding_length"), header.number("attention.head_count", 0)
    experts, feed_forward = header.number("expert_used_count", 0), header.number("feed_forward_length", 0)
    width = header.number("expert_feed_forward_length", feed_forward)
    key = header.number("attention.key_length", embedding // heads if heads else 0)
    # A dense block holds gate, up and their product; experts hold gate and up, and their outputs before the sum.
    # A recurrent block holds its inputs, gates and convolutions.
    wide = max(
        2 * experts * (width + embedding) if experts else 3 * feed_forward, 5 * header.number("ssm.inner_size", 0)
    )
    return Footprint(
        layers=tuple(_block(header, i, tensors) for i, tensors in enumerate(blocks)),
        input_bytes=embeddings.size_bytes if embeddings is not None else 0,
        output=output,
        output_is_input=tied,
        vocabulary=embeddings.shape[-1] if embeddings is not None and embeddings.shape else 0,
        merges=merges.count if isinstance(merges := header.metadata.get("tokenizer.ggml.merges"), Array) else 0,
        tensors=len(header.tensors),
        embedding=embedding,
        heads=heads,
        query=heads * key,
        feed_forward=wide,
        trained_context=header.number("context_length", 0),
        roundable=not (key % 32 or header.number("attention.value_length", key) % 32),
        states=1 + MAX_ROLLBACK if header.architecture in _ROLL_BACK else 1,
        idle_bytes=_idle_bytes(header, experts),
    )


def _idle_bytes(header: Header, used: int) -> int:
    experts = header.number("expert_count", 0)
    if not 0 < used <= experts:
        return 0
    return sum(tensor.size_bytes for tensor in header.tensors if "_exps" in tensor.name) * (experts - used) // experts


def _layer(tensors: Iterable[Tensor], *, cache_values: int = 0, state_bytes: int = 0, window: int = 0) -> Layer:
    matrices: dict[str, int] = {}
    total = 0
    for tensor in tensors:
        total += tensor.size_bytes
        if len(tensor.shape) > 1:
            matrices[tensor.type] = matrices.get(tensor.type, 0) + tensor.size_bytes
    return Layer(total, matrices, cache_values, state_bytes, window)


def _block(header: Header, index: int, tensors: dict[str, Tensor]) -> Layer:
    state = _state_bytes(header, tensors)
    return _layer(
        tensors.values(),
        cache_values=_cache_values(header, tensors, recurrent=state > 0),
        state_bytes=state,
        window=_window(header, index),
    )


def _cache_values(header: Header, tensors: dict[str, Tensor], *, recurrent: bool) -> int:
    """Count the keys and values of one token in one layer."""
    if "attn_kv_a_mqa.weight" in tensors:  # multi-head latent attention caches one compressed vector
        return _rows(tensors["attn_kv_a_mqa.weight"])
    if "attn_k.weight" in tensors:
        return _rows(tensors["attn_k.weight"]) + _rows(tensors.get("attn_v.weight", tensors["attn_k.weight"]))
    if "attn_qkv.weight" in tensors and not recurrent:
        heads = header.number("attention.head_count")
        key = header.number("attention.key_length", header.number("embedding_length") // max(heads, 1))
        value = header.number("attention.value_length", key)
        return header.number("attention.head_count_kv", heads) * (key + value)
    return 0


def _state_bytes(header: Header, tensors: dict[str, Tensor]) -> int:
    """Count the state of a recurrent layer: the last inputs of its convolution and its memory, both f32."""
    width = header.number("embedding_length")
    if any(name.startswith("ssm_") for name in tensors):
        inner, state = header.number("ssm.inner_size", 0), header.number("ssm.state_size", 0)
        convolved = inner + 2 * header.number("ssm.group_count", 0) * state
        return FLOAT * (max(header.number("ssm.conv_kernel", 1) - 1, 0) * convolved + inner * state)
    if any(name.startswith("shortconv.") for name in tensors):
        return FLOAT * width * max(header.number("shortconv.l_cache", 1) - 1, 0)
    if any(name.startswith("time_mix_") for name in tensors):
        return FLOAT * width * (header.number("token_shift_count", 2) + header.number("wkv.head_size", 0))
    return 0


def _window(header: Header, index: int) -> int:
    window = header.number("attention.sliding_window", 0)
    if not window:
        return 0
    pattern = header.array(f"{header.architecture}.attention.sliding_window_pattern")
    if index < len(pattern):
        return window if pattern[index] else 0
    known = _WINDOW_PERIODS.get(header.architecture)
    if known is None:
        return 0
    period = header.number("attention.sliding_window_pattern", known)
    return window if not period or index % period < period - 1 else 0


def _rows(tensor: Tensor) -> int:
    return prod(tensor.shape[1:])
