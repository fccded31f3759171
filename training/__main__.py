"""Make the built-in pair: `python -m training`.

Vocabulary, small model, large model, both as GGUF files in the package, and the model card's figures. On one
machine the same seed and versions give the same models. A stopped run continues from its checkpoints.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from glimp_local.machine.survey import describe_with_load
from training import evaluate
from training.recipe import PLANS, ROWS_HEAD, TOGETHER, make
from training.tokenizer import train_tokenizer


def main() -> None:
    """Train, export, evaluate."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="torch's name of the device, like cuda (default: cpu)")
    parser.add_argument("--out", type=Path, default=evaluate.BUILTIN, help="folder of the models and their card")
    parser.add_argument(
        "--checkpoints", type=Path, default=Path("checkpoints"), help="folder to continue from (default: checkpoints)"
    )
    parser.add_argument("--only", choices=PLANS, help="train one of them and evaluate nothing")
    options = parser.parse_args()
    for folder in (options.out, options.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(options.seed)
    machine = describe_with_load()
    shared = {name: getattr(options, name) for name in ("seed", "device", "checkpoints", "out")}
    rows = []
    for names in (TOGETHER, *((name,) for name in PLANS if name not in TOGETHER)):
        chosen = [name for name in names if options.only in {None, name}]
        if chosen:
            threads = 1 if len(chosen) > 1 else os.cpu_count() or 1
            with ProcessPoolExecutor(len(chosen), mp_context=multiprocessing.get_context("spawn")) as processes:
                making = [processes.submit(make, name, tokenizer, threads=threads, **shared) for name in chosen]
                rows += [made.result() for made in making]
    recipe = (
        f"{ROWS_HEAD}{''.join(rows)}\nVocabulary: {tokenizer.get_vocab_size():,} tokens. "
        f"Small and seedling trained at once, a thread each, the others after them, one by one, on: {machine}; "
        f"torch {torch.__version__}."
    )
    print(recipe)
    if options.only is None:
        evaluate.fill(options.out / "README.md", "recipe", recipe)
        with evaluate.open_pair(options.out) as pair:
            print(evaluate.write(pair, options.out))


if __name__ == "__main__":
    main()
