"""Whole problems: seconds and right answers of the large model alone and of a routed pair, with and without drafts."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

import msgspec

from benchmarks.document import table
from benchmarks.figures import number, ratio
from benchmarks.setup import BUILTIN, Files, MissingError, Setup
from glimp_local.bench.asking import Instruction, asked, check_lengths, instruction_for
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem, read_problems
from glimp_local.bench.statistics import rate
from glimp_local.events import fold
from glimp_local.pair import Pair
from glimp_local.routing import Alone, Policy, Speculative
from glimp_local.session.session import Session

HEADING = "End to end: seconds and right answers"

_REAL = {"context": 4096, "max_answer": 512}


class Arm(msgspec.Struct, frozen=True):
    """A way of solving problems."""

    name: str
    draft: str
    policy: str
    catch_up: str = "lazy"

    def make(self, pair: Pair, seed: int) -> Policy:
        """Make the policy."""
        match self.policy:
            case "large":
                return Alone("large")
            case "speculative":
                return Speculative()
            case _:
                return pair.policy(pair.config.run, seed)


ARMS = (
    Arm("large", "off", "large"),
    Arm("large, drafting", "auto", "speculative"),
    Arm("routed", "off", "threshold"),
    Arm("routed, drafting", "auto", "threshold"),
    Arm("routed, eager", "off", "threshold", "eager"),
)


class Solved(msgspec.Struct, frozen=True):
    """One problem under one arm."""

    seconds: float
    correct: bool
    share_tokens: float
    """Tokens written by the large model, of all."""


def measure(setup: Setup) -> list[str]:
    """Solve the built-in pair's held-out problems, and those given for the pair of two vocabularies."""
    work: list[tuple[Files, list[Problem], dict[str, int]]] = [(BUILTIN, read_problems("builtin")[: setup.limit], {})]
    missing = []
    try:
        files = setup.two_vocabularies()
        work.append((files, read_problems(str(setup.given_problems()))[: setup.limit], _REAL))
    except MissingError as error:
        missing.append(str(error))
    rows = [row for files, problems, settings in work for row in _rows(setup, files, problems, settings)]
    columns = ("pair", "arm", "right", "mean s", "median s", "tokens of the large model", "seconds of large's")
    about = (
        "Problem by problem under every arm, each run with empty caches and the same seed. The last column is the "
        "median of the ratios, problem by problem. The pairs' own settings and thresholds; `large, drafting` has the "
        "small model draft where both have one vocabulary, and else only the text so far; in `routed, eager` each "
        "model reads along while the other one writes."
    )
    return [table(columns, rows), about, *missing]


def _rows(setup: Setup, files: Files, problems: list[Problem], settings: dict[str, int]) -> list[list[str]]:
    solved: dict[str, list[Solved]] = {arm.name: [] for arm in ARMS}
    with ExitStack() as opened, Grader() as grader:
        pairs = {
            (draft, catch_up): opened.enter_context(
                setup.open(files, draft=draft, catch_up=catch_up, policy="threshold", **settings)
            )
            for draft, catch_up in sorted({(arm.draft, arm.catch_up) for arm in ARMS})
        }
        plain = pairs["off", "lazy"]
        instruction = instruction_for(plain, None)
        check_lengths(plain, problems, instruction)
        for warm in pairs.values():
            fold(Session(warm, seed=1).ask(asked(problems[0], instruction)))
        for number_, problem in enumerate(problems):
            turn = number_ % len(ARMS)  # none always follows the same one
            for arm in (*ARMS[turn:], *ARMS[:turn]):
                solved[arm.name].append(_solve(pairs[arm.draft, arm.catch_up], arm, problem, instruction, grader))
    return [[files.name, arm.name, *_figures(solved[arm.name], solved["large"])] for arm in ARMS]


def _solve(pair: Pair, arm: Arm, problem: Problem, instruction: Instruction, grader: Grader) -> Solved:
    pair.forget()
    session = Session(pair, seed=1, policy=arm.make(pair, 1))
    solution = fold(session.ask(asked(problem, instruction)))
    correct = grader.grade(solution.answer, problem.answer, choices=problem.choices).correct
    return Solved(solution.stats.seconds, correct, solution.stats.share_tokens)


def _figures(runs: list[Solved], large: list[Solved]) -> list[str]:
    right = rate([float(run.correct) for run in runs])
    seconds = [run.seconds for run in runs]
    return [
        f"{sum(run.correct for run in runs)} of {len(runs)} ({right.low:.0%} to {right.high:.0%})",
        number(statistics.mean(seconds)),
        number(statistics.median(seconds)),
        f"{statistics.mean(run.share_tokens for run in runs):.0%}",
        ratio(seconds, [run.seconds for run in large]),
    ]
