"""What the built-in pair reaches on questions it never saw: `python -m training.evaluate`.

Solves held-out questions with the small model alone, the large model alone, routed by the pair's own threshold, by
chance at the same share of steps, and with the large model while the small one drafts for it; prints tables, and with
`--write` puts them into the model card and the stories beside it. Everything runs through the package, as for a user.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from glimp_local import Session
from glimp_local.bench import statistics
from glimp_local.bench.verdict import points
from glimp_local.engines.glimpse import glimpse
from glimp_local.engines.llama.backend import engine_of
from glimp_local.errors import GlimpError
from glimp_local.events import Solution, fold
from glimp_local.load import LoadRequest, load
from glimp_local.machine.survey import describe_with_load
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.paths import packaged_file
from glimp_local.routing import MODELS, Alone, Model, Policy, Random, Speculative, Threshold
from training.samples import SETS, STORIES, TEST, VALIDATION, held_out
from training.sums import Question

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "glimp_local" / "builtin"
KINDS = ("quotes a sentence", "says what happens", "says what comes out", "says what there is")
_POLICIES = ("small alone", "large alone", "routed", "random at that share", "large alone, with drafts")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--problems", type=int, help="questions of each set, at most (default: all)")
    parser.add_argument("--set", choices=SETS, action="append", help="only this set of questions (several times)")
    parser.add_argument("--folder", type=Path, help="folder of small.gguf and large.gguf (default: the package's)")
    parser.add_argument(
        "--thresholds", type=float, nargs="+", metavar="NATS", help="only compare thresholds, on other stories"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the figures into the model card, the problems beside it"
    )
    options = parser.parse_args()
    if options.write and (options.problems or options.set or options.folder):
        parser.error("--write: only with all questions, of the package's own models")
    if options.problems is not None and options.problems < 1:
        parser.error("--problems: at least 1")
    try:
        pair = open_pair(options.folder)
    except GlimpError as error:
        parser.error(str(error))
    with pair:
        if options.thresholds:
            print(thresholds(pair, options.thresholds, options.problems or SETS[STORIES].most))
            return
        if options.write:
            print(write(pair, BUILTIN))
        else:
            print(report(pair, options.problems, options.set or list(SETS)))


def write(pair: Pair, folder: Path) -> str:
    """Put the figures of all sets into the model card in a folder, the stories beside it; return the figures."""
    text = report(pair, None, list(SETS))
    fill(folder / "README.md", "figures", text)
    (folder / "problems.jsonl").write_bytes(problems())
    return text


def problems() -> bytes:
    """Return the stories that are reported as JSON lines: what `glimp bench builtin` solves."""
    stories = enumerate(held_out(STORIES, SETS[STORIES].most, TEST), 1)
    lines = ({"id": number, "question": told.question, "answer": told.boxed} for number, told in stories)
    return msgspec.json.Encoder().encode_lines(lines)


def fill(card: Path, mark: str, text: str) -> None:
    """Put a text between a model card's marks; without a card, do nothing."""
    if not card.exists():
        return
    before, begin, rest = card.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not begin or not end:
        raise SystemExit(f"{card} has no place marked {mark!r} for the figures:\n\n{text}")
    card.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


def open_pair(folder: Path | None = None) -> Pair:
    """Load the built-in pair as the package ships it, or two other files with its settings."""
    # The packaged file twice: the user's own settings must not change the figures.
    files: dict[str, Any] = {}
    if folder is not None:
        files = {model: {"path": str(folder / f"{model}.gguf")} for model in MODELS}
    return load(LoadRequest("builtin", models_file=packaged_file(), settings=files))


def report(pair: Pair, most: int | None, sets: Sequence[str]) -> str:
    """Return the figures of held-out sets, `most` questions of each, as Markdown."""
    temperature = pair.config.sampling.temperature
    lines = [f"{describe_with_load()}. Temperature {temperature:g}; 95% intervals in brackets.", ""]
    for name in sets:
        questions = held_out(name, min(most or SETS[name].most, SETS[name].most), TEST)
        lines += [f"### {len(questions)} {name}", "", *compare(pair, questions), ""]
        if name == STORIES:
            lines += [*signal(pair, questions), ""]
    sizes = {model: engine_of(backend).path.stat().st_size for model, backend in pair.backends.items()}
    lines += [
        f"Sizes: small {sizes['small'] / 1e6:.2f} MB, large {sizes['large'] / 1e6:.2f} MB.",
        "",
        first_word(pair),
    ]
    return "\n".join(lines)


