"""Grading: numbers exactly, formulas by math-verify in a process that may hang, crash or be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.bench.grading import Grade, Grader, compare, extract, number
from glimp_local.bench.runs import FILE, Run
from glimp_local.errors import GlimpError
from tests.support.commands import GLIMP, Glimp

HANGS = r"\boxed{9^{9^{9^9}}}"
"""A power in one call into C: no other thread of its process runs before it ends, which it does not."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=60) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (r"So it is \boxed{18}.", "18"),
        (r"\boxed{1}, no: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 18 } and 19 more", "18"),
        (r"18 \boxed{}", None),
        (r"18 \boxed{1", "1"),
        ("First 3, then 1,234.50.", "1,234.50"),
        ("It is -5.", "-5"),
        ("It is \N{MINUS SIGN}5.", "-5"),
        ("10-5", "5"),
        ("x=-5", "-5"),
        ("a half is 1/2", "1/2"),
        ("it costs $18, no more", "18"),
        ("18%", "18"),
        ("nothing", None),
        ("", None),
    ],
)
def test_the_result_is_in_the_last_box_else_the_last_number(text: str, result: str | None) -> None:
    assert extract(text) == result


NUMBERS = [
    ("18", "18"),
    ("18", "18.0"),
    ("18", "18."),
    ("18", "+18"),
    ("18", "1.8e1"),
    ("033", "33"),
    ("0.5", ".5"),
    ("-5", "\N{MINUS SIGN}5"),
    ("1000", "1,000"),
    ("1,000", "1000"),
    ("1000", "1{,}000"),
    ("1000", r"1,\!000"),
    ("1000", r"1\,000"),
    ("1000", "1e3"),
    ("2.50", r"\$2.5"),
    (r"\$18", "18"),
    ("$18", "18"),
    ("18", "$18$"),
    ("18", r"\(18\)"),
    ("-18", "-$18"),
    ("18", "18 dollars"),
    ("18", "18 marbles left"),
    (r"5\text{ cm}", "5"),
    ("14", r"14 \text{ cm}^2"),
    (r"90^\circ", "90"),
    ("90", r"90^{\circ}"),
    (r"18\%", "18"),
    ("18%", "0.18"),
    ("0.18", r"18\text{ percent}"),
    (r"5\text{ million}", "5,000,000"),
    (r"5\text{ million}", "5"),
    ("2", "2 hundred"),
]
OTHERS = [
    ("18", "17.9999999"),
    ("0.1", "0.10001"),
    ("0.1", "0.1000000001"),
    ("0.30000000000000000000000000000000000001", "0.3"),
    ("5", "-5"),
    ("1000", "1,00"),
    ("18%", "0.18%"),
    (r"5\text{ million}", r"5\text{ billion}"),
]


@pytest.mark.parametrize(("reference", "answer"), NUMBERS)
def test_two_spellings_of_one_number_are_the_same(reference: str, answer: str) -> None:
    assert compare(answer, reference) is True


@pytest.mark.parametrize(("reference", "answer"), OTHERS)
def test_numbers_are_compared_exactly(grader: Grader, reference: str, answer: str) -> None:
    assert not grader.grade(f"\\boxed{{{answer}}}", reference).correct


@pytest.mark.parametrize("text", ["", "x", "1/2", "18x", "18 x", r"18\pi", "3 pi", "1,2", "1 2", r"3\text{i}", "1:30"])
def test_a_formula_is_no_number(text: str) -> None:
    assert number(text) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.sampled_from(["{:f}", "{:,f}", "${:,f}$"]))
def test_any_decimal_is_read_back_exactly(value: Decimal, form: str) -> None:
    found = number(form.format(value))
    assert found is not None
    assert found.written == value


@given(st.text(), st.text())
def test_no_text_is_too_odd_to_be_compared(answer: str, reference: str) -> None:
    assert compare(answer, reference) in {True, False, None}
    extract(answer)


