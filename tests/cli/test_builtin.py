"""`glimp solve` with the built-in pair, as it is after install: what it solves, declines and doubts."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from glimp_local import Session, load_pair
from glimp_local.engines import domain
from glimp_local.events import Finished, Notice, Solution, Text, decode_events, fold
from glimp_local.pair import Pair
from tests.support.commands import GLIMP, Glimp
from tests.support.sessions import run
from training.samples import STORIES, SUITE, held_out

ROOT = Path(__file__).parents[2]
EASY = domain.EXAMPLE
EXAMPLE = (ROOT / "examples" / "marbles.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with load_pair("builtin") as opened:
        yield opened


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
