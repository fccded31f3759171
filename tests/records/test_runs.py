"""Whatever file holds a run, it is read; whatever holds none is refused in words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from glimp_local import Session
from glimp_local.cli import cli
from glimp_local.errors import UsageError
from glimp_local.events import Rewound, StepEnded, TakenBack, encode
from glimp_local.records import trace
from glimp_local.records.event_log import read_events
from glimp_local.records.lines import Header, Problem
from glimp_local.records.runs import read_runs
from glimp_local.records.session_log import SessionLog
from glimp_local.records.trace_page import page
from tests.support.sessions import Open
from tests.support.tracing import (
    CONTENT,
    RECORDED,
    SOLUTION,
    bench,
    glimp,
    objects,
    shown,
    step,
)

# Whatever file it is.


def test_events_and_the_object_are_the_same_run(tmp_path: Path) -> None:
    (of_events,) = objects(RECORDED)
    (of_object,) = objects("-", stdin=encode(SOLUTION))
    assert of_events.pop("question").startswith("Emma has 57 marbles")
    assert of_object.pop("question") is None
    assert of_events == of_object
    (tmp_path / "pretty.json").write_bytes(msgspec.json.format(encode(SOLUTION)))
    assert objects(tmp_path / "pretty.json")[0]["steps"] == of_events["steps"]


def test_a_byte_order_mark_and_a_missing_last_newline_change_nothing() -> None:
    assert read_runs(b"\xef\xbb\xbf" + CONTENT.rstrip(), "x") == read_runs(CONTENT, "x")


def test_objects_line_by_line_are_as_many_runs() -> None:
    lines = shown("-", stdin=encode(SOLUTION) + b"\n" + encode(SOLUTION) + b"\n")
    assert [line for line in lines if "(the file does not hold the question)" in line] == [
        "1  (the file does not hold the question)",
        "2  (the file does not hold the question)",
    ]


@given(st.integers(0, len(CONTENT)))
def test_a_file_cut_anywhere_is_shown_as_far_as_it_goes(length: int) -> None:
    try:
        (run,) = read_runs(CONTENT[:length], "cut.jsonl").runs
    except UsageError:
        assert b"\n" not in CONTENT[:length].rstrip(b"\n")
    else:
        assert tuple(run.steps) == SOLUTION.steps[: len(run.steps)]
        assert (run.finish is None) == (len(CONTENT) - length > 1)
        trace.figures(run)


def test_a_killed_run_says_where_it_ends() -> None:
    lines = CONTENT.splitlines(keepends=True)
    begun = [number for number, line in enumerate(lines) if b'"step_started"' in line][8]
    out = shown("-", stdin=b"".join(lines[: begun + 2]) + b'{"type":"te')
    assert any(line.endswith("· cut short") for line in out)
    assert "the file ends within step 8 (small) Nothing" in out
    assert out[-1].startswith("8 steps, 0% large · 79 tokens")
    assert "tokens/s" not in out[-1]


def test_the_turns_of_a_conversation_are_runs(open_pair: Open) -> None:
    pair, log = open_pair(), SessionLog()
    log.begin(pair.name, {})
    session = Session(pair, seed=1)
    for question in ("first", "second", "third"):
        for event in session.ask(question):
            log.write(event)
        if question == "first":
            for event in session.redo(1):
                log.write(event)
    log.write(TakenBack())
    log.write(Rewound(2))
    log.close()
    first, second = objects(log.path)
    assert [run["question"] for run in (first, second)] == ["first", "second"]
    assert [(found["index"], found["reason"]) for found in first["steps"]][:2] == [(0, "confident"), (1, "redo")]
    assert (second["finish_reason"], len(second["steps"])) == (None, 2)
    assert objects(log.path.stem) == [first, second]
    assert objects(log.path.stem[-4:], "--run", "2") == [second]


def test_the_runs_of_a_bench_say_problem_arm_and_verdict(tmp_path: Path) -> None:
    path = bench(tmp_path, SOLUTION, SOLUTION)
    lines = shown(path, "--full")
    assert lines[:2] == [
        "1  How many?",
        "problem p0 · arm random 0.2 · repeat 1 · right · builtin · threshold · seed 1 · done",
    ]
    assert "problem p1 · arm random 0.2 · repeat 1 · wrong · builtin · threshold · seed 1 · done" in lines
    assert shown(path, "--run", "1")[:2] == lines[:2]
    listed = shown(path)
    assert [line.split(" · 30 steps")[0] for line in listed[:2]] == [
        "1  problem p0 · arm random 0.2 · repeat 1 · right",
        "2  problem p1 · arm random 0.2 · repeat 1 · wrong",
    ]
    assert shown(path, "--what-if", "0.9")[0] == listed[0].replace("· 30", "· at 0.9 nats 3% large · 30")
    assert listed[2:] == ["a run step by step: --run N; all of them: --full"]
    assert [(run["run"], run["problem"], run["correct"]) for run in objects(path, "--run", "2")] == [(2, "p1", False)]


def test_a_question_is_not_needed_in_a_bench_s_run() -> None:
    line = {"type": "run", "problem": "1", "arm": "large", "repeat": 0, "correct": True, "solution": SOLUTION}
    assert read_runs(msgspec.json.encode(line), "x").runs[0].question is None


# What is no run.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\x00\xff\x00", "holds no run: line 1: it is not UTF-8 text"),
        (CONTENT.decode().encode("utf-16"), "holds no run: line 1: it is not UTF-8 text"),
        (b"Dear diary\n", "holds no run: line 1: JSON is malformed"),
        (b"[]\n", "holds no run: line 1: Expected `object`, got `array`"),
        (b"{}\n", "holds no run: line 1: Object missing required field"),
        (b'{"type":"poem"}\n', "holds no run: line 1: this glimp knows no 'poem'"),
        (b'{"type":"session","version":1,"created":"x","pair":"y"}\n', "holds no run, though its lines are those of"),
        (b'{"type":"bench"}\n', "holds no run, though its lines are those of glimp"),
        (b'{"type":"taken_back"}\n', "line 1: it continues a run whose beginning is missing"),
        (CONTENT.splitlines()[0][:50], "holds no run: its only line is cut short"),
        (b'{"type":"bench","version":2}\n', "was written by a newer glimp (version 2, and this one reads version 1)"),
        (b'{"type":' + b"[" * 100_000, "holds no run: line 1: "),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    result = glimp(path, code=2)
    assert result.stdout == ""
    assert f"glimp: {path} {message}" in result.stderr or message in result.stderr
    assert "hint: " in result.stderr


def test_a_folder_is_none_and_a_bench_s_says_where_its_runs_are(tmp_path: Path) -> None:
    assert "is a folder\nhint: name the file of a run" in glimp(tmp_path, code=2).stderr
    path = bench(tmp_path, SOLUTION)
    assert f"hint: the runs of this bench: {path}" in glimp(tmp_path, code=2).stderr


def test_a_name_of_nothing_is_said() -> None:
    result = glimp("nothing", code=2)
    assert "there is no file 'nothing', and no saved conversation has 'nothing' in its id" in result.stderr
    assert "hint: their ids: glimp sessions list" in result.stderr
    assert "cannot be read" in glimp("x" * 5000, code=2).stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run", "2"], "holds 1 run\nhint: choose from 1 to 1"),
        (["--run", "0"], "0 is not in the range x>=1"),
        (["--what-if", "-1"], "'-1' is not a number 0 or more"),
        (["--what-if", "nan"], "'nan' is not a number 0 or more"),
        (["--what-if", "inf"], "'inf' is not a number 0 or more"),
        (["--html", "-"], "--html wants a file"),
        (["--html", "/nowhere/page.html"], "/nowhere/page.html: cannot be written: No such file or directory"),
    ],
)
def test_a_flag_that_cannot_be_used(flags: list[str], message: str) -> None:
    result = glimp(RECORDED, *flags, code=2)
    assert (result.stdout, message in result.stderr) == ("", True)


LINES = CONTENT.splitlines()


@given(st.data())
def test_a_damaged_file_is_shown_or_refused_in_words(data: st.DataObject) -> None:
    damaged = bytearray(b"\n".join([*LINES[:8], *LINES[-40:], encode(SOLUTION)]))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        if data.draw(st.booleans()):
            damaged[at] = data.draw(st.sampled_from(b'0919,:"{}[]-.eE\\u\n\x00\xff'))
        else:
            del damaged[at : at + data.draw(st.integers(1, 300))]
    result = CliRunner().invoke(cli, ["trace", "-", "--what-if", "0.5", "--full"], input=bytes(damaged))
    assert result.exit_code in {0, 2}, result.exception
    try:
        runs = read_runs(bytes(damaged), "x").runs
    except UsageError:
        return
    page(list(enumerate(runs, 1)), 0.5)


# Damaged lines.


def test_a_damaged_line_of_a_run_costs_that_line_and_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = CONTENT.splitlines(keepends=True)
    hit = next(number for number, line in enumerate(lines) if b'"step_ended"' in line and b'"index":7' in line)
    path.write_bytes(b"".join([*lines[:hit], b"\xff" + lines[hit], b"Dear diary\n", *lines[hit + 1 :]]))
    result = glimp(path)
    assert result.stderr == (
        f"glimp: {path}: 2 damaged lines are left out (the first: line {hit + 1}: it is not UTF-8 text)\n"
    )
    (found,) = objects(path)
    assert [each["index"] for each in found["steps"]] == [*range(7), *range(8, len(SOLUTION.steps))]
    assert found["finish_reason"] == "done"
    assert any(line.endswith("· done · damaged") for line in shown(path))


def test_a_run_without_its_first_line_is_shown_without_question_pair_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"?" + CONTENT)
    assert shown(path)[:2] == ["1  (the file does not hold the question)", "done · damaged"]
    (found,) = objects(path)
    assert [found[name] for name in ("question", "pair", "policy", "seed")] == [None] * 4
    assert len(found["steps"]) == len(SOLUTION.steps)
    glimp(path, "--html", tmp_path / "page.html")


def test_a_damaged_line_of_a_bench_costs_that_run(tmp_path: Path) -> None:
    path = bench(tmp_path, SOLUTION, SOLUTION, SOLUTION)
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (0, 3):
        path.write_bytes(b"".join([*lines[:bad], b"?" + lines[bad], *lines[bad + 1 :]]))
        assert [run["problem"] for run in objects(path)] == (["p0", "p2"] if bad else ["p0", "p1", "p2"])
        assert f"{path}: 1 damaged line is left out (line {bad + 1}: JSON is malformed" in glimp(path).stderr


def test_a_program_that_reads_what_never_ends_is_told_so() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no such device")
    problems: list[Problem] = []
    assert read_events("/dev/zero", problems.append) == []
    assert [str(problem) for problem in problems] == [
        "line 1: the file is larger than 1,073,741,824 bytes, and the rest is not read"
    ]


def test_a_program_is_not_given_the_events_of_a_newer_glimp(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(encode(Header(3, "2030-01-01T00:00:00+00:00", "x")) + b"\n" + CONTENT)
    problems: list[Problem] = []
    for on_damage in (None, problems.append):
        with pytest.raises(UsageError, match=r"run\.jsonl was written by a newer glimp \(version 3, and this one"):
            read_events(path, on_damage)


def test_a_program_is_told_which_line_is_damaged_or_gets_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = CONTENT.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"?\n", *lines[1:], b'{"type":"te']))
    with pytest.raises(UsageError, match=r"run\.jsonl is damaged: line 2: JSON is malformed"):
        read_events(path)
    problems: list[Problem] = []
    assert read_events(path, problems.append) == read_events(RECORDED)
    assert [problem.line for problem in problems] == [2]


def test_steps_that_ended_after_the_end_make_a_run_unfinished_again() -> None:
    more = encode(StepEnded(step(len(SOLUTION.steps), part="answer")))
    (run,) = read_runs(CONTENT + more + b"\n", "x").runs
    assert (run.finish, run.stats, len(run.steps)) == (None, None, len(SOLUTION.steps) + 1)
