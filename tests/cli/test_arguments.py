"""An argument of `glimp solve` that names no file: the text itself, or a file that is misspelt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glimp_local.cli.arguments import is_text, quoted
from tests.support.commands import ANSWER, QUESTION, Glimp, invoke

TAKEN = "there is no file of that name, so it is taken as the text of the problem"


@pytest.mark.parametrize(
    "argument",
    [
        "what is 12*7?",
        "why?",
        "12/4?",
        "17 + 25",
        "what is 84/7",
        "what is 84 / 7",
        "(3 + 4) / 7 =",
        "half of 46",
        "Is it black and/or white?",
        "A car drives at 60 km/h. It drives for 2 hours.",
        "Mia has 3 marbles.\nMia finds 2 more\nin the file a.txt",
        "What is pi, if not 3.14",
        "\u4f60\u597d\uff0c12\u4e58\u4ee57\u7b49\u4e8e\u51e0\uff1f",
        "what is\u00a012*7",
        "word " * 5000,
        "- 5 + 7",
    ],
    ids=lambda argument: argument[:30],
)
def test_a_blank_or_a_question_mark_makes_a_text(argument: str) -> None:
    assert is_text(argument)


@pytest.mark.parametrize(
    "argument",
    [
        "-",
        "",
        "problem",
        "17+25",
        "problem.txt",
        "problem 1.txt",
        "my problems/one.txt",
        "my problems/one",
        "my problems\\one",
        "./my problem",
        "../my problem?",
        "/home/mia/my problem",
        "~/my problem",
        "C:\\Users\\Mia\\my problem",
        "c:/my problem",
        "data/problem?",
        "problem?.txt",
        "Tom, part 2.json",
        "x" * 5000,
    ],
    ids=lambda argument: argument[:30],
)
def test_what_looks_like_a_path_or_a_single_word_is_no_text(argument: str) -> None:
    assert not is_text(argument)


def test_a_file_of_that_name_always_wins(glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("how many?").write_text(QUESTION)
    assert not is_text("how many?")
    found = glimp.solve("how many?")
    assert (found.code, found.out, TAKEN in found.err) == (0, ANSWER, False)
    Path("is it there?").symlink_to("nowhere")
    broken = glimp.solve("is it there?")
    assert (broken.code, "is it there? cannot be read: No such file" in broken.err) == (2, True)


def test_a_question_is_solved_and_a_line_says_what_it_was_taken_for(glimp: Glimp) -> None:
    plain = glimp.solve("--text", QUESTION, "--jsonl")
    asked = glimp.solve(QUESTION, "--jsonl")
    assert asked.code == 0
    assert json.loads(asked.out.splitlines()[0])["question"] == QUESTION
    assert asked.err.splitlines()[0] == f"glimp: {TAKEN}"
    assert TAKEN not in plain.err
    assert glimp.solve(QUESTION, "-q").err == ""


def test_a_question_is_no_file_that_save_could_write_over(glimp: Glimp, tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    saved.touch()
    assert glimp.solve(QUESTION, "--save", saved).code == 0


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["17+25"], "17+25 cannot be read: No such file", 'glimp solve --text "17+25"'),
        (["my problems/one.txt"], "my problems/one.txt cannot be read", 'glimp solve --text "my problems/one.txt"'),
        (["x" * 5000], f"glimp: {'x' * 60}... cannot be read: ", 'glimp solve --text "..."'),
        ([" "], "the problem is empty", 'glimp solve "what is 12*7?"'),
        (["what", "is", "12*7?"], "the question is in 3 arguments: what is 12*7?", 'glimp solve "what is 12*7?"'),
        (["what's", '"that"?'], "the question is in 2 arguments", 'put it in quotes: glimp solve "..."'),
        (["a.txt", "b.txt"], "2 arguments are given, and glimp solve takes one: a.txt b.txt", "stands in quotes"),
        (["--text", "what", "is", "7?"], "by FILE or by --text", 'in quotes: glimp solve --text "what is 7?"'),
        (["--text", "what", "-"], "by FILE or by --text", "leave one of the two out"),
        (["-5 + 7?"], "No such option '-5'", 'behind --text: glimp solve --text "-5 + 7?"'),
        (["-5+7"], "No such option '-5'", 'behind --text: glimp solve --text "-5+7"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_question_that_cannot_be_taken_shows_how_to_give_it(arguments: list[str], message: str, hint: str) -> None:
    result = invoke("solve", *arguments)
    said, hinted = result.err.splitlines()
    assert (result.code, result.out) == (2, "")
    assert message in said
    assert hinted.startswith("hint: ")
    assert hint in hinted


def test_arguments_of_which_a_shell_made_files_show_how_to_give_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").touch()
    result = invoke("solve", "what", "is", "12", "notes", "7?")
    assert "5 arguments are given" in result.err
    assert 'a question stands in quotes, as in glimp solve "what is 12*7?"' in result.err


@pytest.mark.parametrize(
    "arguments", [("--txet", "what is 7?"), ("--text=what is 7?", "--txet"), ("a.txt", "--seed", "-1", "--txet")]
)
def test_a_misspelt_flag_is_no_question(arguments: tuple[str, ...]) -> None:
    result = invoke("solve", *arguments)
    assert (result.code, "No such option '--txet'" in result.err, "behind --text" in result.err) == (2, True, False)


def test_what_a_shell_would_read_is_not_put_into_a_command() -> None:
    assert quoted("what is $HOME?") == quoted("it `is`") == quoted("x" * 100) == '"..."'
    assert quoted("what's 12*7?") == '"what\'s 12*7?"'


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["what", "is", "12*7?"], "the question is in 3 arguments", 'put it in quotes: glimp chat "what is 12*7?"'),
        (["qwen3-0.6b-4b"], "'qwen3-0.6b-4b' is no question", "glimp chat --pair qwen3-0.6b-4b"),
        (["qwen3-0.6-4b"], "'qwen3-0.6-4b' is no question", "glimp chat --pair qwen3-0.6b-4b"),
        (["pyproject.toml"], "'pyproject.toml' is a file, and a chat reads none", "glimp solve pyproject.toml"),
        ([" "], "the question is empty", 'glimp chat "what is 12*7?"'),
        (["what is 12*7?"], "a chat needs a terminal", "glimp solve"),
        (["what is built in"], "a chat needs a terminal", "glimp solve"),
        (["hello"], "a chat needs a terminal", "glimp solve"),
        (["docs"], "a chat needs a terminal", "glimp solve"),
        (["12 \udcff 7"], "the question is not UTF-8 text (byte 0xff at offset 3)", "iconv"),
    ],
)
def test_a_chat_takes_a_question_and_no_pair_or_file(
    arguments: list[str], message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    said, hinted = invoke("chat", *arguments).err.splitlines()
    assert message in said
    assert hint in hinted
