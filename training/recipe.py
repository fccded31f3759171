"""What the two models of the built-in pair are, and the making of one: training, export, its row of the card."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training.export import export
from training.growth import mean
from training.model import Shape
from training.train import Plan, train, trained

_SMALL = Shape(width=128, layers=3, heads=4, feed_forward=192, periods=())
_SEEDLING = Shape(width=192, layers=5, heads=6, feed_forward=512)
_LARGE = Shape(width=320, layers=8, heads=10, feed_forward=896)
PLANS = {
    "small": Plan(_SMALL, batches=12_000, course="wide"),
    "seedling": Plan(_SEEDLING, batches=6000, course="wide", ends_at=0.3),
    # At the seedling's rate it forgets first: the loss is twice as high after 500 batches.
    "large": Plan(_LARGE, 5000, grows_from="seedling", course="wide", matrix_rate=0.008, embedding_rate=0.001),
    "small end": Plan(_SMALL, 6000, grows_from="small"),
    "large end": Plan(_LARGE, 5000, grows_from="large", matrix_rate=0.012, embedding_rate=0.0012),
    "small broad": Plan(_SMALL, 6000, grows_from="small end", course="broad"),
    "large broad": Plan(
        _LARGE,
        3668,
        grows_from="large end",
        course="broad",
        tokens=16_384,
        matrix_rate=0.012,
        embedding_rate=0.0012,
    ),
    "small last": Plan(_SMALL, 3000, grows_from="small broad", matrix_rate=0.012, embedding_rate=0.0012),
    "large last": Plan(_LARGE, 750, grows_from="large broad", matrix_rate=0.002, embedding_rate=0.0002),
}
TOGETHER = ("small", "seedling")
"""Trained side by side, one thread each: two threads on one of these do not halve its time."""
EXPORTED = {"small last": "small", "large last": "large"}
"""Which stage becomes which of the two: the mean of its weights and those it began with.

The last stage is about what the pair is tested on, and forgets some of the stage before, which is about what strangers
write; the mean does both better than either (model soups, arXiv 2203.05482).
"""
ROWS_HEAD = """\
| | parameters | layers | width | heads | feed-forward | Fourier | begins as | batches | tokens a batch | minutes |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def make(name: str, tokenizer: Tokenizer, *, seed: int, device: str, threads: int, checkpoints: Path, out: Path) -> str:
    """Train a model, and export it to the folder `out` if it is one of the pair; return its row of the card."""
    torch.set_num_threads(threads)
    _keep_memory()
    processes = 0 if device == "cpu" else max(1, (os.cpu_count() or 1) - 2)
    model, minutes = train(
        name, PLANS, tokenizer, seed, folder=checkpoints, device=torch.device(device), processes=processes
    )
    if name in EXPORTED:
        begun = trained(PLANS[name].grows_from or name, PLANS, tokenizer, checkpoints)
        export(mean(begun, model), tokenizer, out / f"{EXPORTED[name]}.gguf", f"glimp built-in {EXPORTED[name]}")
    return _row(name, PLANS[name], sum(p.numel() for p in model.parameters()) / 1e6, minutes)


def _keep_memory() -> None:
    """Let the C library keep what torch frees for the next batch: giving it back takes a tenth of the time, or more."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def _row(name: str, plan: Plan, millions: float, minutes: float) -> str:
    shape = plan.shape
    cells = (
        name,
        f"{millions:.2f} million",
        *(shape.layers, shape.width, shape.heads, shape.feed_forward, "yes" if shape.periods else "no"),
        *(plan.grows_from or "random numbers", f"{plan.batches:,}", f"{plan.tokens:,}"),
        f"{minutes:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |\n"
