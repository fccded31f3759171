"""The two models' architecture in torch: Llama's, as llama.cpp computes it under the name "llama".

RMSNorm before attention and before a gated feed-forward part, rotary positions over interleaved pairs, embeddings tied
to the output. Knows nothing of stories or files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPSILON = 1e-5
ROPE_BASE = 500_000.0
"""Half of each head's numbers then turn so slowly that they tell tokens apart whatever their distance."""
PERIODS = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The cycles of digits, and halves and fifths of them."""
_BACK, _WINDOW = 5, 4
"""Most tokens that a head begins by looking back, and about how many the window's does."""


@dataclass(frozen=True)
class Shape:
    """How large a model is."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    periods: tuple[int, ...] = PERIODS
    """Periods of the numbers' Fourier features; without any, numbers begin as words do and sums are learnt slowly."""
    context: int = 2048
    """Positions; training sees fewer."""

    @property
    def size(self) -> int:
        """Numbers a head works with."""
        return self.width // self.heads


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q, self.k, self.v, self.o = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        batch, tokens, width = x.shape
        q, k, v = (f(x).view(batch, tokens, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = rotate(q, turn), rotate(k, turn)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True) if x.is_cuda else attend(q, k, v)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch is `Any` to the checker
def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mix values (batch, heads, tokens, size) causally.

    Written out and not compiled: for short texts on a CPU that takes half the time of torch's fused attention.
    """
    tokens, size = q.shape[-2:]
    scores = q @ k.transpose(2, 3) * size**-0.5
    future = torch.full((tokens, tokens), -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
    return torch.softmax(scores + future, -1, dtype=scores.dtype) @ v


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, NORM_EPSILON)
        self.attention = Attention(shape)
        self.feed_forward_norm = nn.RMSNorm(shape.width, NORM_EPSILON)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        x = x + self.attention(self.attention_norm(x), turn)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class Model(nn.Module):
    """A model over `vocabulary` tokens: `numbers` are those of 0, 1, 2, ... in order.

    A number's embedding is a free vector plus its Fourier features, if the shape has any, mapped to the model's width.
    The map is learnt and the same for all numbers, so what is learnt of one sum helps with its neighbours.
    """

    def __init__(self, shape: Shape, vocabulary: int, numbers: list[int]) -> None:
        super().__init__()
        self.shape = shape
        self.free = nn.Embedding(vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, NORM_EPSILON)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        # All embeddings begin with about one length.
        nn.init.normal_(self.free.weight, std=shape.width**-0.5)
        count = len(shape.periods)
        self.code = nn.Parameter(torch.eye(2 * count, shape.width) * max(count, 1) ** -0.5)
        if count:
            with torch.no_grad():
                self.free.weight[numbers] *= 0.5
        features = torch.zeros(vocabulary, 2 * count)
        features[numbers] = fourier(len(numbers), shape.periods)
        turns = ROPE_BASE ** (-torch.arange(0, shape.size, 2) / shape.size)
        angles = torch.outer(torch.arange(shape.context), turns)
        self._look_back(turns)
        for name, value in (("features", features), ("cosines", angles.cos()), ("sines", angles.sin())):
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is `Any` to the checker
    def _look_back(self, turns: Tensor) -> None:
        """Let heads of the first layer begin by looking some tokens back, and the second layer's by copying.

        Together they find where the present tokens stood earlier, and copy what followed there: induction heads (arXiv
        2209.11895). Quoting a sentence and finding an amount need them, and without this start they are hardly there
        after 800 batches. Each compares tokens at another distance, and one a window of several, so that the longest
        match has the most votes: many sentences end with the same words. Those that look `lately` prefer what stood
        there last: an amount changes.
        """
        first, second = (block.attention for block in list(self.blocks)[:2])
        self.free.weight[:, -1] = 0.5  # the same for all tokens: a score made of it depends on the distance alone
        near, wide = (turns > 1 / 20).float(), ((turns < 1 / 2) & (turns > 1 / 40)).float()
        token, count = self._subspace(), min(self.shape.heads - 1, _BACK)
        *back, window = (self._subspace(constant=True) for _ in range(count + 1))
        for head, subspace in enumerate([*back, window]):
            rows, used = self._rows(head), near if head < count else wide
            distance = (head + 1 if head < count else _WINDOW) * turns
            first.q.weight[rows, -1] = _pairs(distance.cos() * used, -distance.sin() * used)
            first.k.weight[rows, -1] = _pairs(used, 0 * used)
            first.v.weight[rows], first.o.weight[:, rows] = token.T, 0.1 * subspace
        # Only slow turns tell tokens apart whatever their distance; somewhat faster ones fade within a hundred tokens.
        far, lately = (turns < 1 / 300).float(), (turns < 1 / 50).float()
        heads = [(token, back[0], far), (2 * back[0], 2 * back[1], lately), (2 * back[1], 2 * back[2], far)]
        heads += [(2 * window, 2 * window, far), (token, back[0], lately)]
        heads += [(2 * late, 2 * early, far) for late, early in pairwise(back[2:])]
        for head, (wanted, seen, used) in enumerate(heads[: self.shape.heads]):
            rows, copied, scale = self._rows(head), self._subspace(), 2 * _pairs(used, used)[:, None]
            second.q.weight[rows], second.k.weight[rows] = wanted.T * scale, seen.T * scale
            second.v.weight[rows], second.o.weight[:, rows] = copied.T, 0.3 * copied

    def _rows(self, head: int) -> slice:
        """Give the place of a head in its layer's matrices."""
        return slice(head * self.shape.size, (head + 1) * self.shape.size)

    def _subspace(self, *, constant: bool = False) -> Tensor:
        """Give random orthonormal columns (width, size of a head), blind to the constant unless it is asked for."""
        basis: Tensor = torch.linalg.qr(torch.randn(self.shape.width, self.shape.size)).Q
        if not constant:
            basis[-1] = 0.0
        return basis

    def embeddings(self) -> Tensor:
        """Give the table (vocabulary, width) that stands at the model's input and, transposed, at its output."""
        table: Tensor = self.free.weight + self.features @ self.code
        return table

    def forward(self, ids: Tensor, table: Tensor) -> Tensor:
        """Map token ids (batch, tokens) to normalised hidden states (batch, tokens, width)."""
        x = functional.embedding(ids, table)
        tokens = ids.shape[1]
        # In 16 bits, like what they turn, so that attention stays in them; llama.cpp has the angles in 32.
        turn = self.cosines[:tokens].to(torch.bfloat16), self.sines[:tokens].to(torch.bfloat16)
        for block in self.blocks:
            x = block(x, turn)
        out: Tensor = self.norm(x)
        return out


def fourier(count: int, periods: tuple[int, ...]) -> Tensor:
    """Give the features (count, 2 * periods) of the numbers 0, 1, ...: cosines and sines of their cycles.

    Without them addition is hardly learnt in the time there is: sums become turns of angles.
    """
    angles = 2 * math.pi * torch.outer(torch.arange(count), 1 / torch.tensor(periods, dtype=torch.float))
    return torch.stack((angles.cos(), angles.sin()), -1).flatten(1)


def _pairs(first: Tensor, second: Tensor) -> Tensor:
    """Put two vectors in turns, as rotary positions pair a head's numbers."""
    return torch.stack((first, second), -1).flatten()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn neighbouring pairs of the last dimension by their position's angles."""
    cosine, sine = turn
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack((first * cosine - second * sine, first * sine + second * cosine), -1).flatten(-2)
