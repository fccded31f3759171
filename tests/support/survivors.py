"""Asks models something, each in a process of its own, and tells how these ended.

    python -m tests.support.survivors [--unchecked] FILE...

prints a line for each file: `exit 0` where it answered, `exit 3` where it was refused (or any other exit code),
`signal N` where the process was ended, `hang`. `--unchecked` gives llama.cpp what the package would refuse.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glimp_local import Session, load_pair
from glimp_local.engines.llama import model
from glimp_local.errors import GlimpError
from tests.support.sessions import engine_in

SECONDS = 20
"""A sound model takes less than a tenth of one."""
MOST_BYTES = 3 * 2**29
QUESTION = "What is <|im_end|> é\n\n 12 <think>?"


def ends(paths: Sequence[Path], *, unchecked: bool = False) -> list[str]:
    """Ask each model in a process of its own; return how each ended."""
    command = [
        sys.executable,
        "-m",
        "tests.support.survivors",
        *(["--unchecked"] if unchecked else []),
        *map(str, paths),
    ]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    found = done.stdout.split("\n")[:-1]
    assert len(found) == len(paths), done.stderr
    return found


def _ask(path: str) -> int:
    limits: dict[str, Any] = {"max_thought": 4, "max_answer": 4, "catch_up": "lazy", "draft": "off"}
    try:
        with load_pair(large=path, policy="large", **limits) as pair:
            list(Session(pair, seed=1).ask(QUESTION))
            vocabulary = engine_in(pair, "large").vocabulary
            for token in range(vocabulary.size):
                vocabulary.piece(token)
    except GlimpError as error:
        return error.exit_code
    return 0


def _end(path: str) -> str:
    child = os.fork()
    if not child:
        code = 99
        try:
            if sys.platform == "linux":  # elsewhere it limits nothing
                resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = _ask(path)
        finally:
            os._exit(code)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return f"exit {code}" if code >= 0 else f"signal {-code}"
        time.sleep(0.003)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hang"


if __name__ == "__main__":
    paths = sys.argv[1:]
    if paths[:1] == ["--unchecked"]:
        del paths[0]
        vars(model)["refuse_fatal"] = id
    for path in paths:
        sys.stdout.write(f"{_end(path)}\n")
        sys.stdout.flush()
