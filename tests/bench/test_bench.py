"""`glimp bench` on real models: what is run, what is kept, what is reported, and how it goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from glimp_local.bench import bench as runner
from glimp_local.bench.arms import Arm
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import FILE, Header, Look, Looks, Run, RunLog
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import DecodeError
from tests.support.commands import GLIMP, Glimp, Result
from tests.support.sessions import Open

Bench = Callable[..., Result]
ROUTED = ["threshold 1", "random as threshold 1", "share 0.25", "random as share 0.25"]
ARMS = ["small", "large", *ROUTED, "specreason", "speculative"]
SAME = ("--draft", "off", "--catch-up", "lazy")
"""With these a run is the same to the last figure: what pays, and who can read along, hangs on the machine's hurry."""


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    lines = [{"id": name, "problem": f"How many steps are there, {name}?", "answer": "3"} for name in ("a", "b", "c")]
    lines[1]["answer"] = "4"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def bench(glimp: Glimp, problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run a bench on the tiny models in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, file: Path | str = problems) -> Result:
        return glimp("bench", file, *glimp.pair(), *arguments)

    return run


def records(folder: Path) -> list[Run | Looks]:
    _, *lines = (folder / FILE).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Run | Looks) for line in lines]


FOLDER = Path("bench-problems-small-large")


@pytest.mark.slow
def test_every_problem_is_solved_under_every_policy_in_turn(bench: Bench) -> None:
    result = bench()
    assert result.code == 0, result.err
    found = records(FOLDER)
    order = [(record.problem, record.arm if isinstance(record, Run) else "looks") for record in found]
    # Each problem begins one arm further on.
    turns = {"a": ARMS, "b": [*ARMS[1:], *ARMS[:1]], "c": [*ARMS[2:], *ARMS[:2]]}
    assert order == [(problem, arm) for problem, arms in turns.items() for arm in [*arms, "looks"]]
    runs = {(record.problem, record.arm): record for record in found if isinstance(record, Run)}
    assert runs["a", "large"].correct
    assert not runs["b", "large"].correct
    assert (runs["b", "large"].given, runs["b", "large"].answer) == ("3", "4")
    assert runs["c", "small"].solution.stats.large is None
    assert runs["c", "threshold 1"].solution.stats.share_steps == 0.25
    assert "Wrong way" in runs["a", "small"].solution.thought
    assert {step.reason for step in runs["a", "specreason"].solution.steps} == {"redo", "answer"}
    looks = found[len(ARMS)]
    assert isinstance(looks, Looks)
    assert [look.agrees for look in looks.looks] == [True, True, False, True]
    assert isinstance(looks.looks[0], Look)


