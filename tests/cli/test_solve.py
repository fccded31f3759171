"""`glimp solve` as scripts use it: what is on stdout, what on stderr, and the exit code."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from glimp_local.cli.display import summary
from glimp_local.engines.llama import binding
from glimp_local.events import Finished, Solution, Text, decode_events, fold
from glimp_local.records.event_log import EventLog, read_events
from tests.support.commands import ANSWER, GLIMP, QUESTION, Glimp, Result, started
from tests.support.tiny_models import ENDLESS, write_story

# The answer, wherever the problem comes from.


def test_a_file_is_solved_and_only_the_answer_is_on_stdout(glimp: Glimp, problem: Path) -> None:
    result = glimp.solve(problem)
    assert (result.code, result.out) == (0, ANSWER)
    assert "4 steps, 25% large · 10 tokens, 50% large" in result.err


@pytest.mark.process
def test_the_problem_may_come_by_stdin_or_as_text(glimp: Glimp) -> None:
    assert glimp.solve("-", stdin=QUESTION.encode()).out == ANSWER
    assert glimp.solve(stdin=QUESTION.encode()).out == ANSWER
    assert glimp.solve("--text", QUESTION).out == ANSWER


def test_a_byte_order_mark_is_no_part_of_the_problem(glimp: Glimp, problem: Path) -> None:
    problem.write_bytes(b"\xef\xbb\xbf" + QUESTION.encode())
    plain = glimp.solve("--text", QUESTION, "--jsonl")
    marked = glimp.solve(problem, "--jsonl")
    assert decode_events([marked.out.splitlines()[0].encode()]) != []
    assert prompt_tokens(marked) == prompt_tokens(plain)


def prompt_tokens(result: Result) -> int:
    return int(json.loads(result.out.splitlines()[0])["prompt_tokens"])


def test_thoughts_show_each_step_with_letter_and_entropy(glimp: Glimp) -> None:
    lines = glimp.solve("--text", QUESTION, "--thoughts").err.splitlines()
    assert "S 0.00 │ First one." in lines
    assert any(line.startswith("L 1.") and line.endswith("│ Third three.") for line in lines)
    assert any(line.startswith("small: small (CPU") for line in lines)


def test_quiet_says_nothing(glimp: Glimp) -> None:
    assert glimp.solve("--text", QUESTION, "--quiet").err == ""


def test_there_is_no_status_line_where_stderr_is_no_terminal(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION)
    assert "\x1b" not in result.err
    assert len(result.err.splitlines()) == 1


# The public JSON.


def test_json_is_one_object_of_the_documented_shape(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--json", "--seed", "7")
    solution = msgspec.json.decode(result.out, type=Solution, strict=True)
    assert solution.seed == 7
    found = json.loads(result.out)
    assert list(found) == [
        "answer", "boxed", "thought", "pair", "policy", "seed", "finish_reason", "thought_end", "steps", "notices",
        "stats", "system",
    ]  # fmt: skip
    assert list(found["steps"][2]) == [
        "index", "part", "model", "reason", "threshold_nats", "entropy_nats", "top1_probability", "margin", "tokens",
        "seconds", "catch_up_tokens", "catch_up_seconds", "end", "text",
    ]  # fmt: skip
    assert found["steps"][2]["model"] == "large"
    assert found["steps"][2]["entropy_nats"] > 1
    assert (found["answer"], found["boxed"], found["pair"]) == ("Answer \\boxed{3}", "3", "small + large")
    assert found["stats"]["share_steps"] == 0.25
    assert {"tokens_per_second", "prefill_seconds", "decode_seconds", "sample_seconds"} <= found["stats"][
        "large"
    ].keys()


def test_jsonl_is_one_event_a_line_and_folds_into_the_same_object(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--jsonl")
    events = decode_events(result.out.encode().splitlines())
    solution = fold(events)
    assert solution.answer + "\n" == ANSWER
    assert (
        "".join(event.text for event in events if isinstance(event, Text) and event.part == "thought")
        == solution.thought
    )


def test_a_saved_run_holds_every_event(glimp: Glimp, tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    result = glimp.solve("--text", QUESTION, "--save", saved)
    assert result.out == ANSWER
    assert fold(read_events(saved)).boxed == "3"


def test_nothing_that_stands_in_a_file_is_written_over(glimp: Glimp, problem: Path, tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    saved.write_text("an older run")
    result = glimp.solve("--text", QUESTION, "--save", saved)
    assert (result.code, "the file holds something" in result.err) == (2, True)
    assert saved.read_text() == "an older run"
    result = glimp.solve(problem, "--save", problem)
    assert (result.code, "is the problem itself" in result.err) == (2, True)
    assert problem.read_text() == QUESTION + "\n"
    result = glimp.solve("--text", QUESTION, "--save", "-")
    assert (result.code, "--jsonl" in result.err) == (2, True)


# Settings.


def test_a_lone_share_or_threshold_chooses_its_policy(glimp: Glimp) -> None:
    share = json.loads(glimp.solve("--text", QUESTION, "--share", "1", "--json").out)
    assert share["policy"] == "share"
    threshold = json.loads(glimp.solve("--text", QUESTION, "--threshold", "9", "--json").out)
    assert (threshold["policy"], threshold["stats"]["share_steps"]) == ("threshold", 0)


def test_a_run_s_entropies_are_the_next_run_s_history(glimp: Glimp, home: Path) -> None:
    for _ in range(3):
        assert glimp.solve("--text", QUESTION).code == 0
    (stored,) = (home / "data" / "glimp" / "entropies").iterdir()
    assert len(msgspec.json.decode(stored.read_bytes(), type=list[float])) == 12
    routed = json.loads(glimp.solve("--text", QUESTION, "--share", "0.25", "--json").out)
    assert [step["model"] for step in routed["steps"]] == ["small", "small", "large", "small", "large"]


def test_a_pair_of_the_user_s_file_is_used(glimp: Glimp, tmp_path: Path) -> None:
    toml = tmp_path / "models.toml"
    toml.write_text(
        f'default = "mine"\n[pairs.mine]\nsmall = {{path = "{glimp.tiny}/small.gguf"}}\n'
        f'large = {{path = "{glimp.tiny}/large.gguf"}}\nsampling = {{temperature = 0}}\nthreshold = 5.0\n'
    )
    result = glimp("solve", "--models", toml, "--text", QUESTION, "--json")
    assert (json.loads(result.out)["pair"], json.loads(result.out)["stats"]["share_steps"]) == ("mine", 0)
    over = glimp("solve", "--models", toml, "--text", QUESTION, "--json", "--threshold", "0.5")
    assert json.loads(over.out)["stats"]["share_steps"] > 0


def test_the_environment_names_the_pair(glimp: Glimp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIMP_PAIR", "qwen3-nothing")
    assert "there is no pair 'qwen3-nothing'" in glimp("solve", "--text", QUESTION).err
    assert glimp.solve("--text", QUESTION).out == ANSWER  # two paths say it more plainly


def test_layers_for_a_gpu_that_is_not_there_are_said(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--gpu-layers", "5")
    assert result.out == ANSWER
    assert ("layers were to go to the GPU" in result.err) == (not binding.gpus())
    assert result.err.count("llama-cpp-python==") == result.err.count("CMAKE_ARGS")


def test_a_template_of_one_s_own_takes_the_place_of_a_missing_one(glimp: Glimp, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n<|im_start|>assistant\n<think>\n")
    result = glimp.solve("--text", QUESTION, "--chat-template", template, small="no-template", large="no-template")
    assert (result.code, result.err.count("circles")) == (0, 0)


# Budgets and interrupts.


@pytest.mark.process
def test_a_save_into_a_pipe_works(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--save", "/dev/stdout", "--json")
    *events, solution = result.out.splitlines()
    assert result.code == 0
    assert fold(decode_events([line.encode() for line in events])).answer == json.loads(solution)["answer"]


def test_a_spent_answer_is_exit_code_4_with_the_text_so_far(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--max-answer", "2")
    assert (result.code, result.out) == (4, "Answer\n")
    assert "raise --max-answer" in result.err


def test_a_spent_thought_is_said_and_still_answered(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--max-thought", "20", small="endless", large="endless")
    assert (result.code, result.out) == (0, ANSWER)
    assert "the tokens for the thought are spent (--max-thought)" in result.err


def test_a_thought_that_repeats_itself_is_closed_and_answered(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--thoughts", small="endless", large="endless")
    assert (result.code, result.out) == (0, ANSWER)
    assert "the thought went in circles: it was closed and the answer written" in result.err
    assert re.search(r"^S \d\.\d\d repeats │ Never ends here ends", result.err, re.MULTILINE)
    assert re.search(r"^L \d\.\d\d loop repeats │ *(ends|here) ", result.err, re.MULTILINE)


def test_an_answer_that_repeats_itself_is_stopped_and_is_exit_code_4(glimp: Glimp, tmp_path: Path) -> None:
    stuck = str(write_story(tmp_path / "stuck.gguf", {**ENDLESS, "\n": {"First": 9}, "\n\n": {"Never": 9}}))
    result = glimp("solve", "--small", stuck, "--large", stuck, "--temperature", "0", "--text", QUESTION)
    assert result.code == 4
    assert result.out.startswith("Never ends here ends here")
    assert result.out.strip() in "Never" + " ends here" * 60
    assert "the answer went in circles and was stopped" in result.err


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_what_was_written(glimp: Glimp, tmp_path: Path, number: int, code: int) -> None:
    saved = tmp_path / "run.jsonl"
    with started(glimp.endless("--save", saved)) as (process, lines):
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    events = decode_events([*lines, *out.splitlines()])
    assert process.returncode == code
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason == "cancelled"
    assert fold(read_events(saved)) == fold(events)
    assert b"Traceback" not in err


@pytest.mark.process
def test_a_second_interrupt_ends_at_once_whatever_is_going_on(glimp: Glimp, tmp_path: Path) -> None:
    for pause in (0.0, 0.002, 0.01, 0.03, 0.11, 0.15):
        saved = tmp_path / f"{pause}.jsonl"
        with started(glimp.endless("--save", saved)) as (process, lines):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert b"Traceback" not in err
        assert len(read_events(saved)) >= len(lines)


@pytest.mark.process
@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 0)])
def test_a_stream_that_is_closed_costs_only_what_it_would_show(glimp: Glimp, closed: str, code: int) -> None:
    command = shlex.join([*GLIMP, "solve", *glimp.pair(), "--text", QUESTION])
    done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("Traceback")) == (code, 0)
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else ANSWER)


@pytest.mark.process
def test_a_killed_process_leaves_what_it_showed_in_the_save(glimp: Glimp, tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    with started(glimp.endless("--save", saved)) as (process, lines):
        psutil.Process(process.pid).children()[0].kill()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 6
    shown = decode_events([line for line in [*lines, *out.splitlines(keepends=True)] if line.endswith(b"\n")])
    assert read_events(saved)[: len(shown)] == shown


@pytest.mark.process
def test_the_reader_of_a_pipe_may_leave(glimp: Glimp) -> None:
    with started(glimp.endless()) as (process, _):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode != 0
    assert b"Traceback" not in err


@pytest.mark.process
def test_no_connection_is_opened(glimp: Glimp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Python reads this at every start: the process has no sockets.
    blocked = "import socket\n\ndef refuse(*_):\n    raise SystemExit('a socket')\n\nsocket.socket = refuse\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert glimp.solve("--text", QUESTION).out == ANSWER
    missing = glimp("solve", "--text", QUESTION, "--pair", "qwen3-0.6b-4b")
    assert (missing.code, "a socket" in missing.err) == (3, False)


# Help and start.


def test_help_names_the_exit_codes_and_gives_examples(glimp: Glimp) -> None:
    result = glimp("solve", "--help")
    assert result.code == 0
    for text in ("Examples:", "Exit codes:", "--threshold NATS", "130", "GLIMP_PAIR"):
        assert text in result.out


def test_the_commands_are_listed(glimp: Glimp) -> None:
    result = glimp("--help")
    assert (result.code, "Solve one problem" in result.out) == (0, True)
    assert glimp("slove").code == 2


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["solve", "--help"], ["solve", "--threshold", "nan"]])
def test_a_quick_command_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['glimp', *%r]\n"
        "try:\n    from glimp_local.cli import main; main()\nexcept SystemExit: pass\n"
        "print([m for m in ('llama_cpp', 'numpy', 'rich', 'huggingface_hub', 'jinja2', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code % arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_last_line_cut_short_is_left_out_of_a_saved_run(tmp_path: Path) -> None:
    saved = tmp_path / "run.jsonl"
    with EventLog(saved) as log:
        log.write(Text(0, "thought", "whole"))
    with saved.open("ab") as file:
        file.write(b'{"type":"text","ind')
    assert read_events(saved) == [Text(0, "thought", "whole")]


def test_the_summary_says_when_a_model_wrote_nothing(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--threshold", "9", "--answer-by", "small", "--jsonl")
    finished = decode_events(result.out.encode().splitlines())[-1]
    assert isinstance(finished, Finished)
    assert "large wrote nothing" in summary(finished.stats)
