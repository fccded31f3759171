"""Make the built-in pair anew: `python -m training`.

Vocabulary, small model, large model, both as GGUF files in the package, and the model card's figures. On one
machine the same seed and versions give the same models.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer

from benchmarks.machine import describe
from training import evaluate
from training.export import export
from training.model import Shape
from training.stories import held_out
from training.tokenizer import train_tokenizer
from training.train import Plan, train
from training.words import HELD_OUT, TAUGHT

PLANS = {
    "small": Plan(Shape(width=128, layers=3, heads=4, feed_forward=192, periods=()), batches=4000),
    "large": Plan(Shape(width=128, layers=5, heads=4, feed_forward=384), batches=7500),
}
SETS = (TAUGHT, HELD_OUT)


def main() -> None:
    """Train, export, evaluate."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="torch's name of the device, like cuda (default: cpu)")
    parser.add_argument("--out", type=Path, default=evaluate.BUILTIN, help="folder of the models and their card")
    parser.add_argument("--only", choices=PLANS, help="train one of the two and evaluate nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    without = frozenset(
        story.question for words in SETS for seed in evaluate.SEEDS for story in held_out(words, evaluate.MOST, seed)
    )
    tokenizer = train_tokenizer(options.seed, without=without)
    machine = describe()
    names = [name for name in PLANS if options.only in {None, name}]
    # Side by side, one thread each: two threads on one of these models do not halve its time.
    with ProcessPoolExecutor(len(names), mp_context=multiprocessing.get_context("spawn")) as processes:
        make = partial(_make, tokenizer, without, options)
        rows = list(processes.map(make, names))
    recipe = (
        f"{ROWS_HEAD}{''.join(rows)}\nVocabulary: {tokenizer.get_vocab_size():,} tokens. "
        f"Both trained at once, a thread each, on: {machine}; torch {torch.__version__}."
    )
    print(recipe)
    if options.only is None:
        evaluate.fill(options.out / "README.md", "recipe", recipe)
        with evaluate.open_pair(options.out) as pair:
            figures = evaluate.report(pair, evaluate.MOST)
        evaluate.fill(options.out / "README.md", "figures", figures)
        print(figures)


def _make(tokenizer: Tokenizer, without: frozenset[str], options: argparse.Namespace, name: str) -> str:
    """Train and export one model in a process of its own; give its row of the card."""
    torch.set_num_threads(1)
    _keep_memory()
    begin, plan = time.monotonic(), PLANS[name]
    model = train(plan, tokenizer, options.seed, without=without, name=name, device=torch.device(options.device))
    export(model, tokenizer, options.out / f"{name}.gguf", f"glimp built-in {name}")
    count = sum(p.numel() for p in model.parameters()) / 1e6
    return _row(name, plan, count, (time.monotonic() - begin) / 60)


def _keep_memory() -> None:
    """Let the C library keep what torch frees for the next batch: giving it back takes a tenth of the time, or more."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


ROWS_HEAD = """\
| | parameters | layers | width | heads | feed-forward | Fourier features | batches | tokens a batch | minutes |
|---|---|---|---|---|---|---|---|---|---|
"""


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


if __name__ == "__main__":
    main()
