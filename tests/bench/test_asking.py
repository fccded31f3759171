"""What a pair is asked in a bench, and how its answer to a problem of multiple choice is graded."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.bench.arms import Arm
from glimp_local.bench.asking import INSTRUCTION, Instruction, asked, check_peeks, instruction_for
from glimp_local.bench.bench import Bench, settings_of
from glimp_local.bench.grading import Grader
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import Header, RunLog
from glimp_local.errors import UsageError
from tests.support.scripted import scripted_pair

PLAIN = Problem("1", "1+1?", "2")
CHOICE = Problem("2", "1+1?\n\n(A) 1\n(B) 2", "B", ("1", "2"))


def test_each_kind_of_problem_has_an_instruction_of_its_own() -> None:
    instruction = instruction_for(scripted_pair(), None)
    assert asked(PLAIN, instruction) == f"1+1?\n\n{INSTRUCTION.plain}"
    assert asked(CHOICE, instruction) == f"1+1?\n\n(A) 1\n(B) 2\n\n{INSTRUCTION.choices}"
    assert "the result" in INSTRUCTION.plain
    assert "the letter" in INSTRUCTION.choices


def test_an_instruction_that_is_given_is_put_behind_both() -> None:
    instruction = instruction_for(scripted_pair(), "Be quick.")
    assert [asked(problem, instruction)[-11:] for problem in (PLAIN, CHOICE)] == ["\n\nBe quick."] * 2
    nothing = instruction_for(scripted_pair(), "")
    assert [asked(problem, nothing) for problem in (PLAIN, CHOICE)] == [PLAIN.text, CHOICE.text]


def test_a_pair_for_one_kind_of_problem_gets_the_problem_alone() -> None:
    assert instruction_for(scripted_pair(only="sums"), None) == Instruction()


@pytest.mark.parametrize(
    ("judges", "looks", "said", "hint"),
    [
        (True, True, "the large model (nowhere) does not tell", "name the policies wanted with --policy"),
        (True, False, "the large model (nowhere) does not tell", "name the policies wanted with --policy"),
        (False, True, "does not tell how likely a continuation is, and a look needs that", "add --no-looks"),
    ],
)
def test_a_model_that_does_not_tell_what_is_needed_is_refused_before_anything_is_run(
    judges: bool, looks: bool, said: str, hint: str
) -> None:
    check_peeks(scripted_pair(), judges=False, looks=False)
    with pytest.raises(UsageError) as caught:
        check_peeks(scripted_pair(), judges=judges, looks=looks)
    assert said in str(caught.value)
    assert caught.value.hint == hint


def test_a_bench_keeps_both_instructions_and_grades_letters(tmp_path: Path) -> None:
    pair = scripted_pair()
    for backend in pair.backends.values():
        backend.says = lambda behind: None if "boxed" in behind.partition("alone.")[2] else r"</think>\boxed{(B)}"  # type: ignore[attr-defined] # scripted
    settings = settings_of(pair, seed=1, instruction=INSTRUCTION)
    assert Instruction(settings["instruction"], settings["instruction for choices"]) == INSTRUCTION
    header = Header(settings, (), 1.0)
    with RunLog(tmp_path / "bench", header) as log, Grader() as grader:
        bench = Bench(pair, [PLAIN, CHOICE], [Arm("large")], log, seed=1, looks=False, instruction=INSTRUCTION)
        assert len(list(bench.run(grader))) == 2
        runs = [log.run(problem.id, "large", 0) for problem in (PLAIN, CHOICE)]
    assert [(run.correct, run.given) for run in runs if run is not None] == [(False, "(B)"), (True, "B")]
