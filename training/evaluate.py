"""What the built-in pair reaches on stories it never saw: `python -m training.evaluate`.

Solves held-out stories with the small model alone, the large model alone, routed by the pair's own threshold, and
routed by chance at the same share of steps; prints tables, and with `--write` puts them into the model card. Everything
runs through the package, as for a user.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from benchmarks.machine import describe
from glimp_local import Session
from glimp_local.config import load_catalogue, packaged_file
from glimp_local.entropy import glimpse
from glimp_local.events import Solution, fold
from glimp_local.pair import Pair, override
from glimp_local.routing import Alone, Policy, Random, Threshold
from training.stories import Story, held_out
from training.words import HELD_OUT, TAUGHT

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "glimp_local" / "builtin"
SEEDS = TEST, VALIDATION, SUITE = 1, 2, 3
"""Seeds of the held-out stories: the ones reported, the ones the threshold was chosen on, the test suite's."""
MOST = 500
"""So many stories of each seed are never trained on."""
HARDER = 10
"""One story of the harder set to so many of the other: a model that loses its thread writes until its budget ends."""
Z = 1.96


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--problems", type=int, default=500, help="stories (default: 500); of the harder set, a tenth")
    parser.add_argument("--folder", type=Path, help="folder of small.gguf and large.gguf (default: the package's)")
    parser.add_argument("--thresholds", help="only compare thresholds in nats, like 0.5,1,1.5, on other stories")
    parser.add_argument("--write", action="store_true", help="put the figures into the model card")
    options = parser.parse_args()
    with open_pair(options.folder) as pair:
        if options.thresholds:
            print(thresholds(pair, [float(text) for text in options.thresholds.split(",")], options.problems))
            return
        text = report(pair, options.problems)
    if options.write:
        fill(BUILTIN / "README.md", "figures", text)
    print(text)


def fill(card: Path, mark: str, text: str) -> None:
    """Put a text between a model card's marks; without a card, do nothing."""
    if card.exists():
        before, begin, rest = card.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        card.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


def open_pair(folder: Path | None = None) -> Pair:
    """Load the built-in pair as the package ships it, or two other files with its settings."""
    # The packaged file twice: the user's own settings must not change the figures.
    name, config = load_catalogue(packaged_file()).pair("builtin")
    if folder is not None:
        config = override(config, {model: {"path": str(folder / f"{model}.gguf")} for model in ("small", "large")})
    return Pair(name, config)


