"""The tests' own `glimp`: here a command does what it does in a process of its own, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glimp_local.models.hub import cache
from tests.support.commands import GLIMP, QUESTION, Glimp, invoke


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["slove"],
        ["solve", "--text", QUESTION, "--pair", "nosuch"],
        ["solve", "--text", QUESTION, "--small", "{tiny}/small.gguf", "--policy", "small", "-q", "--temperature", "0"],
        ["solve", "--small", "{tiny}/none.gguf", "--large", "{tiny}/large.gguf"],
        ["models", "list", "--paths"],
        ["models", "rm", "builtin"],
        ["config", "path", "--json"],
        ["plan", "builtin", "--ram", "8", "--vram", "0"],
        ["bench", "builtin", "--policy", "random"],
    ],
    ids=" ".join,
)
def test_a_command_ends_here_as_in_a_process_of_its_own(tiny: Path, arguments: list[str]) -> None:
    arguments = [argument.format(tiny=tiny) for argument in arguments]
    apart, here = Glimp(tiny, apart=True), Glimp(tiny)
    assert here(*arguments, stdin=QUESTION.encode()) == apart(*arguments, stdin=QUESTION.encode())


def test_a_command_has_its_own_environment_and_leaves_this_one_as_it_was(glimp: Glimp, tmp_path: Path) -> None:
    before = dict(os.environ), sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), cache.root()
    told = invoke("config", "path", HF_HOME=str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere" / "hub") in told.out
    assert glimp.solve("--text", QUESTION).code == 0
    after = dict(os.environ), sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), cache.root()
    assert after == before


def test_a_process_that_no_mark_tells_of_is_refused() -> None:
    with pytest.raises(AssertionError, match="is to be marked `process`"):
        subprocess.run([*GLIMP, "--version"], check=True)
