"""The problems of a bench: what a file may hold, and what is said where it holds something else."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.bench.problems import NAMES, Problem, _problem, read_problems
from glimp_local.errors import UsageError
from training.evaluate import BUILTIN, ROOT, problems


def write(folder: Path, *lines: object) -> str:
    path = folder / "mine.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def test_a_line_has_a_problem_and_its_answer(tmp_path: Path) -> None:
    source = write(tmp_path, {"problem": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4", "level": 3})
    assert read_problems(source) == [Problem("1", "1+1?", "2"), Problem("2", "2+2?", "4")]


def test_an_id_is_taken_where_there_is_one_else_the_number_of_the_line(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "unique_id": "b", "problem": "?", "answer": "1"},
        {"unique_id": "test/1.json", "problem": "?", "answer": "1"},
        "",
        {"id": 0, "problem": "?", "answer": "1"},
        {"id": None, "problem": "?", "answer": "1"},
        {"id": "", "problem": "?", "answer": "1"},
    ]
    assert [problem.id for problem in read_problems(write(tmp_path, *lines))] == ["a", "test/1.json", "0", "5", "6"]


@pytest.mark.parametrize(
    ("spelled", "answer"),
    [
        ('"18"', "18"),
        ("18", "18"),
        ("0.10", "0.10"),
        ("-1e3", "-1e3"),
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ('" \\\\frac{1}{2} "', r"\frac{1}{2}"),
        ('"\\u00e9"', "é"),
        ('"He has <<3+15=18>>18.\\n#### 18"', "18"),
        ('"A lot.\\n#### 1,080\\n"', "1,080"),
        ('"#### 7"', "7"),
        ('"#### 7\\nand more"', "#### 7\nand more"),
    ],
)
def test_of_an_answer_the_result_is_kept_as_it_is_spelled(tmp_path: Path, spelled: str, answer: str) -> None:
    (problem,) = read_problems(write(tmp_path, f'{{"problem": "?", "answer": {spelled}}}'))
    assert problem.answer == answer


def test_blank_lines_a_mark_at_the_beginning_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"problem": "a", "answer": "1"}\r\n\r\n  \r\n{"problem": "b\xe2\x80\xa8", "answer": 2}'
    )
    assert read_problems(str(path)) == [Problem("1", "a", "1"), Problem("4", "b\u2028", "2")]


def test_keys_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    source = write(tmp_path, {"problem": "?", "answer": 1, "solution": ["a"], "text": None, "level": {"x": 1}})
    assert read_problems(source) == [Problem("1", "?", "1")]


@pytest.mark.parametrize("answer", ["B", "two", " two "])
def test_choices_are_shown_in_their_order_and_the_answer_is_a_letter(tmp_path: Path, answer: str) -> None:
    source = write(tmp_path, {"problem": "Which?\n", "choices": ["one", " two ", "three"], "answer": answer})
    expected = Problem("1", "Which?\n\n(A) one\n(B) two\n(C) three", "B", ("one", "two", "three"))
    assert read_problems(source) == [expected]
    (unanswered,) = read_problems(source, answers=False)
    assert unanswered == msgspec.structs.replace(expected, answer="")


def test_choices_may_be_numbers_and_are_kept_as_they_are_spelled(tmp_path: Path) -> None:
    (problem,) = read_problems(write(tmp_path, '{"question": "1+1?", "choices": [1, 2.0, 3], "answer": 2.0}'))
    assert (problem.text, problem.answer) == ("1+1?\n\n(A) 1\n(B) 2.0\n(C) 3", "B")


GOOD = {"problem": "?", "answer": "1"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"problem": "?", ', "this is not JSON"),
        ("problem,answer", "this is not JSON"),
        (f'{{"problem": "?", "answer": {"[" * 100_000}', "this is not JSON"),
        ('["?", "1"]', "expected `object`, got `array`"),
        ("3", "expected `object`, got `int`"),
        ("null", "expected `object`, got `null`"),
        ('{"answer": "1"}', "there is neither `problem` nor `question`"),
        ('{"problem": "?", "question": "?", "answer": "1"}', "there is both `problem` and `question`"),
        ('{"problem": 3, "answer": "1"}', "expected `str | null`, got `int`, in `problem`"),
        ('{"problem": " \\n", "answer": "1"}', "the problem is empty"),
        ('{"problem": "?"}', "there is no `answer`"),
        ('{"problem": "?", "answer": ""}', "the answer is empty"),
        ('{"problem": "?", "answer": "It is\\n#### "}', "the answer is empty"),
        ('{"problem": "?", "answer": null}', "the answer is neither a text nor a number"),
        ('{"problem": "?", "answer": true}', "the answer is neither a text nor a number"),
        ('{"problem": "?", "answer": ["1"]}', "the answer is neither a text nor a number"),
        ('{"problem": "?", "answer": {"x": 1}}', "the answer is neither a text nor a number"),
        ('{"problem": "?", "choices": "ab", "answer": "a"}', "expected `array | null`, got `str`, in `choices`"),
        ('{"problem": "?", "choices": ["a", null], "answer": "a"}', "a choice is neither a text nor a number"),
        ('{"problem": "?", "choices": ["a", " "], "answer": "a"}', "a choice is empty"),
        ('{"problem": "?", "choices": ["a"], "answer": "a"}', "there are 1 choices"),
        (f'{{"problem": "?", "choices": {list(range(27))}, "answer": "A"}}', "there are 27 choices"),
        ('{"problem": "?", "choices": ["a", "b"]}', "there is no `answer`"),
        (
            '{"problem": "?", "choices": ["a", "b"], "answer": "C"}',
            "the answer 'C' is neither a letter from A to B",
        ),
        (
            '{"problem": "?", "choices": ["a", "b"], "answer": "c"}',
            "the answer 'c' is neither a letter from A to B",
        ),
        ('{"problem": "?", "choices": ["a", "a"], "answer": "a"}', "the answer 'a' could be any of the choices A, B"),
        ('{"problem": "?", "choices": ["B", "A"], "answer": "B"}', "the answer 'B' could be any of the choices A, B"),
        ('{"problem": "?", "answer": "1", "id": 1.5}', "expected `int | str | null`, got `float`, in `id`"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, said: str) -> None:
    source = write(tmp_path, GOOD, line)
    with pytest.raises(UsageError) as caught:
        read_problems(source)
    assert str(caught.value).startswith(f"{source}:2: {said}")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('[\n  {"problem": "?", "answer": "1"}\n]', "jq -c '.[]'"),
        ('[{"problem": "?", "answer": "1"}]', "jq -c '.[]'"),
        ('{\n  "problem": "?"\n}', "jq -c ."),
    ],
)
def test_one_json_value_over_several_lines_comes_with_the_command_that_mends_it(
    tmp_path: Path, text: str, command: str
) -> None:
    with pytest.raises(UsageError, match=r"mine\.jsonl:1: ") as caught:
        read_problems(write(tmp_path, text))
    assert command in str(caught.value.hint)


def test_two_problems_of_one_id_are_both_named(tmp_path: Path) -> None:
    source = write(tmp_path, GOOD, {**GOOD, "id": "x"}, {**GOOD, "id": 1})
    with pytest.raises(UsageError) as caught:
        read_problems(source)
    assert str(caught.value) == f"{source}:3: the id '1' is that of {source}:1, too"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_problems_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="there are no problems in it"):
        read_problems(str(path))


def test_a_file_of_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"problem": "?", "answer": "1"}\n{"problem": "caf\xe9", "answer": "1"}\n')
    with pytest.raises(UsageError, match=r"mine\.jsonl:2: this is not UTF-8"):
        read_problems(str(path))


def test_a_device_that_never_ends_is_read_up_to_a_limit() -> None:
    with pytest.raises(UsageError, match=r"/dev/zero is larger than 100.0 MB") as caught:
        read_problems("/dev/zero")
    assert "head -n 1000 FILE" in str(caught.value.hint)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.jsonl: no such file"):
        read_problems(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(UsageError, match="is a directory"):
        read_problems(str(tmp_path))


def test_a_misspelt_name_is_guessed() -> None:
    with pytest.raises(UsageError, match=r"no problems 'gsm8' \(did you mean 'gsm8k'\?\)") as caught:
        read_problems("gsm8")
    assert all(name in str(caught.value.hint) for name in NAMES)


def test_a_name_is_the_built_in_one_unless_it_is_written_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("builtin", "others"):
        Path(name).write_text(json.dumps(GOOD))
    assert len(read_problems("builtin")) == 500
    assert read_problems("./builtin") == [Problem("1", "?", "1")]
    assert read_problems("others") == [Problem("1", "?", "1")]


def test_the_built_in_problems_are_the_stories_that_training_keeps_for_the_report() -> None:
    assert (BUILTIN / "problems.jsonl").read_bytes() == problems()
    found = read_problems("builtin")
    assert len({problem.text for problem in found}) == len(found) == 500
    assert all(problem.answer.isdecimal() for problem in found)


def test_the_wheel_carries_the_built_in_problems() -> None:
    carried = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "glimp_local/builtin/problems.jsonl" in carried


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(lambda text: text.strip() and "#" not in text))
def test_any_text_is_read_as_it_was_written(text: str, answer: str) -> None:
    line = msgspec.json.encode({"problem": text, "answer": answer})
    assert _problem(line, "here", "1", answers=True) == Problem("1", text, answer.strip())
