"""Does routing pay on a pair? Small alone, large alone, threshold, and random at the same share, on real problems.

The policies take turns problem by problem on the same two loaded models, each run beginning with empty caches.
`random` draws at the share the threshold gave on the same problem. Problems are JSON lines with `question` and
`answer`, whose last number is the result (GSM8K's own form).

    python -m benchmarks.policies PROBLEMS.jsonl --small A.gguf --large B.gguf --limit 20
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from time import perf_counter

import click
from scipy.stats import fisher_exact

from benchmarks.machine import describe
from glimp_local.events import Solution, fold
from glimp_local.pair import Pair, load_pair
from glimp_local.routing import Alone, Policy, Random, Threshold
from glimp_local.session import Session

PROMPT = "{}\n\nReason step by step, with a blank line between two steps. Put the final number in \\boxed{{}}."


def last_number(text: str) -> float | None:
    """Give the last number in a text, thousands separators and units left out."""
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return float(found[-1].replace(",", "")) if found else None


def is_right(solution: Solution, answer: str) -> bool:
    """Compare the boxed number (else the last one) with the result."""
    given = last_number(solution.boxed or "")
    return (last_number(solution.answer) if given is None else given) == last_number(answer)


def run(pair: Pair, policy: Policy, question: str, seed: int) -> tuple[Solution, float]:
    """Solve one problem with empty caches; give the run and its seconds."""
    for engine in pair.engines.values():
        engine.rewind(0)
    start = perf_counter()
    solution = fold(Session(pair, seed=seed, policy=policy).ask(PROMPT.format(question)))
    return solution, perf_counter() - start


@click.command()
@click.argument("problems", type=click.Path(exists=True, path_type=Path))
@click.option("--small", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--large", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=20, show_default=True)
@click.option("--threshold", default=1.0, show_default=True, help="nats")
@click.option("--temperature", default=0.6, show_default=True)
@click.option("--max-answer", default=512, show_default=True, help="tokens")
def main(  # noqa: D103, PLR0917 - the help is the module's, the arguments are flags
    problems: Path, small: Path, large: Path, limit: int, threshold: float, temperature: float, max_answer: int
) -> None:
    lines = [json.loads(line) for line in problems.read_text(encoding="utf-8").splitlines()[:limit]]
    print(describe())
    right: dict[str, list[bool]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, int] = defaultdict(int)
    steps_large: dict[str, int] = defaultdict(int)
    tokens: dict[str, list[float]] = defaultdict(list)
    with load_pair(
        small=small,
        large=large,
        context=4096,
        sampling={"temperature": temperature},
        max_answer=max_answer,
    ) as pair:
        for number, line in enumerate(lines):
            share = 0.0
            for name in ("small", "large", "threshold", "random"):
                policy: Policy
                match name:
                    case "threshold":
                        policy = Threshold(threshold)
                    case "random":
                        policy = Random(share, number)
                    case "small" | "large" as model:
                        policy = Alone(model)
                solution, took = run(pair, policy, line["question"], number)
                if name == "threshold":
                    share = solution.stats.share_steps
                right[name].append(is_right(solution, line["answer"]))
                seconds[name].append(took)
                tokens[name].append(solution.stats.tokens)
                steps[name] += solution.stats.steps
                steps_large[name] += solution.stats.steps_large
            print(f"  {number + 1}/{len(lines)}", {name: f"{seconds[name][-1]:.1f} s" for name in right}, flush=True)
    print()
    print(f"{len(lines)} problems, temperature {temperature}, threshold {threshold} nats, {max_answer} tokens at most")
    print()
    print("| policy | correct | median s | mean s | mean tokens | steps on large |")
    print("|---|---|---|---|---|---|")
    for name, marks in right.items():
        print(
            f"| {name} | {sum(marks)} of {len(marks)} | {statistics.median(seconds[name]):.1f} | "
            f"{statistics.mean(seconds[name]):.1f} | {statistics.mean(tokens[name]):.0f} | "
            f"{steps_large[name] / max(steps[name], 1):.0%} of {steps[name]} |"
        )

    print()
    for other in ("random", "large"):
        table = [[sum(right[name]), len(lines) - sum(right[name])] for name in ("threshold", other)]
        print(f"threshold against {other}: Fisher's exact test, p = {fisher_exact(table).pvalue:.2f}")


if __name__ == "__main__":
    main()
