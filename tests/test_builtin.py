"""The built-in pair: real models, real routing, on stories they never saw."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from glimp_local import Session, load_pair
from glimp_local.engines import domain
from glimp_local.events import Finished, Notice, Solution, StepEnded, Text, decode_events, fold
from glimp_local.machine.choice import default_pair
from glimp_local.models.catalogue import load_catalogue
from glimp_local.pair import Pair
from glimp_local.routing import Alone, Policy, Random, Share, Threshold
from tests.support.commands import GLIMP, Glimp
from tests.support.sessions import assert_caches_equal_fresh_runs, engine_in, run, writers
from training.evaluate import is_right
from training.others import ANSWER
from training.samples import STORIES, SUITE, held_out
from training.sums import Question

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "glimp_local" / "builtin"
EASY = domain.EXAMPLE
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


# The session, on real models.


@pytest.mark.slow
def test_the_share_that_is_asked_for_is_kept(pair: Pair, stories: list[Question]) -> None:
    for share in (0.1, 0.3):
        policy = Share(share, threshold_nats=pair.config.threshold)
        _, found = right(pair, stories, policy)
        assert found == pytest.approx(share, abs=0.05)


def test_both_caches_equal_a_fresh_run_after_every_hand_over(pair: Pair) -> None:
    session = Session(pair, seed=1, policy=Random(0.5, seed=2))
    solution = fold(session.ask(EXAMPLE))
    assert solution.stats.switches >= 4
    assert_caches_equal_fresh_runs(session)


def test_catch_up_feeds_each_model_what_the_other_wrote(pair: Pair) -> None:
    stats = run(pair, EXAMPLE).stats
    assert stats.small is not None
    assert stats.large is not None
    assert 0 < stats.large.catch_up_tokens <= stats.small.tokens
    assert stats.large.tokens == stats.tokens_large > 0


def test_a_redone_step_is_written_by_the_other_model_and_the_rest_follows(pair: Pair) -> None:
    session = Session(pair, seed=1)
    first = fold(session.ask(EXAMPLE))
    index = next(step.index for step in first.steps if step.model == "large" and step.part == "thought")
    events = list(session.redo(index))
    steps = [event.step for event in events if isinstance(event, StepEnded)]
    assert (steps[0].index, steps[0].model, steps[0].reason) == (index, "small", "redo")
    assert_caches_equal_fresh_runs(session)
    again = [event.step for event in session.redo(index, "large") if isinstance(event, StepEnded)]
    assert "".join(step.text for step in again) == "".join(step.text for step in first.steps[index:])


def test_a_cancelled_run_goes_on_to_the_same_answer(pair: Pair) -> None:
    whole = run(pair, EXAMPLE)
    session = Session(pair, seed=1)
    steps, events = [], session.ask(EXAMPLE)
    for event in events:
        steps += [event.step] if isinstance(event, StepEnded) else []
        if len(steps) == 3 and isinstance(event, Text):
            session.cancel()
    assert steps[-1].end == "cancelled"
    resumed = [event.step for event in session.resume() if isinstance(event, StepEnded)]
    text = "".join(step.text for step in [*steps, *resumed])
    assert text == "".join(step.text for step in whole.steps)
    assert_caches_equal_fresh_runs(session)


def test_a_second_story_in_the_same_session_is_solved_too(pair: Pair, stories: list[Question]) -> None:
    short = [story for story in stories if len(story.kinds) <= 3][:6]
    solved = 0
    for first, second in zip(short[::2], short[1::2], strict=True):
        session = Session(pair, seed=1)
        solved += all(fold(session.ask(story.question)).boxed == story.boxed for story in (first, second))
    assert solved >= 2


# `glimp solve`, as it is after install.


@pytest.mark.process
def test_the_example_is_solved_straight_after_install(glimp: Glimp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = glimp("solve", "examples/marbles.txt", "--json")
    assert done.code == 0, done.err
    solution = msgspec.json.decode(done.out, type=Solution)
    assert solution.pair == "builtin"
    assert "\\boxed{384}" in solution.answer
    assert "counting stories" not in done.err


def test_the_events_of_a_run_fold_into_what_json_prints(glimp: Glimp) -> None:
    whole = msgspec.json.decode(glimp("solve", "--text", EXAMPLE, "--json", "--seed", "1").out, type=Solution)
    events = decode_events(glimp("solve", "--text", EXAMPLE, "--jsonl", "--seed", "1").out.encode().splitlines())
    assert fold(events).thought == whole.thought
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("flags", [(), ("--json",), ("--jsonl",), ("--quiet",)])
def test_a_question_it_is_not_for_is_declined_in_one_line_with_what_it_can_do(
    glimp: Glimp, flags: tuple[str, ...]
) -> None:
    done = glimp("solve", "--text", "Who are you?", *flags)
    assert (done.code, done.out) == (7, "")
    (line,) = done.err.splitlines()
    assert line.startswith("glimp: this question is not for the pair 'builtin': it has no number")
    assert f'It can do counting stories and small sums, like "{EASY}", and nothing else.' in line
    assert "One that reasons about anything: qwen3-" in line
    assert "of memory): glimp models pull qwen3-" in line
    assert line.endswith("To ask it all the same: --anyway")


def test_a_declined_question_leaves_no_file(glimp: Glimp, tmp_path: Path) -> None:
    assert glimp("solve", "--text", "Who are you?", "--save", tmp_path / "run.jsonl").code == 7
    assert not (tmp_path / "run.jsonl").exists()


def test_anyway_asks_it_all_the_same_and_keeps_the_notice(glimp: Glimp) -> None:
    done = glimp("solve", "--text", "Who are you?", "--anyway", "--json", "--max-thought", "20", "--max-answer", "5")
    assert done.code in {0, 4}
    (notice, *_) = msgspec.json.decode(done.out, type=Solution).notices
    assert notice.startswith("this question is not for the pair 'builtin': it has no number")
    assert f"glimp: {notice}" in done.err


def test_the_example_it_gives_is_one_it_solves(pair: Pair) -> None:
    assert pair.objection(EASY) is None
    assert run(pair, EASY).boxed == "15"


@pytest.mark.slow
def test_the_notice_is_an_event_and_comes_with_each_such_question(pair: Pair) -> None:
    session = Session(pair, seed=1)
    for question in ("Who are you?", "And who am I?"):
        notices = [event.message for event in session.ask(question) if isinstance(event, Notice)]
        assert len(notices) == 1


@pytest.mark.parametrize(
    ("question", "unknown"),
    [
        ("Tom has 12 apples. He pilfers 4 more. How many apples does Tom have now?", "'pilfers'"),
        ("Tom hath twelve apples whilst Leo hath 3. How many apples doth Tom own?", "'hath'"),
    ],
)
def test_verbs_it_was_not_taught_are_named_and_the_question_is_answered(
    pair: Pair, question: str, unknown: str
) -> None:
    said = pair.objection(question)
    assert said is not None
    assert not said.declines
    assert said.words.startswith("this question may be too much for 'builtin': words in it are new to the pair")
    assert unknown in said.words


def test_names_and_things_it_was_not_taught_need_no_notice(pair: Pair) -> None:
    assert pair.objection("Wilhelmina has 12 zorbles. She finds 3 more. How many zorbles does she have?") is None


def test_after_a_stopped_question_the_next_one_is_answered_as_the_first_would_be(pair: Pair) -> None:
    fresh = run(pair, EXAMPLE)
    session = Session(pair, seed=1)
    for event in session.ask(EASY):
        if isinstance(event, Text):
            session.cancel()
    after = fold(session.ask(EXAMPLE))
    assert [step.text for step in after.steps] == [step.text for step in fresh.steps]


def test_stories_are_taken_as_they_are(pair: Pair) -> None:
    stories = held_out(STORIES, 500, SUITE)
    assert [story.question for story in stories if pair.objection(story.question)] == []


@pytest.mark.process
def test_the_wheel_solves_the_example_without_a_network(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*_args, **_kwargs): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{tmp_path}"}
    problem = tmp_path / "problem.txt"
    problem.write_text(EXAMPLE)
    solve = [*GLIMP, "solve", str(problem), "--json"]
    done = subprocess.run(solve, capture_output=True, timeout=60, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout, type=Solution).boxed == "384"
    where = [sys.executable, "-c", "import glimp_local; print(glimp_local.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert str(site) in found.stdout