EQUAL = [
    ("18", "x = 18"),
    ("18", r"\frac{36}{2}"),
    ("18", "9+9"),
    ("18", r"\mathbf{18}"),
    ("0.5", r"\frac{1}{2}"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{1}{2}", ".5"),
    (r"\frac12", r"\dfrac{1}{2}"),
    (r"$\frac{1}{2}$", "1/2"),
    (r"\frac43", r"\tfrac{8}{6}"),
    (r"\frac{1}{3}", "0.333333"),
    (r"11\frac{1}{2}", "11.5"),
    (r"\sqrt{8}", r"2\sqrt2"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    ("[0,2)", r"\left[0, 2\right)"),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty, 2) \cup (3, \infty)"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)"),
    ("1,2,3", r"\{3, 2, 1\}"),
    (r"1\pm\sqrt{19}", r"1-\sqrt{19},1+\sqrt{19}"),
    (r"2\pi", r"2\pi\text{ cm}"),
    ("x^2+2x+1", "(x+1)^2"),
    ("y = 2x + 3", "2x+3"),
    ("6 - 5i", "-5i+6"),
    (r"x \in [-2,7]", "[-2,7]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & \frac{8}{2} \end{pmatrix}"),
    (r"\text{Evelyn}", r"\text{Evelyn}"),
    (r"\text{Evelyn}", "evelyn."),
    ("Evelyn", r"\text{Evelyn}"),
    (r"\text{(A)}", "A"),
    (r"\text{June 20}", "June 20"),
    ("52_8", "52_{8}"),
    ("3:4", "3:4"),
    ("9^{9^{9^9}}", "9^{9^{9^9}}"),
]
DIFFERENT = [
    ("18", "18x"),
    ("18", r"\frac{35}{2}"),
    ("18", "18, 19"),
    ("18", "18 or 19"),
    ("18", "about right"),
    (r"\frac{1}{3}", "0.33"),
    (r"\frac{1}{2}", r"\frac{1}{3}"),
    (r"\sqrt{8}", "2.83"),
    (r"10\pi", "31.4"),
    ("[0,2)", "[0,2]"),
    ("(1,2)", "(2,1)"),
    ("1,2,3", "1,2"),
    ("x^2+2x+1", "(x+2)^2"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"\text{Evelyn}", r"\text{Carla}"),
    (r"\text{Evelyn}", "nylevE"),
    (r"\text{(A)}", "B"),
    ("52_8", "52_9"),
    (r"\frac{1}{2}", r"\frac{"),
]


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_what_is_the_same_in_another_form_is_right(grader: Grader, reference: str, answer: str) -> None:
    assert grader.grade(f"It is $\\boxed{{{answer}}}$.", reference) == Grade(correct=True, given=answer)


@pytest.mark.parametrize(("reference", "answer"), DIFFERENT)
def test_what_is_something_else_is_wrong(grader: Grader, reference: str, answer: str) -> None:
    assert not grader.grade(f"It is $\\boxed{{{answer}}}$.", reference).correct


def test_without_a_box_a_formula_is_looked_for_in_the_answer(grader: Grader) -> None:
    found = grader.grade(r"The answer is $\frac{2}{4}$.", r"\frac12")
    assert found == Grade(correct=True, given=r"\frac{2}{4}")
    assert grader.grade("There is none.", r"\frac12") == Grade(correct=False, given=None)


def test_without_a_box_the_last_number_is_compared_with_a_number(grader: Grader) -> None:
    assert grader.grade("I count 17, no, 18.", "18") == Grade(correct=True, given="18")
    assert grader.grade("There is none.", "18") == Grade(correct=False, given=None)


def test_numbers_start_no_process() -> None:
    with Grader() as grader:
        assert grader.grade(r"\boxed{18.0}", "18").correct
        assert grader._process is None


@pytest.mark.slow
def test_a_formula_that_takes_for_ever_is_cut_and_the_next_one_is_graded() -> None:
    with Grader(seconds=1) as grader:
        begin = time.monotonic()
        found = grader.grade(HANGS, "18")
        assert found == Grade(correct=False, given="9^{9^{9^9}}", note="math-verify did not finish in 1 s")
        assert time.monotonic() - begin < 20
        assert grader.grade(r"\boxed{\frac{36}{2}}", "18") == Grade(correct=True, given=r"\frac{36}{2}")


@pytest.mark.slow
def test_a_process_that_is_killed_at_work_is_noted_and_started_anew() -> None:
    with Grader(seconds=60) as grader:
        assert grader.grade(r"\boxed{\frac{36}{2}}", "18").correct
        assert grader._process is not None
        killer = threading.Timer(0.3, grader._process.kill)
        killer.start()
        assert grader.grade(HANGS, "18") == Grade(correct=False, given="9^{9^{9^9}}", note="math-verify crashed")
        killer.join()
        assert grader.grade(r"\boxed{\frac{36}{2}}", "18").correct


