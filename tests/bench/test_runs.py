from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glimp_local.bench.runs import FILE, Header, Look, Looks, RunLog
from glimp_local.errors import GlimpError, UsageError
from tests.support.benching import made_up

HEADER = Header({"pair": "one", "seed": 1}, (0.5, 1.5), 0.3)


def log_of(folder: Path, header: Header = HEADER) -> RunLog:
    return RunLog(folder / "bench", header)


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    run, looks = made_up("a", "large", correct=True), Looks("a", 0, (Look(0.1, True),))
    with log_of(tmp_path) as log:
        log.add(run)
        log.add(looks)
    with log_of(tmp_path, Header({"pair": "one", "seed": 1}, (), 0.9)) as log:
        assert list(log) == [run, looks]
        assert log.run("a", "large", 0) == run
        assert log.looks("a", 0) == looks
        assert log.run("a", "large", 1) is log.run("a", "small", 0) is None
        assert log.looks("b", 0) is None
        assert log.header == HEADER  # the entropies that `share` began with stay those of the first call
        log.add(made_up("b", "large", correct=False))
    assert len((tmp_path / "bench" / FILE).read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_line_cut_short_by_a_kill_is_done_again(tmp_path: Path, cut: int) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
        log.add(made_up("b", "large", correct=True))
    file = tmp_path / "bench" / FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with log_of(tmp_path) as log:
        assert [record.problem for record in log] == ["a"]
        log.add(made_up("b", "large", correct=True))
    assert file.read_bytes() == whole


def test_a_first_line_cut_short_begins_anew(tmp_path: Path) -> None:
    log_of(tmp_path).close()
    file = tmp_path / "bench" / FILE
    whole = file.read_bytes()
    for content in (b"", whole[:20], whole[:-1]):
        file.write_bytes(content)
        log_of(tmp_path).close()
        assert file.read_bytes() == whole


def test_before_the_first_run_any_settings_will_do(tmp_path: Path) -> None:
    log_of(tmp_path).close()
    other = Header({"pair": "one", "seed": 2}, (0.7,), 0.3)
    with log_of(tmp_path, other) as log:
        log.add(made_up("a", "large", correct=True))
    with log_of(tmp_path, other) as log:
        assert log.header == other


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
    file = tmp_path / "bench" / FILE
    file.write_bytes(file.read_bytes().replace(b'"version":1', b'"version":9', 1))
    with pytest.raises(UsageError, match="of version 9, and this glimp reads version 1"):
        log_of(tmp_path)


def test_runs_of_other_settings_are_refused_and_kept(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
    before = (tmp_path / "bench" / FILE).read_bytes()
    with pytest.raises(UsageError, match="another seed: 1, not 2") as raised:
        log_of(tmp_path, Header({"pair": "one", "seed": 2}, (), 0.3))
    assert "--output" in str(raised.value.hint)
    assert (tmp_path / "bench" / FILE).read_bytes() == before


def test_runs_from_before_there_were_choices_are_continued(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
    with log_of(tmp_path, Header({**HEADER.settings, "instruction for choices": "The letter!"}, (), 0.3)) as log:
        assert len(list(log)) == 1


def test_runs_of_an_earlier_glimp_are_not_said_to_be_of_another_file(tmp_path: Path) -> None:
    settings = {"pair": "one", "small file": "1" * 64, "large file": "2" * 64, "seed": 1}
    with log_of(tmp_path, Header(settings, (), 0.3)) as log:
        log.add(made_up("a", "large", correct=True))
    now = {**settings, "small file": "gguf-3", "large file": "gguf-4"}
    with pytest.raises(UsageError, match="by an earlier glimp, which told model files apart in another way") as raised:
        log_of(tmp_path, Header(now, (), 0.3))
    assert "--output" in str(raised.value.hint)
    with pytest.raises(UsageError, match="another small file: '1111"):
        log_of(tmp_path, Header({**now, "seed": 2}, (), 0.3))
    with log_of(tmp_path / "new", Header(now, (), 0.3)) as log:
        log.add(made_up("a", "large", correct=True))
    with pytest.raises(UsageError, match="another small file: 'gguf-3', not 'gguf-5'"):
        log_of(tmp_path / "new", Header({**now, "small file": "gguf-5"}, (), 0.3))


@pytest.mark.parametrize("content", [b"notes of mine\n", b'{"type":"started"}\n', b"\xff\xfe\n", b"notes, no end"])
def test_a_file_that_holds_something_else_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bench" / FILE
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(UsageError, match="does not hold the runs of a bench"):
        log_of(tmp_path)
    assert file.read_bytes() == content


@pytest.mark.parametrize("damage", [b"\xff", b"[" * 100_000 + b"\n"], ids=["no text", "nested"])
def test_runs_that_are_damaged_are_said_and_kept(tmp_path: Path, damage: bytes) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
    file = tmp_path / "bench" / FILE
    head, run = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(head + run.replace(b'"question":"', b'"question":"' + damage))
    if damage.startswith(b"["):
        file.write_bytes(head + run.replace(b'"type":"run"', b'"type":"run","more":' + damage.strip()))
    before = file.read_bytes()
    with pytest.raises(UsageError, match="does not hold the runs of a bench"):
        log_of(tmp_path)
    assert file.read_bytes() == before


def test_a_folder_of_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    mine = tmp_path / "bench" / "report.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        log_of(tmp_path)
    assert [path.name for path in mine.parent.iterdir() if path.name != ".lock"] == ["report.md"]
    with pytest.raises(UsageError, match=r"report\.md cannot be written: File exists"):
        RunLog(mine, HEADER)


def test_two_benches_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with log_of(tmp_path):
        code = (
            "import sys; from pathlib import Path; from glimp_local.bench.runs import Header, RunLog\n"
            "RunLog(Path(sys.argv[1]), Header({}, (), 0.3))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "bench"], capture_output=True, text=True, check=False
        )
        assert "another bench is writing" in done.stderr
    log_of(tmp_path).close()  # and afterwards it is free again


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_said_and_the_file_stays_whole(tmp_path: Path) -> None:
    with log_of(tmp_path) as log:
        log.add(made_up("a", "large", correct=True))
        whole = log.path.read_bytes()
        real, log._file = log._file, os.fdopen(os.open("/dev/full", os.O_RDWR), "r+b", buffering=0)
        with pytest.raises(GlimpError, match="No space left"):
            log.add(made_up("b", "large", correct=True))
        log._file.close()
        log._file = real
        assert log.run("b", "large", 0) is None
        log.add(made_up("c", "large", correct=True))
    assert log.path.read_bytes().startswith(whole)
    with log_of(tmp_path) as log:
        assert [record.problem for record in log] == ["a", "c"]
