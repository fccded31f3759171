"""The glimpse: how sure is a model of its next token?

Takes one row of raw logits and gives the entropy of their softmax in nats, with the probability of the likeliest
token and its margin over the second. Knows nothing about models, steps or routing; does no forward pass.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from glimp_local.routing import Glimpse

# exp(-104) is the smallest a float32 can still tell from zero. Raising what lies below it (-inf included) to
# this floor changes no probability and keeps 0 * -inf, which is no number, out of the sum.
_FLOOR = np.float32(-110.0)


def glimpse(logits: npt.NDArray[np.float32], *, top_k: int | None = None) -> Glimpse:
    """Measure how sure a next-token distribution is.

    `logits` is one row of raw logits, shape (n_vocab,), float32, temperature 1; it is read, not changed. With z the
    logits less their maximum and Z = sum exp(z), the entropy is H = ln Z - (sum z exp(z)) / Z, which is
    -sum p ln p without a logarithm for each token. The sums accumulate in float64.

    `top_k` keeps only the k likeliest tokens and renormalises them, as GlimpRouter's published code does with
    k = 20 (arXiv 2601.05110); the default is the whole vocabulary, as its text says.

    Raises ValueError when there is no distribution: nothing finite, NaN, or +inf among the logits.
    """
    if top_k is not None and top_k < logits.size:
        logits = np.partition(logits, logits.size - top_k)[-top_k:]
    best = int(logits.argmax())
    peak = logits[best]
    if not math.isfinite(peak):
        raise ValueError("the logits form no distribution: their maximum is not a finite number")
    with np.errstate(over="ignore"):  # a difference beyond float32 is -inf, and the floor catches it
        z = np.maximum(logits - peak, _FLOOR)
    # Every element but the best one, without a copy: the second likeliest is the larger of two slices' maxima.
    second = max((float(part.max()) for part in (z[:best], z[best + 1 :]) if part.size), default=-math.inf)
    weights = np.exp(z)
    total = float(weights.sum(dtype=np.float64))
    np.multiply(z, weights, out=z)
    entropy = math.log(total) - float(z.sum(dtype=np.float64)) / total
    top1 = 1.0 / total
    return Glimpse(entropy_nats=max(entropy, 0.0), top1_probability=top1, margin=top1 * (1.0 - math.exp(second)))
