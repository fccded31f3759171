"""Models made of others: a larger one that computes the same as a smaller one, and the mean of two.

In the larger one what is new begins at zero wherever it would be seen, and at random where it is not: new numbers of
the hidden state get nothing added, new heads and new parts of the feed-forward give nothing out, new layers change
nothing. All of it learns from the first batch on (Net2Net, arXiv 1511.05641, does the same for other architectures).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.model import Block, Model, Shape


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch is `Any` to the checker
def grow(small: Model, shape: Shape, numbers: list[int]) -> Model:
    """Return a model of a larger shape, with heads as large, that computes the same.

    Raises ValueError for a shape that is smaller somewhere.
    """
    old = small.shape
    grows = (shape.width >= old.width, shape.layers >= old.layers, shape.feed_forward >= old.feed_forward)
    if not all(grows) or shape.size != old.size or shape.periods != old.periods:
        raise ValueError(f"{old} cannot grow into {shape}")
    model = Model(shape, len(small.free.weight), numbers)
    model.free.weight.zero_()
    model.code.zero_()
    _put(model.free.weight, small.free.weight)
    _put(model.code, small.code)
    # Evenly between the old layers: what a layer reads was written some layers before.
    places = [round((index + 1) * shape.layers / old.layers) - 1 for index in range(old.layers)]
    for index, block in enumerate(model.blocks):
        _silence(block)
        if index in places:
            _copy(block, small.blocks[places.index(index)], old, shape)
    _norm(model.norm.weight, small.norm.weight, old, shape)
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch is `Any` to the checker
def mean(one: Model, other: Model) -> Model:
    """Return `other` with the mean of the weights of both, which have one shape."""
    for weight, of_one in zip(other.parameters(), one.parameters(), strict=True):
        weight.lerp_(of_one, 0.5)
    return other


def _silence(block: Block) -> None:
    """Let a layer add nothing to the hidden state."""
    block.attention.o.weight.zero_()
    block.feed_forward.down.weight.zero_()


def _copy(block: Block, old: Block, before: Shape, shape: Shape) -> None:
    for name in ("q", "k", "v", "o"):
        _put(getattr(block.attention, name).weight, getattr(old.attention, name).weight)
    for name in ("gate", "up", "down"):
        _put(getattr(block.feed_forward, name).weight, getattr(old.feed_forward, name).weight)
    _norm(block.attention_norm.weight, old.attention_norm.weight, before, shape)
    _norm(block.feed_forward_norm.weight, old.feed_forward_norm.weight, before, shape)


def _put(weight: Tensor, old: Tensor) -> None:
    """Put an old matrix into the upper left corner of a new one."""
    weight[tuple(slice(size) for size in old.shape)] = old


def _norm(weight: Tensor, old: Tensor, before: Shape, shape: Shape) -> None:
    """Norm by the mean over a wider state, most of which is the old one's."""
    weight[:] = (before.width / shape.width) ** 0.5
    weight[: before.width] *= old