@pytest.mark.slow
def test_the_report_comes_in_every_form_and_tells_the_same(bench: Bench) -> None:
    result = bench("--policy", "large", "--policy", "threshold", "--policy", "random", "--threshold", "1")
    markdown = (FOLDER / "report.md").read_text()
    assert result.out == markdown
    assert "| large | 66.7% (20.8% to 93.9%) |" in markdown
    assert "threshold 1 nats (25% of the steps on the large model)" in markdown
    assert "The large model would have begun 25% of 12 steps with another token" in markdown
    report = json.loads((FOLDER / "report.json").read_text())
    rows = list(csv.DictReader((FOLDER / "report.csv").read_text().splitlines()))
    names = ["large", "threshold 1", "random as threshold 1"]
    assert [arm["name"] for arm in report["figures"]["arms"]] == [row["name"] for row in rows] == names
    assert report["figures"]["arms"][1]["correct"]["value"] == float(rows[1]["correct_value"]) == pytest.approx(2 / 3)
    assert report["verdict"][0] in markdown
    for plot in ("accuracy", "entropies", "agreement"):
        assert (FOLDER / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (FOLDER / f"{plot}.svg").read_text()


def without_times(value: Any) -> Any:
    """Leave out what no two runs have in common."""
    if isinstance(value, dict):
        timed = ("seconds", "per_second", "time", "catch_up_share", "machine", "command", "title", "verdict")
        return {name: without_times(inner) for name, inner in value.items() if not name.endswith(timed)}
    return [without_times(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Callable[[list[str], Path, int], int]]:
    """Run a command and send it a signal after a number of runs; SIGKILL goes to the process that computes."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: list[str], runs: Path, signal_: int) -> int:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        deadline = time.monotonic() + 60
        while not runs.exists() or runs.read_bytes().count(b"\n") < 12:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        (psutil.Process(process.pid).children()[0] if signal_ == signal.SIGKILL else process).send_signal(signal_)
        return process.wait(60)

    yield run
    for process in started:
        process.kill()


BUILTIN = [*GLIMP, "bench", "builtin", "--limit", "5", "--seed", "3", "--temperature", "0.8", "-q", *SAME]


@pytest.mark.process
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_bench_that_was_stopped_goes_on_and_comes_to_the_same(
    killed: Callable[[list[str], Path, int], int], tmp_path: Path, how: int
) -> None:
    code = killed([*BUILTIN, "-o", "stopped"], tmp_path / "stopped" / FILE, how)
    assert code == (6 if how == signal.SIGKILL else 128 + how)
    before = (tmp_path / "stopped" / FILE).read_bytes()
    assert before.count(b"\n") < 1 + 5 * (len(ARMS) + 1)
    for folder in ("stopped", "whole"):
        done = subprocess.run([*BUILTIN, "-o", folder], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    whole = before[: before.rfind(b"\n") + 1]
    assert (tmp_path / "stopped" / FILE).read_bytes().startswith(whole)
    reports = [json.loads((tmp_path / folder / "report.json").read_text()) for folder in ("stopped", "whole")]
    assert without_times(reports[0]) == without_times(reports[1])
    one, other = (records(tmp_path / folder) for folder in ("stopped", "whole"))
    assert [without_times(msgspec.to_builtins(record)) for record in one] == [
        without_times(msgspec.to_builtins(record)) for record in other
    ]


@pytest.mark.slow
def test_a_bench_that_grows_comes_to_what_it_would_have_been_at_once(bench: Bench) -> None:
    flags = ("--temperature", "1", "--repeat", "2", *SAME)
    assert bench(*flags, "--limit", "1", "-o", "grown").code == 0
    assert bench(*flags, "-o", "grown").code == bench(*flags, "-o", "whole").code == 0
    grown, whole = (
        {
            (record.problem, getattr(record, "arm", "looks"), record.repeat): without_times(msgspec.to_builtins(record))
            for record in records(Path(folder))
        }
        for folder in ("grown", "whole")
    )
    assert grown == whole
    assert len(grown) == 3 * 2 * (len(ARMS) + 1)


def test_a_second_call_with_more_arms_and_problems_does_only_what_is_missing(bench: Bench) -> None:
    assert bench("--policy", "large", "--limit", "1", "--no-looks").code == 0
    first = (FOLDER / FILE).read_bytes()
    result = bench("--policy", "large", "--policy", "threshold", "--limit", "2", "--no-looks")
    assert "1 of 4 runs are in" in result.err
    assert (FOLDER / FILE).read_bytes().startswith(first)
    assert [(r.problem, r.arm) for r in records(FOLDER) if isinstance(r, Run)] == [
        ("a", "large"),
        ("a", "threshold 1"),
        ("b", "threshold 1"),
        ("b", "large"),
    ]


def test_repeats_are_drawn_with_seeds_of_their_own(bench: Bench) -> None:
    bench("--policy", "large", "--repeat", "2", "--seed", "5", "--limit", "2", "--no-looks")
    runs = [record for record in records(FOLDER) if isinstance(record, Run)]
    assert [(run.problem, run.repeat) for run in runs] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len({run.solution.seed for run in runs}) == 4
    assert "2 problems, 4 runs of each policy" in (FOLDER / "report.md").read_text()


def test_time_that_is_up_leaves_a_report_on_what_is_done(bench: Bench) -> None:
    result = bench("--time-limit", "0", "--policy", "large", "--no-looks")
    assert result.code == 4
    assert "the time is up" in result.err
    assert "1 of 3 problems, once each" in result.out
    assert bench("--policy", "large", "--no-looks").code == 0


def test_without_a_whole_problem_there_is_no_report_yet(bench: Bench) -> None:
    result = bench("--time-limit", "0")
    assert (result.code, result.out) == (4, "")
    assert "no report yet" in result.err


def test_both_models_are_needed(glimp: Glimp, problems: Path, small: Path) -> None:
    result = glimp("bench", problems, "--small", small, "--policy", "small")
    assert result.code == 2
    assert result.err == (
        "glimp: there is only a small model\n"
        "hint: give both models (--large PATH or --large-url URL), or a --pair to take it from\n"
    )


def test_several_runs_at_a_time_are_refused_for_models_on_this_machine(bench: Bench) -> None:
    result = bench("--parallel", "2")
    assert result.code == 2
    assert "--parallel is for a pair whose two models are on servers: the " in result.err
    assert "answers one question at a time" in result.err
    assert not FOLDER.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--policy", "random"], "the policy 'random' draws at the share that a routed one gives"),
        (["--policy", "large", "--policy", "random"], "draws at the share that a routed one gives"),
        (["--policy", "large", "--threshold", "1"], "--threshold is for the policy 'threshold'"),
        (["--policy", "threshold", "--share", "0.2"], "--share is for the policy 'share'"),
    ],
)
def test_flags_that_would_do_nothing_are_refused_before_a_model_is_loaded(
    bench: Bench, flags: list[str], said: str
) -> None:
    result = bench(*flags, "--large", "nowhere.gguf")
    assert result.code == 2
    assert said in result.err
    assert "hint: add --policy" in result.err


def test_a_run_that_llama_cpp_could_not_finish_is_not_kept(
    open_pair: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, arms, problems = open_pair(), [Arm("small"), Arm("large")], [Problem(name, "How many?", "3") for name in "ab"]
    decode, left = Engine.decode, [20]

    def fail_once(engine: Engine, token: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise DecodeError("no memory")
        decode(engine, token)

    monkeypatch.setattr(Engine, "decode", fail_once)
    with RunLog(tmp_path / "bench", Header({}, (), 1.0)) as log, Grader() as grader:
        first = runner.Bench(pair, problems, arms, log, seed=1, looks=False)
        assert len(list(first.run(grader))) == 4
        (failure,) = first.failures
        assert failure.endswith("no memory")
        (left_out,) = first.pending
        assert failure.startswith(f"{left_out.problem.id}, {left_out.key[1]}: ")
        again = runner.Bench(pair, problems, arms, log, seed=1, looks=False)
        assert list(again.run(grader)) == [left_out]
        assert not again.pending
        assert not again.failures


def test_other_settings_do_not_go_into_the_same_folder(bench: Bench) -> None:
    bench("--policy", "large", "--no-looks")
    result = bench("--policy", "large", "--no-looks", "--seed", "9")
    assert result.code == 2
    assert "another seed: 1, not 9" in result.err
    assert bench("--policy", "large", "--no-looks", "--seed", "9", "-o", "other").code == 0


def test_other_problems_under_the_same_ids_are_noticed(bench: Bench, problems: Path) -> None:
    bench("--policy", "large", "--no-looks")
    problems.write_text(problems.read_text().replace('"4"', '"5"'))
    result = bench("--policy", "large", "--no-looks")
    assert result.code == 2
    assert "another problem or answer 'b'" in result.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no problem"),
        ('{"problem": "a", "answer": "1"}\n{"problem": "b", ', ":2"),
        ('{"problem": "a"}\n', "answer"),
        ('{"id": 1, "problem": "a", "answer": 1}\n{"id": 1, "problem": "b", "answer": 1}\n', "id"),
    ],
)
def test_bad_problems_are_refused_before_a_model_is_loaded(
    bench: Bench, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    # Models that are not there would be said otherwise.
    result = bench("--large", "nowhere.gguf", file=file)
    assert result.code == 2
    assert said in result.err
    assert "nowhere" not in result.err
    assert not list(tmp_path.glob("bench-*"))


def test_a_problem_that_is_too_long_is_refused_before_anything_is_run(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"problem": "x" * 5000, "answer": 1}) + "\n")
    result = bench(file=file)
    assert result.code == 2
    assert "more than half of the context" in result.err


@pytest.mark.process
def test_the_extra_is_asked_for_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "glimp_local", "bench", "builtin"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "packages that are not installed: matplotlib" in done.stderr
    assert "glimp-local[bench]" in done.stderr


@pytest.mark.slow
def test_the_entropies_of_a_bench_do_not_move_its_own_start(bench: Bench, glimp: Glimp) -> None:
    glimp.solve("--text", "How many?")  # stores entropies
    bench("--policy", "share", "--no-looks", "--limit", "1")
    header = json.loads((FOLDER / FILE).read_bytes().splitlines()[0])
    assert len(header["history_nats"]) == 4
    glimp.solve("--text", "How many?")
    bench("--policy", "share", "--no-looks")
    header = json.loads((FOLDER / FILE).read_bytes().splitlines()[0])
    assert len(header["history_nats"]) == 4
