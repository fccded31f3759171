"""What `glimp solve` is given and cannot use: a message, the next thing to do, an exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import ANSWER, GLIMP, QUESTION, Glimp


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"caf\xe9", "is not UTF-8 text (byte 0xe9 at offset 3)"),
        (None, "No such file"),
    ],
)
def test_a_problem_that_cannot_be_read(glimp: Glimp, problem: Path, content: bytes | None, message: str) -> None:
    if content is None:
        problem.unlink()
    else:
        problem.write_bytes(content)
    result = glimp.solve(problem)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert str(problem) in result.err


@pytest.mark.process
@pytest.mark.parametrize(("typed", "code"), [("caf\u00e9".encode(), 0), (b"caf\xe9", 2)])
def test_the_bytes_of_text_count_in_any_locale(glimp: Glimp, typed: bytes, code: int) -> None:
    arguments = [*map(os.fsencode, [*GLIMP, "solve", *glimp.pair()]), b"--text", typed]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(arguments, env=environment, capture_output=True, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_takes_nothing_is_said(glimp: Glimp) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*GLIMP, "solve", *glimp.pair(), "--text", QUESTION], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"glimp: writing the output: No space left on device\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threshold", "nan"], "'nan' is not a number 0 or more"),
        (["--threshold", "-1"], "'-1' is not a number 0 or more"),
        (["--threshold", "inf"], "'inf' is not a number 0 or more"),
        (["--share", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["--share", "0.2", "--threshold", "1"], "--threshold and --share exclude each other"),
        (["--policy", "small", "--threshold", "1"], "--threshold has no effect under the policy 'small'"),
        (["--policy", "threshold", "--share", "0.3"], "--share has no effect"),
        (["--pair", "x"], "by --pair or by --small and --large, not by both"),
        (["--json", "--jsonl"], "--json and --jsonl exclude each other"),
        (["--threads", "100000"], "'100000' is neither auto nor a number from 1 to 512"),
        (["--cache-type", "q8_0", "--flash-attention", "off"], 'cache_type "q8_0" needs flash attention'),
        (["--max-answer", "0"], "0 is not in the range x>=1"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--save", "/nowhere/run.jsonl"], "/nowhere/run.jsonl: cannot be written: No such file or directory"),
        (["problem.txt"], "by FILE or by --text, not by both"),
    ],
)
def test_a_flag_that_cannot_be_used(glimp: Glimp, flags: list[str], message: str) -> None:
    result = glimp.solve("--text", QUESTION, *flags)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err


def test_threads_are_those_of_the_flags_for_each_model_and_phase(glimp: Glimp) -> None:
    threads = ["--threads", "2", "--threads-small", "1", "--threads-batch", "2", "--threads-batch-large", "3"]
    result = glimp.solve("--text", QUESTION, "--thoughts", "--gpu-layers", "0", *threads)
    assert result.code == 0, result.err
    assert "CPU, 1 thread, 2 for prompts" in result.err
    assert "CPU, 2 threads, 3 for prompts" in result.err


@pytest.mark.parametrize("flags", [("--cache-type", "q8_0"), ("--flash-attention", "off"), ("--flash-attention", "on")])
def test_a_story_is_solved_with_another_cache_or_attention(glimp: Glimp, flags: tuple[str, str]) -> None:
    story = "Mia has 3 marbles. Mia finds 2 more. How many marbles does Mia have now?"
    result = glimp("solve", "--pair", "builtin", "--text", story, "-q", *flags)
    assert (result.code, "\\boxed{5}" in result.out) == (0, True), result.err


def test_one_path_with_a_policy_that_needs_two(glimp: Glimp) -> None:
    result = glimp("solve", "--text", QUESTION, "--small", glimp.tiny / "small.gguf", "--policy", "share")
    assert (result.code, "there is only a small model" in result.err) == (2, True)
    forgotten = glimp("solve", "--text", QUESTION, "--small", glimp.tiny / "small.gguf")
    assert (forgotten.code, "or --policy small" in forgotten.err) == (2, True)
    alone = glimp("solve", "--text", QUESTION, "--small", glimp.tiny / "small.gguf", "--policy", "small")
    assert alone.code == 0


def test_an_unknown_pair(glimp: Glimp) -> None:
    result = glimp("solve", "--text", QUESTION, "--pair", "qwen3-0.6b-4")
    assert result.code == 2
    assert "did you mean 'qwen3-0.6b-4b'?" in result.err
    assert "known pairs:" in result.err


def test_a_misspelt_key_in_models_toml(glimp: Glimp, tmp_path: Path) -> None:
    toml = tmp_path / "models.toml"
    toml.write_text("[pairs.a]\ntreshold = 1\n")
    result = glimp("solve", "--text", QUESTION, "--models", toml)
    assert result.code == 2
    assert f"{toml}: pairs.a: unknown key `treshold` (did you mean 'threshold'?)" in result.err


def test_a_pair_that_is_not_downloaded(glimp: Glimp) -> None:
    result = glimp("solve", "--text", QUESTION, "--pair", "qwen3-0.6b-4b")
    assert (result.code, result.out) == (3, "")
    assert "is not on this machine" in result.err
    assert "hint: glimp models pull qwen3-0.6b-4b\n" in result.err


@pytest.mark.parametrize("kind", ["missing", "text", "cut"])
def test_a_model_that_cannot_be_read(glimp: Glimp, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    if kind == "text":
        path.write_text("Dear diary")
    elif kind == "cut":
        path.write_bytes((glimp.tiny / "large.gguf").read_bytes()[:100_000])
    result = glimp("solve", "--text", QUESTION, "--small", glimp.tiny / "small.gguf", "--large", path)
    assert (result.code, result.out) == (3, "")
    # Two lines of ours, and none of llama.cpp's own.
    said, hint = result.err.splitlines()
    assert said.startswith(f"glimp: {path}")
    assert hint.startswith("hint: ")


def test_a_model_without_a_chat_template(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, small="no-template")
    assert (result.code, "carries no chat template" in result.err, "--chat-template" in result.err) == (3, True, True)


def test_models_of_different_vocabularies_work_with_a_warning(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--max-thought", "40", "--max-answer", "30", large="other-vocabulary")
    assert "the two models are not of one vocabulary" in result.err
    assert result.out != ""
    assert result.code in {0, 4}


def test_a_problem_longer_than_the_context(glimp: Glimp) -> None:
    result = glimp.solve("--text", "word " * 500)
    assert (result.code, result.out) == (2, "")
    assert "the context of" in result.err
    assert "hint: shorten the question" in result.err


def test_a_save_that_may_not_be_written(glimp: Glimp, tmp_path: Path) -> None:
    result = glimp.solve("--text", QUESTION, "--save", tmp_path)
    assert (result.code, "cannot be written: Is a directory" in result.err) == (2, True)


def test_a_failed_start_leaves_no_empty_save_behind(glimp: Glimp, tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    assert glimp.solve("--text", QUESTION, "--save", saved, large="nothing").code == 3
    assert not saved.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_the_save_but_not_the_answer(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--save", "/dev/full")
    assert (result.code, result.out) == (1, ANSWER)
    assert "--save /dev/full is incomplete: " in result.err
