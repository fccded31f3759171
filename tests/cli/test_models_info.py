"""`glimp models info` and `glimp models compare`, as somebody types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import GLIMP, Glimp
from tests.support.headers import ARCHITECTURE, gguf_bytes, text
from tests.support.pulling import BUILTIN


def test_a_file_is_told_in_lines(glimp: Glimp, small: Path) -> None:
    result = glimp("models", "info", small)
    assert result.code == 0, result.err
    assert result.out.startswith("small\n")
    for words in (
        str(small),
        "1 layers of 288",
        "512 tokens trained for",
        "BPE (llama-bpe)",
        "<think> … </think>",
        "F32 100%",
        "at 512 tokens of context",
    ):
        assert words in result.out


def test_a_pair_s_models_are_both_told_the_small_one_first(glimp: Glimp) -> None:
    result = glimp("models", "info", "builtin")
    assert result.code == 0, result.err
    assert result.out.index("glimp built-in small") < result.out.index("glimp built-in large")
    objects = [json.loads(line) for line in glimp("models", "info", "builtin", "--json").out.splitlines()]
    assert [found["name"] for found in objects] == ["glimp built-in small", "glimp built-in large"]
    assert all(found["vocabulary"]["tokens"] == 2816 for found in objects)


def test_a_pair_of_a_models_toml_is_found(glimp: Glimp, tmp_path: Path, tiny: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f"[pairs.mine]\nsmall.path = '{tiny / 'small.gguf'}'\nlarge.path = '{tiny / 'padded.gguf'}'\n")
    result = glimp("models", "compare", "mine", "--models", file)
    assert result.code == 0, result.err
    assert "token ids are handed over" in result.out


def test_two_files_are_compared_verdict_first(glimp: Glimp, tiny: Path) -> None:
    result = glimp("models", "compare", tiny / "other-vocabulary.gguf", tiny / "small.gguf")
    assert result.code == 0, result.err
    first, *others = result.out.splitlines()
    assert first.startswith("These two make a pair, but their vocabularies differ (")
    rows = {line.split()[0]: line for line in others if line.startswith("  ")}
    assert rows["template"].startswith("  template     = ")
    assert rows["vocabulary"].startswith("  vocabulary     ")
    found = json.loads(glimp("models", "compare", tiny / "other-vocabulary.gguf", tiny / "small.gguf", "--json").out)
    assert found["verdict"] == first
    assert (found["small"]["name"], found["large"]["name"]) == ("small", "other-vocabulary")


def test_models_that_do_not_fit_are_an_answer_and_no_error(glimp: Glimp, small: Path) -> None:
    result = glimp("models", "compare", small, small)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("These two make no pair")


@pytest.mark.parametrize("command", ["info", "compare"])
def test_a_file_that_is_missing_or_no_model_is_exit_code_3(
    glimp: Glimp, tmp_path: Path, small: Path, command: str
) -> None:
    other = [small] if command == "compare" else []
    missing = glimp("models", command, tmp_path / "none.gguf", *other)
    assert (missing.code, missing.out) == (3, "")
    assert "none.gguf: no such file" in missing.err
    assert "hint: " in missing.err
    (tmp_path / "page.gguf").write_text("<html>")
    page = glimp("models", command, tmp_path / "page.gguf", *other)
    assert (page.code, page.out) == (3, "")
    assert "is no GGUF file (it begins with b'<htm')" in page.err


@pytest.mark.parametrize(
    "arguments", [["models", "info"], ["models", "verify"], ["plan", "--policy", "large", "--large"]]
)
def test_a_home_folder_that_there_is_not_is_exit_code_2(glimp: Glimp, arguments: list[str]) -> None:
    result = glimp(*arguments, "~nosuch/x.gguf")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("glimp: '~nosuch/x.gguf': ")
    assert "hint: give the whole path" in result.err


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_name_longer_than_that_of_any_file_is_exit_code_3(glimp: Glimp, command: str) -> None:
    result = glimp("models", command, "n" * 300 + ".gguf")
    assert (result.code, result.out) == (3, "")
    assert "hint: " in result.err
    assert "Traceback" not in result.err


def test_a_file_in_the_cache_is_told_by_its_name_in_the_list(glimp: Glimp, home: Path) -> None:
    path = home / "hub" / "hub" / "models--m--h" / "snapshots" / ("c" * 40) / "Q8_0" / "small.gguf"
    path.parent.mkdir(parents=True)
    path.symlink_to(BUILTIN / "small.gguf")
    result = glimp("models", "info", "m/h/Q8_0/small.gguf")
    assert result.code == 0, result.err
    assert str(path) in result.out
    assert glimp("models", "compare", "m/h/Q8_0/small.gguf", BUILTIN / "large.gguf").code == 0


def test_a_pair_whose_files_are_missing_says_what_gets_them(glimp: Glimp) -> None:
    result = glimp("models", "info", "qwen3-0.6b-4b")
    assert result.code == 3
    assert "is not on this machine" in result.err
    assert "hint: " in result.err


def test_a_name_that_is_neither_file_nor_pair_is_exit_code_2(glimp: Glimp) -> None:
    result = glimp("models", "info", "bultin")
    assert result.code == 2
    assert "did you mean 'builtin'?" in result.err


def test_a_pair_and_a_file_cannot_be_compared(glimp: Glimp, small: Path) -> None:
    result = glimp("models", "compare", "builtin", small)
    assert (result.code, "it takes two models to compare" in result.err) == (2, True)


def test_a_folder_hides_no_pair_of_its_name(glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "builtin").mkdir()
    monkeypatch.chdir(tmp_path)
    assert glimp("models", "info", "builtin").code == 0


def test_one_file_cannot_be_compared(glimp: Glimp, small: Path) -> None:
    result = glimp("models", "compare", small)
    assert result.code == 2
    assert "it takes two models to compare" in result.err


def test_what_stands_in_a_file_is_cut_and_a_pipe_gets_the_rest_as_it_is(glimp: Glimp, tmp_path: Path) -> None:
    nasty = "\x1b]0;owned\x07\x9b31m\u202e" + "long " * 1000
    keys = [text(f"general.{name}", nasty) for name in ("name", "basename", "organization", "license")]
    path = tmp_path / "nasty.gguf"
    path.write_bytes(gguf_bytes([*keys, text("general.architecture", nasty), text("tokenizer.chat_template", nasty)]))
    shown = glimp("models", "info", path)
    assert shown.code == 0, shown.err
    lines = shown.out.split("\n")
    assert lines[0] == nasty[:99] + "…"
    assert max(map(len, lines)) < 300
    assert json.loads(glimp("models", "info", path, "--json").out)["name"] == nasty


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_of_bytes_that_are_no_text_is_printed_as_it_is(small: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.gguf"
    Path(os.fsdecode(path)).symlink_to(small)
    done = subprocess.run([*GLIMP, "models", "info", path], capture_output=True, check=True)
    assert path in done.stdout


def test_a_name_longer_than_a_line_is_cut(glimp: Glimp, tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(gguf_bytes([ARCHITECTURE, text("general.name", "n" * 10**6)]))
    assert glimp("models", "info", path).out.splitlines()[0] == "n" * 99 + "…"


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["info", "builtin"], ["compare", "builtin", "--json"], ["info", "--help"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom glimp_local.cli import cli\n"
        f"try:\n    cli(['models', *{arguments}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'llama_cpp', 'huggingface_hub', 'textual', 'numpy', 'rich.console', 'jinja2', 'gguf'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("command", ["info", "compare"])
def test_the_help_has_examples_and_exit_codes(glimp: Glimp, command: str) -> None:
    result = glimp("models", command, "--help")
    assert result.code == 0
    for words in ("Examples:", "Exit codes:", f"glimp models {command} qwen3-0.6b-4b", "--json"):
        assert words in result.out
    assert max(map(len, result.out.splitlines())) <= 120