def report(pair: Pair, count: int) -> str:
    """Give the figures of both sets as Markdown."""
    temperature = pair.config.sampling.temperature
    lines = [f"{describe()}. Temperature {temperature:g}; 95% intervals in brackets.", ""]
    for title, words, number in (
        ("held-out stories", TAUGHT, count),
        ("stories of held-out names, things and wordings", HELD_OUT, count // HARDER),
    ):
        stories = held_out(words, number, TEST)
        lines += [f"### {number} {title}", "", *compare(pair, stories), "", signal(pair, stories), ""]
    sizes = {model: engine.path.stat().st_size for model, engine in pair.engines.items()}
    lines += [
        f"Sizes: small {sizes['small'] / 1e6:.2f} MB, large {sizes['large'] / 1e6:.2f} MB.",
        "",
        first_word(),
    ]
    return "\n".join(lines)


def compare(pair: Pair, stories: Sequence[Story]) -> list[str]:
    """Solve the stories under each policy; give a table and the differences between policies."""
    share = 0.0
    right: dict[str, npt.NDArray[np.float64]] = {}
    table = ["| policy | correct | steps on large | tokens on large | ms a problem (median) |", "|---|---|---|---|---|"]
    policies: dict[str, Callable[[int], Policy]] = {
        "small alone": lambda _: Alone("small"),
        "large alone": lambda _: Alone("large"),
        f"routed, H > {pair.config.threshold:g}": lambda _: Threshold(pair.config.threshold),
        "random at that share": lambda seed: Random(share, seed),
    }
    for name, policy in policies.items():
        solved = [solve(pair, story, policy(seed), seed) for seed, story in enumerate(stories)]
        right[name] = np.array([is_right(s, story) for s, story in zip(solved, stories, strict=True)], dtype=float)
        steps = sum(s.stats.steps for s in solved)
        found = sum(s.stats.steps_large for s in solved) / steps
        tokens = sum(s.stats.tokens_large for s in solved) / sum(s.stats.tokens for s in solved)
        if name.startswith("routed"):
            share = found
        seconds = statistics.median(s.stats.seconds for s in solved)
        table.append(f"| {name} | {_rate(right[name])} | {found:.1%} | {tokens:.1%} | {1000 * seconds:.0f} |")
    _, large, routed, chance = right.values()
    return [
        *table,
        "",
        f"Routed less large alone: {_difference(routed, large)} points.",
        f"Routed less random: {_difference(routed, chance)} points.",
    ]


def thresholds(pair: Pair, nats: Sequence[float], count: int) -> str:
    """Compare thresholds on the validation stories."""
    stories = held_out(TAUGHT, count, VALIDATION)
    rows = ["| threshold (nats) | correct | steps on large |", "|---|---|---|"]
    policies: dict[str, Policy] = {"small alone": Alone("small"), "large alone": Alone("large")}
    policies |= {f"{threshold:g}": Threshold(threshold) for threshold in nats}
    for name, policy in policies.items():
        solved = [solve(pair, story, policy, 0) for story in stories]
        right = np.array([is_right(s, story) for s, story in zip(solved, stories, strict=True)], dtype=float)
        share = sum(s.stats.steps_large for s in solved) / sum(s.stats.steps for s in solved)
        rows.append(f"| {name} | {_rate(right)} | {share:.1%} |")
    return "\n".join(rows)


def solve(pair: Pair, story: Story, policy: Policy, seed: int) -> Solution:
    """Solve one story with empty caches."""
    for engine in pair.engines.values():
        engine.rewind(0)
    return fold(Session(pair, seed=seed, policy=policy).ask(story.question))


def is_right(solution: Solution, story: Story) -> bool:
    """Is the boxed number the story's?"""
    return solution.boxed == str(story.number)


def signal(pair: Pair, stories: Sequence[Story]) -> str:
    """Say how well the small model's first-token entropy tells the steps it writes wrongly from the others.

    The past is always the right one: the small model reads the reference thought and is asked, at each step, for its
    likeliest tokens. A step is right when all of them are the reference's.
    """
    entropies: list[list[float]] = []
    rights: list[list[bool]] = []
    engine, prompts = pair.engines["small"], pair.prompts["small"]
    for story in stories:
        engine.sync(prompts.prompt([{"role": "user", "content": story.question}]))
        entropies.append([])
        rights.append([])
        begins = True
        tokens = engine.vocabulary.tokenize(f"{story.thought}\n", continues=True)
        for token in tokens[: engine.context - len(engine.ids)]:  # words in pieces make some thoughts too long
            logits = engine.logits()
            if begins:
                entropies[-1].append(glimpse(logits).entropy_nats)
                rights[-1].append(True)
            rights[-1][-1] &= bool(logits.argmax() == token)
            begins = engine.vocabulary.piece(token).endswith(b"\n\n")
            engine.decode(token)
    auroc = _auroc(_flat(entropies), _flat(rights))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(1000):  # whole stories are drawn: steps of one story hang together
        drawn = rng.integers(0, len(stories), len(stories))
        draws.append(_auroc(_flat([entropies[i] for i in drawn]), _flat([rights[i] for i in drawn])))
    low, high = np.quantile(draws, [0.025, 0.975])
    wrong = 1 - float(_flat(rights).mean())
    return (
        f"First-token entropy against the step being right, small model on the reference thought: AUROC {auroc:.3f} "
        f"({low:.3f}-{high:.3f}) over {sum(map(len, rights)):,} steps, {wrong:.1%} of them wrong."
    )


def first_word() -> str:
    """Measure the time from `glimp solve` to the first word of the thought."""
    problem = str(ROOT / "examples" / "marbles.txt")
    command = [sys.executable, "-m", "glimp_local", "solve", problem, "--pair", "builtin", "--jsonl"]
    environment = {**os.environ, "GLIMP_MODELS": str(packaged_file())}
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["type"] == "text":
                    seconds.append(time.perf_counter() - begin)
                    break
            process.communicate()
    return (
        f"From `glimp solve` to the first word: {statistics.median(seconds):.2f} s, Python's start and all imports "
        "included (median of 7)."
    )


def _flat(rows: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    return np.array([value for row in rows for value in row], dtype=float)


def _auroc(entropies: npt.NDArray[np.float64], rights: npt.NDArray[np.float64]) -> float:
    """Give the probability that a wrong step has the higher entropy of the two (Mann-Whitney's U, ties by halves)."""
    wrong, right = entropies[rights == 0], entropies[rights == 1]
    return float(mannwhitneyu(wrong, right).statistic / (len(wrong) * len(right)))


def _rate(right: npt.NDArray[np.float64]) -> str:
    """Give a rate with Wilson's 95% interval."""
    n, p = len(right), float(right.mean())
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return f"{p:.1%} ({middle - half:.1%}-{middle + half:.1%})"


def _difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> str:
    """Give the difference of two rates on the same stories, in points, with a paired bootstrap's 95% interval."""
    rng = np.random.default_rng(0)
    delta = 100 * (one - other)
    means = delta[rng.integers(0, len(delta), (10_000, len(delta)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{delta.mean():+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
