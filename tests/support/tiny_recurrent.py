"""Small GGUF files of architectures that keep a state in place of keys and values, or beside them: random weights.

None of them goes back to any length; llama.cpp takes back the last tokens of a batch of all but Mamba.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.tiny_models import CHATML, VOCABULARY, Array, RandomWeights, llama_like, save


def _feed_forward(make: RandomWeights, block: int, width: int, hidden: int) -> dict[str, Array]:
    return {
        f"blk.{block}.ffn_gate.weight": make(hidden, width),
        f"blk.{block}.ffn_up.weight": make(hidden, width),
        f"blk.{block}.ffn_down.weight": make(width, hidden),
    }


def write_recurrent(path: Path, *, context: int = 512) -> Path:
    """Write a Mamba with random weights: its state cannot go back at all."""
    make, width, state, rank, kernel = RandomWeights(2), 32, 8, 4, 4
    inner = 2 * width
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "output_norm.weight": make.norm(width)}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": make.norm(width),
            f"blk.{i}.ssm_in.weight": make(2 * inner, width),
            f"blk.{i}.ssm_conv1d.weight": make(inner, kernel),
            f"blk.{i}.ssm_conv1d.bias": make(inner),
            f"blk.{i}.ssm_x.weight": make(rank + 2 * state, inner),
            f"blk.{i}.ssm_dt.weight": make(inner, rank),
            f"blk.{i}.ssm_dt.bias": make(inner),
            f"blk.{i}.ssm_a": np.asarray(-np.abs(make(inner, state)) - 0.1, np.float32),
            f"blk.{i}.ssm_d": make(inner),
            f"blk.{i}.ssm_out.weight": make(width, inner),
        }
    writer = gguf.GGUFWriter(path, "mamba")
    llama_like(writer, context, width, layers=2, hidden=0, heads=0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)


def write_hybrid(path: Path, *, context: int = 512) -> Path:
    """Write an LFM2 with random weights: one layer of short convolutions, one of attention."""
    make, width, hidden, head, kernel = RandomWeights(3), 64, 96, 16, 3
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "token_embd_norm.weight": make.norm(width)}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": make.norm(width),
            f"blk.{i}.ffn_norm.weight": make.norm(width),
            **_feed_forward(make, i, width, hidden),
        }
    tensors |= {
        "blk.0.shortconv.conv.weight": make(width, kernel),
        "blk.0.shortconv.in_proj.weight": make(3 * width, width),
        "blk.0.shortconv.out_proj.weight": make(width, width),
        "blk.1.attn_q.weight": make(width, width),
        "blk.1.attn_k.weight": make(2 * head, width),
        "blk.1.attn_v.weight": make(2 * head, width),
        "blk.1.attn_output.weight": make(width, width),
        "blk.1.attn_q_norm.weight": make.norm(head),
        "blk.1.attn_k_norm.weight": make.norm(head),
    }
    writer = gguf.GGUFWriter(path, "lfm2")
    llama_like(writer, context, width, layers=2, hidden=hidden, heads=4)
    writer.add_head_count_kv([0, 2])
    writer.add_shortconv_l_cache(kernel)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)


def write_delta_net(path: Path, *, context: int = 512) -> Path:
    """Write a Qwen3.5 with random weights: one layer of a gated delta net, one of gated attention."""
    make, width, hidden, head, kernel = RandomWeights(4), 64, 96, 16, 4
    keys, values, state = 2, 4, 16  # heads of the linear attention, and the width of each
    inner, convolved = values * state, (2 * keys + values) * state
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "output_norm.weight": make.norm(width)}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": make.norm(width),
            f"blk.{i}.post_attention_norm.weight": make.norm(width),
            **_feed_forward(make, i, width, hidden),
        }
    tensors |= {
        "blk.0.attn_qkv.weight": make(convolved, width),
        "blk.0.attn_gate.weight": make(inner, width),
        "blk.0.ssm_conv1d.weight": make(convolved, kernel),
        "blk.0.ssm_dt.bias": make(values),
        "blk.0.ssm_a": np.asarray(-np.abs(make(values)) - 0.1, np.float32),
        "blk.0.ssm_beta.weight": make(values, width),
        "blk.0.ssm_alpha.weight": make(values, width),
        "blk.0.ssm_norm.weight": make.norm(state),
        "blk.0.ssm_out.weight": make(width, inner),
        "blk.1.attn_q.weight": make(2 * 4 * head, width),
        "blk.1.attn_k.weight": make(2 * head, width),
        "blk.1.attn_v.weight": make(2 * head, width),
        "blk.1.attn_output.weight": make(width, 4 * head),
        "blk.1.attn_q_norm.weight": make.norm(head),
        "blk.1.attn_k_norm.weight": make.norm(head),
    }
    writer = gguf.GGUFWriter(path, "qwen35")
    llama_like(writer, context, width, layers=2, hidden=hidden, heads=4)
    writer.add_head_count_kv(2)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_sections([3, 3, 2, 0])
    writer.add_full_attention_interval(2)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(values)
    writer.add_ssm_group_count(keys)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)


def write_mamba_hybrid(path: Path, *, context: int = 512) -> Path:
    """Write a Nemotron-H with random weights: one layer of Mamba-2, one of attention, one feed-forward."""
    make, width, hidden, head, kernel = RandomWeights(5), 64, 96, 16, 4
    heads, state, groups = 4, 16, 2
    inner = 2 * width
    convolved = inner + 2 * groups * state
    tensors = {"token_embd.weight": make(len(VOCABULARY.tokens), width), "output_norm.weight": make.norm(width)}
    tensors |= {f"blk.{i}.attn_norm.weight": make.norm(width) for i in range(3)}
    tensors |= {
        "blk.0.ssm_in.weight": make(inner + convolved + heads, width),
        "blk.0.ssm_conv1d.weight": make(convolved, kernel),
        "blk.0.ssm_conv1d.bias": make(convolved),
        "blk.0.ssm_dt.bias": make(heads),
        "blk.0.ssm_a": np.asarray(-np.abs(make(heads, 1)) - 0.1, np.float32),
        "blk.0.ssm_d": make(heads, 1),
        "blk.0.ssm_norm.weight": np.ones((groups, inner // groups), np.float32),
        "blk.0.ssm_out.weight": make(width, inner),
        "blk.1.attn_q.weight": make(4 * head, width),
        "blk.1.attn_k.weight": make(2 * head, width),
        "blk.1.attn_v.weight": make(2 * head, width),
        "blk.1.attn_output.weight": make(width, 4 * head),
        "blk.2.ffn_up.weight": make(hidden, width),
        "blk.2.ffn_down.weight": make(width, hidden),
    }
    writer = gguf.GGUFWriter(path, "nemotron_h")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(3)
    writer.add_feed_forward_length([0, 0, hidden])
    writer.add_head_count(4)
    writer.add_head_count_kv([0, 2, 0])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(len(VOCABULARY.tokens))
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(groups)
    writer.add_chat_template(CHATML)
    VOCABULARY.add_to(writer)
    return save(path, writer, tensors)
