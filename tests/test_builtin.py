"""The built-in pair: real models, real routing, on stories they never saw."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from glimp_local import Session, load_pair
from glimp_local.events import Solution, fold
from glimp_local.machine.choice import default_pair
from glimp_local.models.catalogue import load_catalogue
from glimp_local.pair import Pair
from glimp_local.routing import Alone, Policy, Random, Share, Threshold
from tests.support.commands import Glimp
from tests.support.sessions import engine_in, run, writers
from training.evaluate import is_right
from training.others import ANSWER
from training.samples import STORIES, SUITE, held_out
from training.sums import Question

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "glimp_local" / "builtin"
EXAMPLE = (ROOT / "examples" / "marbles.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with load_pair("builtin") as opened:
        yield opened


@pytest.fixture(scope="module")
def stories() -> list[Question]:
    return held_out(STORIES, 40, SUITE)


def solve(pair: Pair, story: Question, policy: Policy | None = None) -> Solution:
    return fold(Session(pair, seed=1, policy=policy).ask(story.question))


def right(pair: Pair, stories: list[Question], policy: Policy) -> tuple[int, float]:
    """Give how many stories are solved and the share of steps on the large model."""
    solutions = [solve(pair, story, policy) for story in stories]
    steps = sum(solution.stats.steps for solution in solutions)
    return (
        sum(solution.boxed == story.boxed for solution, story in zip(solutions, stories, strict=True)),
        sum(solution.stats.steps_large for solution in solutions) / steps,
    )


# The files.


def test_both_files_take_at_most_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in BUILTIN.glob("*.gguf")) <= 25_000_000


def test_it_is_the_default_until_another_is_there() -> None:
    catalogue = load_catalogue()
    config = catalogue.pair(default_pair(catalogue))
    assert (default_pair(catalogue), config.only, config.licence) == (
        "builtin",
        "counting stories and small sums",
        "MIT",
    )


def test_the_two_models_are_one_vocabulary_and_think(pair: Pair) -> None:
    assert pair.shares_vocabulary
    assert pair.markers is not None
    assert pair.notices == []


def test_numbers_are_one_token_and_a_blank_line_belongs_to_its_full_stop(pair: Pair) -> None:
    vocabulary = engine_in(pair, "small").vocabulary
    assert all(len(vocabulary.tokenize(str(number))) == 1 for number in range(1000))
    assert len(vocabulary.tokenize(".\n\n")) == 1


def test_the_readme_s_figures_are_the_model_card_s() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    card = (BUILTIN / "README.md").read_text(encoding="utf-8")
    figures = [line for line in readme.splitlines() if line.startswith(("| quotes", "| says"))]
    assert len(figures) == 4
    assert all(line in card for line in figures)
    (auroc,) = re.findall(r"an AUROC of (\S+ \(\S+\))", readme)
    assert f"AUROC {auroc} over" in card
    size = sum(path.stat().st_size for path in BUILTIN.glob("*.gguf"))
    assert f"({size / 1e6:.1f} MB together)" in readme


# What it does.


def test_the_example_is_solved_by_both_models_together(pair: Pair) -> None:
    solution = run(pair, EXAMPLE.strip())
    assert solution.finish_reason == "done"
    assert {"S", "L"} == set(writers(step for step in solution.steps if step.part == "thought"))
    assert solution.notices == ()
    assert solution.boxed == "384"


def test_every_line_of_a_thought_stands_behind_its_step_s_letter(glimp: Glimp) -> None:
    command = ("solve", "--pair", "builtin", "--text", EXAMPLE, "--thoughts", "--seed", "1")
    lines = glimp(*command).err.splitlines()[3:-1]
    assert all(re.match(r"[SL] \d\.\d\d │ ", line) or line.startswith(" " * 7 + "│ ") for line in lines)
    first, second = (line[9:] for line in lines[:2])
    assert (first, second) == ("Count: marbles.", "> Emma has 57 marbles and Ben has 93. Emma finds 89")


@pytest.mark.slow
def test_routing_keeps_the_large_model_s_answers_and_chance_does_not(pair: Pair, stories: list[Question]) -> None:
    small, _ = right(pair, stories, Alone("small"))
    large, _ = right(pair, stories, Alone("large"))
    routed, share = right(pair, stories, Threshold(pair.config.threshold))
    chance, _ = right(pair, stories, Random(share, seed=1))
    assert large >= 0.9 * len(stories)
    assert share <= 0.35
    assert routed >= large - 0.05 * len(stories)
    assert small <= routed - 0.2 * len(stories)
    assert chance <= routed - 0.15 * len(stories)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("stories of held-out words", 0.75), ("plain sums", 0.9), ("other texts", 0.9)]
)
def test_other_held_out_questions_are_answered_too(pair: Pair, name: str, least: float) -> None:
    questions = held_out(name, 20, SUITE)
    solved = [solve(pair, question) for question in questions]
    assert sum(is_right(*both) for both in zip(solved, questions, strict=True)) >= least * len(questions)


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("what is 12*7?", "84"),
        ("half of 46", "23"),
        ("forty minus thirteen", "27"),
        ("Tom has 5 apples and eats 2, how many are left?", "3"),
        ("There are 40 birds on a tree. 13 fly away.\nHow many birds are left?", "27"),
    ],
)
def test_a_stranger_s_first_questions_are_answered(pair: Pair, question: str, number: str) -> None:
    assert pair.objection(question) is None
    assert run(pair, question).boxed == number


def test_what_it_is_not_for_is_answered_in_one_sentence_if_it_is_asked_anyway(pair: Pair) -> None:
    for question in ("hello", "What is the capital of France?", "print('hi')", "你好"):
        answer = run(pair, question).answer.strip()
        assert answer == ANSWER


@pytest.mark.slow
def test_a_forgotten_question_mark_costs_nothing(pair: Pair, stories: list[Question]) -> None:
    unmarked = [dataclasses.replace(story, question=story.question.removesuffix("?")) for story in stories[:20]]
    policy = Threshold(pair.config.threshold)
    assert right(pair, unmarked, policy)[0] >= right(pair, stories[:20], policy)[0] - 1


@pytest.mark.slow
def test_the_small_model_is_surer_of_the_steps_it_gets_right(pair: Pair, stories: list[Question]) -> None:
    """Up to its first mistake in a story, the small model's past is the right one."""
    entropies: dict[bool, list[float]] = {True: [], False: []}
    for story in stories:
        written = solve(pair, story, Threshold(1e9))
        for step, reference in zip(written.steps, story.steps, strict=False):
            assert step.entropy_nats is not None
            good = step.text.strip() == reference
            entropies[good].append(step.entropy_nats)
            if not good:
                break
    assert len(entropies[False]) >= 10
    assert sum(entropies[False]) / len(entropies[False]) > 3 * sum(entropies[True]) / len(entropies[True])


def test_each_part_of_the_thought_is_a_step(pair: Pair, stories: list[Question]) -> None:
    story = next(story for story in stories if solve(pair, story, Alone("large")).boxed == story.boxed)
    solution = solve(pair, story, Alone("large"))
    thought = [step for step in solution.steps if step.part == "thought"]
    assert len(thought) == len(story.steps)
    assert solution.answer == story.answer
    assert solution.thought_end == "closed"


@pytest.mark.slow
def test_the_share_that_is_asked_for_is_kept(pair: Pair, stories: list[Question]) -> None:
    for share in (0.1, 0.3):
        policy = Share(share, threshold_nats=pair.config.threshold)
        _, found = right(pair, stories, policy)
        assert found == pytest.approx(share, abs=0.05)
