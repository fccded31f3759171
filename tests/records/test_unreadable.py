"""What is no conversation at all: it is passed over, said and removed by its name, and no other one suffers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from glimp_local.cli import cli
from glimp_local.errors import UsageError
from glimp_local.records import conversations, saved
from tests.support.damaged import HEADER, converse, glimp, turn_lines, write

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_hole(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (make_pipe, "it is a pipe or a device, and no file"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "circle": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "it is a pipe or a device, and no file"),
    "terminal": (lambda path: path.symlink_to("/dev/tty"), "it is a pipe or a device, and no file"),
    "memory": (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
    "empty": (lambda path: path.touch(), "it holds no line of a conversation"),
    "text": (lambda path: path.write_text("Dear diary\n" * 100_000), "line 1: JSON is malformed"),
    "huge": (lambda path: make_hole(path, 2 << 30), "it is larger than"),
    "long": (lambda path: make_hole(path, 40 << 20), "line 1: it is longer than"),
    "header": (lambda path: path.write_bytes(HEADER + b"?\n"), "line 2: JSON is malformed"),
    "cut": (lambda path: path.write_bytes(HEADER[:20]), "it holds no line of a conversation"),
}


@POSIX
@pytest.mark.parametrize("name", SPECIAL)
def test_whatever_else_is_in_the_folder_is_passed_over_said_and_removed(name: str) -> None:
    healthy = converse("healthy")
    os.utime(healthy, (1, 1))
    path = conversations.folder() / f"{name}-file.jsonl"
    make, reason = SPECIAL[name]
    if name in {"terminal", "memory"} and sys.platform != "linux":
        pytest.skip("there is no such device")
    make(path)
    whole_id = path.stem
    listed = glimp("sessions", "list", "--json")
    rows = {row["id"]: row for row in map(json.loads, listed.stdout.splitlines())}
    assert (rows["healthy"]["damage"], rows["healthy"]["turns"]) == (None, 3)
    assert reason in rows[whole_id]["damage"]
    assert f"glimp: 1 conversation cannot be restored: {whole_id}, {reason}" in glimp("sessions", "list").stderr
    shown = glimp("sessions", "show")
    assert "Question 2" in shown.stdout
    assert f"1 conversation cannot be restored: {whole_id}" in shown.stderr
    assert "a chat needs a terminal" in (going_on := glimp("chat", "--continue", code=2).stderr)
    assert f"1 conversation cannot be restored: {whole_id}" in going_on
    for command in (["sessions", "show"], ["sessions", "export"], ["chat", "--resume"]):
        assert f"{whole_id} cannot be restored: {reason}" in glimp(*command, whole_id, code=2).stderr
    glimp("trace", whole_id, code=2)
    refused = glimp("sessions", "rm", name, "--yes", code=2).stderr
    assert f"hint: name it in full to remove it: glimp sessions rm {whole_id}" in refused
    if name == "folder":
        assert "is a folder\nhint: glimp removes none" in glimp("sessions", "rm", whole_id, "--yes", code=2).stderr
        return
    asked = glimp("sessions", "rm", whole_id, typed="n\n").output
    assert f"remove {whole_id} (cannot be restored: {reason}" in asked
    assert os.path.lexists(path)
    glimp("sessions", "rm", whole_id, "--yes")
    assert [each.name for each in conversations.folder().iterdir()] == ["healthy.jsonl"]


@POSIX
def test_a_link_is_removed_and_not_the_file_behind_it(tmp_path: Path) -> None:
    behind = converse("elsewhere").rename(tmp_path / "elsewhere.jsonl")
    link = conversations.folder() / "link.jsonl"
    link.symlink_to(behind)
    (conversations.folder() / "link.caches").symlink_to(tmp_path)
    assert conversations.find("link").title == "Question 0: how many?"
    glimp("sessions", "rm", "link", "--yes")
    assert list(conversations.folder().iterdir()) == []
    assert behind.is_file()


@pytest.mark.process
@POSIX
def test_a_file_that_may_not_be_read_is_said() -> None:
    code = """
import os, sys, tempfile
from click.testing import CliRunner
from glimp_local.records import conversations
from glimp_local.cli import cli
from tests.support.damaged import converse
if os.geteuid() == 0:
    os.setuid(65534)  # root may read everything
