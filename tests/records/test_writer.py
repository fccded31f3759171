"""Lines as they come to the disk, and what becomes of them if it is full."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from glimp_local.events import Notice, encode
from glimp_local.records.event_log import EventLog
from glimp_local.records.writer import LineWriter
from tests.support.benching import made_up

LINES = [encode(Notice(str(number) * 30)) + b"\n" for number in range(4)]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")


def write_limited(code: str, path: Path) -> str:
    """Run code in which files of more than 100 bytes are full until `room()` is called; a write is cut short there."""
    before = """
import os, resource, sys
from contextlib import nullcontext
from pathlib import Path
from glimp_local.events import Notice
from glimp_local.records.writer import LineWriter
path, notices = Path(sys.argv[1]), [Notice(str(number) * 30) for number in range(4)]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def room(): resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
"""
    done = subprocess.run([sys.executable, "-c", before + code, path], capture_output=True, text=True, check=True)
    return done.stdout


@POSIX
def test_a_line_that_a_full_disk_cuts_short_is_whole_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    out = write_limited(
        """
with path.open("wb", buffering=0) as file:
    writer = LineWriter(lambda: nullcontext(file))
    for number, notice in enumerate(notices):
        if number == 3:
            print(path.stat().st_size)
            room()
        writer.write(notice)
        print(writer.error and writer.error.strerror)
""",
        path,
    )
    assert out.split("\n") == ["None", "File too large", "File too large", "100", "None", ""]
    assert path.read_bytes() == b"".join(LINES)


@POSIX
def test_a_line_that_is_dropped_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_limited(
        """
with path.open("wb", buffering=0) as file:
    writer = LineWriter(lambda: nullcontext(file))
    writer.write(notices[0])
    writer.write(notices[1])
    assert path.stat().st_size == 100
    writer.drop()
    room()
    writer.write(notices[2])
""",
        path,
    )
    assert path.read_bytes() == LINES[0] + LINES[2]


@POSIX
def test_a_bench_whose_disk_was_full_in_mid_line_has_whole_lines_afterwards(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(encode(made_up("a", "large", correct=True)))
    code = """
import msgspec
from glimp_local.bench.runs import Header, Run, RunLog
from glimp_local.errors import GlimpError
run = msgspec.json.decode(path.with_name("run.json").read_bytes(), type=Run)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
with RunLog(path, Header({}, (), 0.3)) as log:
    try:
        log.add(run)
    except GlimpError as error:
        print(log.path.stat().st_size, error)
    room()
    log.add(run)
with RunLog(path, Header({}, (), 0.3)) as log:
    print(len(list(log)))
"""
    out = write_limited(code, tmp_path / "bench")
    assert out.startswith("200 ")
    assert "cannot be written: File too large" in out
    assert out.endswith("\n1\n")


@POSIX
def test_a_saved_run_is_complete_if_there_is_room_before_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    out = write_limited(
        """
from glimp_local.records.event_log import EventLog
with EventLog(path) as log:
    for notice in notices:
        log.write(notice)
    print(log.error.strerror)
    room()
print(log.error)
""",
        path,
    )
    assert out == "File too large\nNone\n"
    assert path.read_bytes() == b"".join(LINES)


def test_what_another_program_has_written_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with EventLog(path) as log:
        log.write(Notice("0" * 30))
        with path.open("ab") as file:
            file.write(b"mine\n")
        log.write(Notice("1" * 30))
        assert log.error is not None
        assert "another program has changed the file" in str(log.error.strerror)
    assert path.read_bytes() == LINES[0] + b"mine\n"


@POSIX
def test_a_full_pipe_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    line = encode(Notice("x" * 1_000_000)) + b"\n"
    with ThreadPoolExecutor(1) as pool, os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", 0) as file:
        writer = LineWriter(lambda: nullcontext(file))
        written = pool.submit(writer.write, Notice("x" * 1_000_000))
        assert reader.read(len(line)) == line
        written.result()
    assert writer.error is None
