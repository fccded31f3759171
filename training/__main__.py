"""Make the built-in pair anew: `python -m training`.

Vocabulary, small model, large model, both as GGUF files in the package, and the model card's figures. On one
machine the same seed and versions give the same models.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from glimp_local.machine.survey import describe_with_load
from training import evaluate
from training.recipe import PLANS, ROWS_HEAD, make
from training.stories import held_out
from training.tokenizer import train_tokenizer
from training.words import HELD_OUT, TAUGHT

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
    machine = describe_with_load()
    names = [name for name in PLANS if options.only in {None, name}]
    # Side by side, one thread each: two threads on one of these models do not halve its time.
    with ProcessPoolExecutor(len(names), mp_context=multiprocessing.get_context("spawn")) as processes:
        shared = {"seed": options.seed, "without": without, "device": options.device, "out": options.out}
        making = [processes.submit(make, name, tokenizer, **shared) for name in names]
        rows = [made.result() for made in making]
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


if __name__ == "__main__":
    main()