@pytest.mark.slow
def test_a_process_that_was_killed_at_rest_costs_no_answer() -> None:
    with Grader(seconds=60) as grader:
        grader.grade(r"\boxed{\frac{36}{2}}", "18")
        assert grader._process is not None
        grader._process.kill()
        grader._process.join()
        assert grader.grade(r"\boxed{\frac{36}{2}}", "18") == Grade(correct=True, given=r"\frac{36}{2}")


def test_the_process_ends_with_its_grader() -> None:
    with Grader(seconds=60) as grader:
        grader.grade(r"\boxed{\frac{36}{2}}", "18")
        assert grader._process is not None
        process = psutil.Process(grader._process.pid)
        if sys.platform == "linux":
            assert process.rlimit(psutil.RLIMIT_AS)[0] == 2**31
    assert not process.is_running()


def program(folder: Path, body: str) -> list[str]:
    path = folder / "program.py"
    path.write_text(f"from glimp_local.bench.grading import Grader\nif __name__ == '__main__':\n{body}")
    return [sys.executable, str(path)]


WORKS = """\
    import sys
    with Grader(seconds=2) as grader:
        grader.grade(r"\\boxed{x}", "18")
        print(grader._process.pid, flush=True)
        %s
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a limit of time is the system's own only elsewhere")
@pytest.mark.parametrize("at_work", [False, True])
def test_the_process_does_not_outlive_a_parent_that_is_killed(tmp_path: Path, *, at_work: bool) -> None:
    does = f"grader._seconds = 60; grader.grade({HANGS!r}, '18')" if at_work else "sys.stdin.read()"
    command = program(tmp_path, WORKS % does)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        assert child.is_running()
        parent.kill()
        parent.communicate()
    # A zombie is gone, too: it waits for whoever adopted it to notice.
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="signals for a whole group of processes")
def test_ctrl_c_is_the_parent_s_alone_from_the_start_on(tmp_path: Path) -> None:
    body = r"""
    import os, signal, threading, time
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    stop = threading.Event()
    def interrupt():
        while not stop.wait(0.002):
            os.killpg(0, signal.SIGINT)
            os.killpg(0, signal.SIGTERM)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with Grader(seconds=60) as grader:
        found = [grader.grade(r"\boxed{\frac{36}{2}}", "18") for _ in range(50)]
        stop.set()
        thread.join()
    print({(grade.correct, grade.note) for grade in found})
"""
    done = subprocess.run(
        program(tmp_path, body), capture_output=True, text=True, check=False, timeout=120, start_new_session=True
    )
    assert (done.stdout, done.stderr) == ("{(True, None)}\n", "")


def test_the_process_loads_no_llama_cpp() -> None:
    # It imports the main module again, and the module of its function.
    code = "import sys, glimp_local.cli, glimp_local.bench.judge; print('llama_cpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.process
@pytest.mark.parametrize("command", [GLIMP, [str(Path(sys.executable).with_name("glimp"))]], ids=["module", "script"])
def test_glimp_bench_grades_formulas(glimp: Glimp, tmp_path: Path, command: list[str]) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"problem": "How many steps are there?", "answer": r"\frac{6}{2}"}))
    done = subprocess.run(
        [*command, "bench", problems, *glimp.pair(), "--policy", "small", "--no-looks", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob(f"*/{FILE}")
    run = msgspec.json.decode(path.read_bytes().splitlines()[1], type=Run)
    assert (run.correct, run.given, run.note) == (True, "3", None)


def test_without_math_verify_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(GlimpError, match="math-verify, which is not installed") as caught:
        Grader()
    assert caught.value.hint == "pip install 'glimp-local[bench]'"


@pytest.mark.parametrize(
    ("content", "said"),
    [("raise ImportError('no antlr')", "ImportError: no antlr"), ("import os; os._exit(3)", "its process ended")],
)
def test_a_math_verify_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
) -> None:
    (tmp_path / "math_verify").mkdir()
    (tmp_path / "math_verify" / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with Grader() as grader, pytest.raises(GlimpError, match=f"math-verify does not start: {said}"):
        grader.grade(r"\boxed{\frac{36}{2}}", "18")
