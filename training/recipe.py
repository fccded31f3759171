"""What the two models of the built-in pair are, and the making of one: training, export, its row of the card."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training.export import export
from training.model import Shape
from training.train import Plan, train

PLANS = {
    "small": Plan(Shape(width=128, layers=3, heads=4, feed_forward=192, periods=()), batches=6000),
    "large": Plan(Shape(width=128, layers=5, heads=4, feed_forward=384), batches=8500),
}
ROWS_HEAD = """\
| | parameters | layers | width | heads | feed-forward | Fourier features | batches | tokens a batch | minutes |
|---|---|---|---|---|---|---|---|---|---|
"""


def make(name: str, tokenizer: Tokenizer, *, seed: int, without: frozenset[str], device: str, out: Path) -> str:
    """Train a model on one CPU thread, or a device, and export it to the folder `out`; give its row of the card."""
    torch.set_num_threads(1)
    _keep_memory()
    begin, plan = time.monotonic(), PLANS[name]
    model = train(plan, tokenizer, seed, without=without, name=name, device=torch.device(device))
    export(model, tokenizer, out / f"{name}.gguf", f"glimp built-in {name}")
    count = sum(p.numel() for p in model.parameters()) / 1e6
    return _row(name, plan, count, (time.monotonic() - begin) / 60)


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
        *(f"{plan.batches:,}", f"{plan.tokens:,}"),
        f"{minutes:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |\n"
