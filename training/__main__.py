"""Make the built-in pair anew: `python -m training`.

Vocabulary, small model, large model, both as GGUF files in the package, and the model card's figures. The same seed,
versions and number of threads give the same models.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import gguf
import torch

from benchmarks.machine import describe
from training import evaluate
from training.export import export
from training.model import Shape
from training.stories import held_out
from training.tokenizer import train_tokenizer
from training.train import Plan, train
from training.words import HELD_OUT, TAUGHT

KIND = gguf.GGMLQuantizationType.F16
"""Of the matrices in the files."""
PLANS = {
    "small": Plan(Shape(width=128, layers=3, heads=4, feed_forward=192, periods=()), batches=4500),
    "large": Plan(Shape(width=128, layers=5, heads=4, feed_forward=384), batches=8000),
}
SETS = (TAUGHT, HELD_OUT)
HELD_OUT_SEEDS = (evaluate.TEST, evaluate.VALIDATION, 3)
"""Seeds of the stories that are never trained on: the card's, the threshold's, the tests'."""


def main() -> None:
    """Train, export, evaluate."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--device", default="cpu", help="torch's name of the device, like cuda (default: cpu)")
    parser.add_argument("--out", type=Path, default=evaluate.BUILTIN, help="folder of the models and their card")
    parser.add_argument("--only", choices=PLANS, help="train one of the two and evaluate nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    without = frozenset(
        story.question for words in SETS for seed in HELD_OUT_SEEDS for story in held_out(words, 500, seed)
    )
    tokenizer = train_tokenizer(options.seed)
    machine, rows = describe(), []
    for name, plan in PLANS.items():
        if options.only in {None, name}:
            begin = time.monotonic()
            model = train(
                plan, tokenizer, options.seed, without=without, name=name, device=torch.device(options.device)
            )
            export(model, tokenizer, options.out / f"{name}.gguf", f"glimp built-in {name}", KIND)
            count = sum(p.numel() for p in model.parameters()) / 1e6
            minutes = (time.monotonic() - begin) / 60
            rows.append(_row(name, plan, count, minutes))
    recipe = (
        f"{ROWS_HEAD}{''.join(rows)}\nTrained on {options.threads} threads of: {machine}; torch {torch.__version__}."
    )
    print(recipe)
    if options.only is None:
        evaluate.fill(options.out / "README.md", "recipe", recipe)
        with evaluate.open_pair(options.out) as pair:
            figures = evaluate.report(pair, 500)
        evaluate.fill(options.out / "README.md", "figures", figures)
        print(figures)


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