def compare(pair: Pair, questions: Sequence[Question]) -> list[str]:
    """Solve questions under each policy; return a table and the differences between policies.

    Each question is solved by one policy after the other, so that all of them see the machine in the same state.
    """
    solved: dict[str, list[Solution]] = {name: [] for name in _POLICIES}
    for seed, question in enumerate(questions):
        for name, runs in solved.items():
            runs.append(solve(pair, question, _policy(name, pair, solved["routed"], seed), seed))
    right = {
        name: np.array([is_right(run, question) for run, question in zip(runs, questions, strict=True)], dtype=float)
        for name, runs in solved.items()
    }
    table = [
        "| policy | correct | steps on large | tokens on large | ms a question (median) | of large alone's time |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in solved.items():
        steps = sum(run.stats.steps_large for run in runs) / sum(run.stats.steps for run in runs)
        tokens = sum(run.stats.tokens_large for run in runs) / sum(run.stats.tokens for run in runs)
        seconds = median(run.stats.seconds for run in runs)
        ratio = median(
            run.stats.seconds / large.stats.seconds for run, large in zip(runs, solved["large alone"], strict=True)
        )
        title = f"routed, H > {pair.config.threshold:g}" if name == "routed" else name
        table.append(
            f"| {title} | {rate(right[name])} | {steps:.1%} | {tokens:.1%} | {1000 * seconds:.0f} | {ratio:.2f} |"
        )
    return [
        *table,
        "",
        f"Routed less large alone: {difference(right['routed'], right['large alone'])} points.",
        f"Routed less random: {difference(right['routed'], right['random at that share'])} points.",
    ]


def _policy(name: str, pair: Pair, routed: Sequence[Solution], seed: int) -> Policy:
    """Return a policy of the table; chance draws at the share of steps that routing had so far."""
    match name:
        case "small alone":
            return Alone("small")
        case "large alone":
            return Alone("large")
        case "routed":
            return Threshold(pair.config.threshold)
        case "random at that share":
            steps = sum(run.stats.steps for run in routed)
            return Random(sum(run.stats.steps_large for run in routed) / max(steps, 1), seed)
        case _:
            return Speculative()


def thresholds(pair: Pair, nats: Sequence[float], count: int) -> str:
    """Compare thresholds on the validation stories."""
    stories = held_out(STORIES, min(count, SETS[STORIES].most), VALIDATION)
    rows = ["| threshold (nats) | correct | steps on large |", "|---|---|---|"]
    policies: dict[str, Policy] = {"small alone": Alone("small"), "large alone": Alone("large")}
    policies |= {f"{threshold:g}": Threshold(threshold) for threshold in nats}
    for name, policy in policies.items():
        solved = [solve(pair, story, policy, 0) for story in stories]
        right = np.array([is_right(s, story) for s, story in zip(solved, stories, strict=True)], dtype=float)
        share = sum(s.stats.steps_large for s in solved) / sum(s.stats.steps for s in solved)
        rows.append(f"| {name} | {rate(right)} | {share:.1%} |")
    return "\n".join(rows)


def solve(pair: Pair, question: Question, policy: Policy, seed: int) -> Solution:
    """Solve one question with empty caches."""
    pair.forget()
    return fold(Session(pair, seed=seed, policy=policy).ask(question.question))


def is_right(solution: Solution, question: Question) -> bool:
    """Is what stands in the box the question's, or the whole answer, if there is nothing to put into a box?"""
    if question.boxed is None:
        return solution.answer.strip() == question.answer
    return solution.boxed == question.boxed


def signal(pair: Pair, stories: Sequence[Question]) -> list[str]:
    """Say how well the small model's first-token entropy tells the steps it writes wrongly from the others.

    The past is always the right one: a model reads the reference thought and is asked, at each step, for its likeliest
    tokens. A step is right when all of them are the reference's.
    """
    small = [read(pair, "small", story) for story in stories]
    large = [read(pair, "large", story) for story in stories]
    found = statistics.clustered_auroc(
        [[step.entropy for step in story] for story in small], [[not step.right for step in story] for story in small]
    )
    steps = [step for story in small for step in story]
    rows = [
        (
            "First-token entropy against the step being right, small model on the reference thought: AUROC "
            f"{found.value:.3f} ({found.low:.3f}-{found.high:.3f}) over {len(steps):,} steps."
        ),
        "",
        f"| step of the thought | how many | small model wrong | large model wrong | H > {pair.config.threshold:g} |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS:
        of_small, of_large = ([step for story in one for step in story if step.kind == kind] for one in (small, large))
        shares = (
            fmean(not step.right for step in of_small),
            fmean(not step.right for step in of_large),
            fmean(step.entropy > pair.config.threshold for step in of_small),
        )
        rows.append(f"| {kind} | {len(of_small):,} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    return rows


@dataclass
class Step:
    """A reference step as a model reads it."""

    kind: str
    entropy: float
    """Of its first token, in nats."""
    right: bool = True


def read(pair: Pair, model: Model, story: Question) -> list[Step]:
    """Let a model read the reference thought and compare its likeliest tokens with it."""
    backend = pair.backends[model]
    engine, lane = engine_of(backend), backend.lane(pair.config, seed=0, cancel=threading.Event())
    lane.begin(lane.prepare(pair.as_read([Message("user", story.question)]), pair.markers))
    lane.glimpse()
    steps: list[Step] = []
    begins = True
    for token in engine.vocabulary.tokenize(f"{story.thought}\n", continues=True):
        if len(engine.ids) == engine.context:  # words in pieces make a thought too long
            return steps[:-1]
        logits = engine.logits()
        if begins:
            steps.append(Step(_kind(story.steps[len(steps)]), glimpse(logits).entropy_nats))
        steps[-1].right &= bool(logits.argmax() == token)
        begins = engine.vocabulary.piece(token).endswith(b"\n\n")
        engine.decode(token)
    return steps


def _kind(step: str) -> str:
    quote, event, result, state = KINDS
    if step.startswith(">"):
        return quote
    if step.startswith(("Now: ", "Start: ", "Swap: ", "Asked: ")):
        return state
    return event if re.match(r"[A-Z]\w+(:|\.$)", step) else result


def first_word(pair: Pair) -> str:
    """Measure the time from `glimp solve` to the first word of the thought."""
    command = [sys.executable, "-m", "glimp_local", "solve", str(ROOT / "examples" / "marbles.txt"), "--jsonl"]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models.toml"
        paths = {model: engine_of(backend).path for model, backend in pair.backends.items()}
        tables = (f"[pairs.{pair.name}.{model}]\npath = '{path}'\n" for model, path in paths.items())
        models.write_text("".join(tables), encoding="utf-8")
        environment = {**os.environ, "GLIMP_MODELS": str(models), "GLIMP_PAIR": pair.name}
        for _ in range(7):
            begin = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if json.loads(line)["type"] == "text":
                        seconds.append(time.perf_counter() - begin)
                        break
                _, said = process.communicate()
            if process.returncode:
                raise SystemExit(said.decode())
    return (
        f"From `glimp solve` to the first word: {median(seconds):.2f} s, Python's start and all imports included "
        "(median of 7)."
    )


def rate(right: npt.NDArray[np.float64]) -> str:
    """Give a rate with its 95% interval."""
    found = statistics.rate(right)
    return f"{found.value:.1%} ({abs(found.low):.1%}-{found.high:.1%})"  # never -0.0%


def difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> str:
    """Give the difference of two rates on the same stories, in points, with its 95% interval."""
    found = statistics.difference(one, other)
    return f"{points(found.value)} ({points(found.low)} to {points(found.high)})"


if __name__ == "__main__":
    main()