with tempfile.TemporaryDirectory() as folder:
    os.environ["XDG_DATA_HOME"] = folder
    converse("healthy")
    converse("secret").chmod(0)
    print(CliRunner().invoke(cli, ["sessions", "list"]).output)
    print(conversations.find().id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert "glimp: 1 conversation cannot be restored: secret, Permission denied" in done.stdout
    assert done.stdout.splitlines()[-1] == "healthy"


def test_where_nothing_can_be_restored_continue_says_so() -> None:
    write("damaged", b"?\n")
    assert "1 conversation cannot be restored: damaged, line 1: " in glimp("chat", "--continue", code=2).stderr
    assert "hint: to remove one: glimp sessions rm ID" in glimp("sessions", "show", code=2).stderr


def test_a_folder_that_is_none_is_said_and_completes_to_nothing() -> None:
    conversations.folder().write_text("")
    assert "sessions: Not a directory" in glimp("sessions", "list", code=1).stderr
    with pytest.raises(NotADirectoryError):
        conversations.ids()
    asks = {"COMP_WORDS": "glimp chat --resume ", "COMP_CWORD": "3", "_GLIMP_COMPLETE": "bash_complete"}
    assert CliRunner().invoke(cli, prog_name="glimp", env=asks).output.strip() == ""


@POSIX
def test_names_that_are_no_text_or_steer_a_terminal_are_not_offered_and_do_no_harm() -> None:
    healthy = converse("healthy")
    for name in (b"\xff\xfe.jsonl", b"\x1b[31mred.jsonl", b"two\nlines.jsonl"):
        (conversations.folder() / os.fsdecode(name)).write_bytes(healthy.read_bytes() + b"?\n")
    asks = {"COMP_WORDS": "glimp chat --resume ", "COMP_CWORD": "3", "_GLIMP_COMPLETE": "bash_complete"}
    assert CliRunner().invoke(cli, prog_name="glimp", env=asks).output == "plain,healthy\n"
    assert len([json.loads(row) for row in glimp("sessions", "list", "--json").stdout.splitlines()]) == 4
    said = glimp("sessions", "list").stderr
    assert "␛[31mred" in said
    assert said.count("\n") == 1


def test_an_id_that_begins_another_is_found_by_its_whole() -> None:
    converse("one")
    converse("one-more")
    assert conversations.find("one").id == "one"
    with pytest.raises(UsageError, match="2 saved conversations have 'on' in their ids: "):
        conversations.find("on")


def test_the_last_one_is_continued_though_it_is_damaged_and_that_is_said() -> None:
    os.utime(converse("older"), (1, 1))
    lines = turn_lines(1)
    lines[2] = b"?\n"
    write("last", HEADER, *turn_lines(0), *lines)
    said = glimp("chat", "--continue", code=2).stderr
    assert "glimp: 1 conversation is damaged: last, 1 of 2 turns restored (line 16: JSON is malformed" in said


def test_each_is_listed_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    converse("one")

    def scan() -> Iterator[saved.SavedSession]:
        yield saved.read(conversations.folder() / "one.jsonl")
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(conversations, "scan", scan)
    assert "Question 0: how many?" in glimp("sessions", "list", code=1).stdout


def test_an_empty_id_names_none() -> None:
    path = converse("one")
    for command in (["sessions", "rm", "", "--yes"], ["sessions", "show", ""], ["chat", "--resume", ""]):
        assert "an empty id names no conversation" in glimp(*command, code=2).stderr
    assert path.exists()


def test_without_asking_only_what_is_named_in_full_is_removed() -> None:
    path = converse("one")
    said = glimp("sessions", "rm", "on", "--yes", code=2).stderr
    assert "'on' is a part of an id, and nobody is asked whether it is the right one" in said
    assert "hint: name it in full to remove it: glimp sessions rm one" in said
    assert path.exists()
    glimp("sessions", "rm", "on", typed="y\n")
    assert not path.exists()


def test_a_file_of_a_time_that_no_calendar_knows_is_read() -> None:
    path = write("mine", *turn_lines(0))
    os.utime(path, (1 << 40, 1 << 40))  # some disks keep it, and some the last time that they know
    assert saved.read(path).created[:4].isdigit()
