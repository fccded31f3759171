"""Input that never ends, or is far too large: read up to a limit, and refused with the next thing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import pytest

from glimp_local.errors import UsageError
from glimp_local.inputs import read_limited
from tests.support.commands import GLIMP, QUESTION, Glimp, invoke


def test_what_is_within_the_limit_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    assert read_limited(file, 3_000_000, "file") == file.read_bytes()
    assert read_limited(BytesIO(b"x" * 3_000_000), 3_000_000, "stream") == file.read_bytes()


@pytest.mark.parametrize("is_file", [True, False])
def test_one_byte_more_is_refused(tmp_path: Path, is_file: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_001)
    with pytest.raises(UsageError, match=r"^it is larger than 3\.0 MB, the most that is read(\n|$)"):
        read_limited(file if is_file else BytesIO(file.read_bytes()), 3_000_000, "it")


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.truncate(10**12)  # no disk holds it: reading it would take minutes
    with pytest.raises(UsageError, match="larger than"):
        read_limited(file, 10**11, "it")


class Endless(BytesIO):
    """Writes no end, and counts."""

    given = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0
        self.given += size
        return b"y" * size


def test_no_more_than_the_limit_and_a_byte_is_taken_of_a_stream() -> None:
    stream = Endless()
    with pytest.raises(UsageError):
        read_limited(stream, 5_000_000, "it")
    assert stream.given == 5_000_001


ENDLESS = Path("/dev/zero")


@pytest.mark.skipif(not ENDLESS.exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", ENDLESS], ("/dev/zero is larger than 16.8 MB", "give the problem alone")),
        (["solve", "-"], ("stdin is larger than 16.8 MB", "give the problem alone")),
        (["solve", "--models", ENDLESS, "--text", QUESTION], ("/dev/zero is larger than 1.0 MB", "name another one")),
        (["models", "list", "--models", ENDLESS], ("/dev/zero is larger than 1.0 MB", "name another one")),
        (["solve", "--chat-template", ENDLESS, "--text", QUESTION], ("larger than 1.0 MB", "name a Jinja file")),
        (["bench", ENDLESS, "-o", "{folder}"], ("/dev/zero is larger than 100.0 MB", "head -n 1000")),
        (["calibrate", ENDLESS], ("/dev/zero is larger than 100.0 MB", "head -n 1000")),
        (["trace", ENDLESS], ("/dev/zero is larger than 500.0 MB", "is it a file of runs?")),
        (["trace", "-"], ("stdin is larger than 500.0 MB", "is it a file of runs?")),
    ],
)
def test_a_command_ends_with_a_hint(tmp_path: Path, arguments: list[str | Path], said: tuple[str, str]) -> None:
    with ENDLESS.open("rb") as stdin:
        done = invoke(*(str(argument).format(folder=tmp_path / "bench") for argument in arguments), stdin=stdin)
    assert done.code == 2, done.err
    message, hint = done.err.split("hint: ")
    assert said[0] in message
    assert said[1] in hint
    assert done.out == ""


@pytest.mark.process
def test_a_pipe_that_somebody_fills_for_ever_is_left(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(pipe)!r}, 'wb')\nwhile True: f.write(b'y' * 65536)"],
        stderr=subprocess.DEVNULL,
    ) as writer:
        done = subprocess.run([*GLIMP, "solve", pipe], capture_output=True, text=True, timeout=60, check=False)
        assert writer.wait(timeout=30)  # nobody reads any more
    assert done.returncode == 2
    assert f"{pipe} is larger than 16.8 MB" in done.stderr


def test_a_problem_still_comes_through_a_pipe_with_a_name(glimp: Glimp, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(QUESTION,))
    writer.start()
    result = glimp.solve(pipe)
    writer.join()
    assert result.code == 0
