"""What the Tab key offers: asked of the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glimp_local.bench.datasets import DATA_SETS
from glimp_local.cli.completers import PROBLEMS
from glimp_local.paths import user_file
from glimp_local.records.conversations import folder
from tests.support.commands import Glimp

PAIRS = ["qwen3-0.6b-4b", "qwen3-0.6b-30b-a3b"]


@pytest.fixture(autouse=True)
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a `glimp` on PATH, as pip does."""
    program = tmp_path / "bin" / "glimp"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m glimp_local "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def asked(shell: str, line: str) -> list[str]:
    """Ask as the scripts do: with the words in variables of the environment."""
    words = line.split(" ")
    asks = {
        "COMP_WORDS": line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
        "_GLIMP_COMPLETE": f"{shell}_complete",
    }
    done = subprocess.run(
        ["glimp"],
        env=os.environ | asks,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.rstrip("\n").splitlines()


def run(*command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def in_bash(*words: str) -> list[str]:
    array = " ".join(f"'{word}'" for word in ("glimp", *words))
    return run(
        "bash",
        "--norc",
        "-c",
        'eval "$(glimp completion bash)"; function=$(complete -p glimp | sed "s/.*-F \\([^ ]*\\).*/\\1/"); '
        f'COMP_WORDS=({array}); COMP_CWORD={len(words)}; $function glimp; printf "%s\\n" "${{COMPREPLY[@]}}"',
    )


def in_fish(line: str) -> dict[str, str]:
    lines = run("fish", "--no-config", "-c", f'glimp completion fish | source; complete --do-complete "{line}"')
    return {word: says for word, _, says in (line.partition("\t") for line in lines)}


@pytest.mark.process
def test_bash_completes_commands_pairs_policies_and_conversations() -> None:
    folder().mkdir(parents=True)
    (folder() / "2026-01-02-abc.jsonl").write_text("")
    assert in_bash("so") == ["solve"]
    assert in_bash("solve", "--pair", "qwen3-0") == PAIRS
    assert in_bash("solve", "--policy", "sp") == ["speculative"]
    assert in_bash("chat", "--resume", "20") == ["2026-01-02-abc"]
    for command in ("show", "export", "rm"):
        assert in_bash("sessions", command, "") == ["2026-01-02-abc"]
    assert in_bash("trace", "2") == ["2026-01-02-abc"]
    assert in_bash("config", "show", "qwen3-0") == PAIRS
    assert in_bash("bench", "m") == ["math500"]
    assert "--threshold" in in_bash("solve", "--th")


@pytest.mark.process
def test_behind_a_command_that_is_unknown_nothing_is_offered() -> None:
    assert in_bash("nosuch", "") == [""]
    assert "plan" in in_bash("")


@pytest.mark.process
def test_fish_completes_and_describes_in_full() -> None:
    assert in_fish("glimp se") == {"sessions": "List, show, export and remove saved conversations."}
    pairs = in_fish("glimp solve --pair qwen3-0")
    assert sorted(pairs) == sorted(PAIRS)
    assert pairs["qwen3-0.6b-4b"] == "Qwen3 0.6B and 4B: 3.1 GB, for a laptop"


@pytest.mark.screen
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_zsh_completes_in_a_terminal(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    from benchmarks.terminal import Terminal  # noqa: PLC0415 - not on Windows

    # As in the README: a folder of functions, and compinit.
    (tmp_path / "_glimp").write_text("\n".join(run("glimp", "completion", "zsh")))
    zsh = Terminal(["zsh", "-f", "-i"], env={"PS1": "ready> "})
    try:
        zsh.shows("ready> ")
        zsh.type(f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; echo set''up\r")
        zsh.shows("setup")
        zsh.type("glimp solve --pair qwen3-0.6b-4\t; echo done\r")
        zsh.shows("glimp solve --pair qwen3-0.6b-4b")
    finally:
        zsh.close()


@pytest.mark.process
def test_powershell_is_answered_in_lines_of_three() -> None:
    # pwsh itself is not run here: this is what its script (click's own) asks for and reads.
    lines = asked("powershell", "glimp solve --pair qwen3-0")
    assert [lines[i : i + 2] for i in range(0, len(lines), 3)] == [["plain", pair] for pair in PAIRS]
    assert lines[2] == "Qwen3 0.6B and 4B: 3.1 GB, for a laptop"
    script = "\n".join(run("glimp", "completion", "powershell"))
    assert "Register-ArgumentCompleter -Native -CommandName glimp" in script
    assert "_GLIMP_COMPLETE" in script


@pytest.mark.process
def test_a_pair_of_mine_is_offered_and_a_broken_file_offers_nothing() -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text('[pairs.mine]\nsmall.path = "a"\nlarge.path = "b"\n')
    assert asked("bash", "glimp chat --pair mi") == ["plain,mine"]
    user_file().write_text("[pairs.mine")
    assert asked("bash", "glimp chat --pair mi") == []


@pytest.mark.process
def test_the_file_that_models_names_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[pairs.other]\nsmall.path = "a"\nlarge.path = "b"\n')
    assert asked("bash", f"glimp chat --models {other} --pair ot") == ["plain,other"]
    monkeypatch.setenv("GLIMP_MODELS", str(other))
    assert asked("bash", "glimp chat --pair ot") == ["plain,other"]
    monkeypatch.setenv("GLIMP_MODELS", str(tmp_path / "none.toml"))
    assert asked("bash", "glimp chat --pair ot") == []


@pytest.mark.process
def test_completing_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom glimp_local.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('llama_cpp', 'huggingface_hub', 'textual', 'rich', 'jinja2') if m in sys.modules])"
    )
    for line in ("glimp ", "glimp solve --pair ", "glimp sessions show ", "glimp chat --"):
        asks = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_GLIMP_COMPLETE": "bash_complete"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asks, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", line


def test_the_problems_that_are_offered_are_those_there_are() -> None:
    assert set(PROBLEMS) == {"builtin", *DATA_SETS}


def test_another_shell_is_refused(glimp: Glimp) -> None:
    assert glimp("completion", "csh").code == 2
