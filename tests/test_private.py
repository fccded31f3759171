"""What glimp keeps for its user is readable by nobody else, and a lock is gone with whoever held it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import Timeout

from glimp_local import private
from glimp_local.cli import cli
from glimp_local.locks import Lock
from glimp_local.paths import data_folder
from glimp_local.records import conversations
from glimp_local.records.entropies import EntropyHistory
from glimp_local.records.session_log import SessionLog
from tests.support.chatting import chatting, played
from tests.support.damaged import converse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a user's data folder is private there by itself")


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes() -> dict[str, int]:
    """Return what is allowed to whom, of the data folder and all that is in it."""
    ours = data_folder()
    return {str(path.relative_to(ours)): path.stat().st_mode & 0o7777 for path in (ours, *ours.rglob("*"))}


def assert_private() -> None:
    for name, mode in modes().items():
        assert mode == (0o700 if (data_folder() / name).is_dir() else 0o600), name


@pytest.mark.usefixtures("umask")
def test_a_folder_and_a_file_are_private_whatever_the_umask(home: Path) -> None:
    home.chmod(0o755)
    (home / "data").mkdir(exist_ok=True)
    (home / "data").chmod(0o755)
    private.make_folder(conversations.folder())
    private.make_file(conversations.folder() / "file")
    lock = Lock(conversations.folder() / "lock")
    lock.acquire()
    assert modes().keys() == {".", "proof.json", "rates.json", "sessions", "sessions/file", "sessions/lock"}
    assert_private()
    lock.release()
    assert ((home / "data").stat().st_mode & 0o777) == 0o755  # not ours


def test_a_disk_that_knows_no_owners_is_written_to_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    private.make_folder(conversations.folder())
    private.make_file(conversations.folder() / "file")
    assert (conversations.folder() / "file").read_bytes() == b""


@played
async def test_all_that_a_chat_writes_is_private_also_in_folders_that_were_not(small: Path, large: Path) -> None:
    for name in ("sessions", "entropies"):
        folder = data_folder() / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    data_folder().chmod(0o755)
    settings: Any = {"policy": "share", "share": 0.5, "keep_caches_gb": 1}
    async with chatting(small, large, **settings) as chat:
        await chat.ask("first")
        assert {Path(name).suffix for name in modes()} == {"", ".jsonl", ".json", ".lock"}
        assert_private()
    assert {Path(name).suffix for name in modes()} == {"", ".jsonl", ".json", ".caches", ".state"}
    assert_private()
    found = conversations.find()
    found.path.chmod(0o644)
    async with chatting(small, large, going_on=found, **settings) as chat:
        await chat.ask("second")
        assert_private()


def test_a_folder_that_others_could_look_into_is_closed_when_it_is_read() -> None:
    path = converse("x")
    path.parent.chmod(0o755)
    assert CliRunner().invoke(cli, ["sessions", "list"]).exit_code == 0
    assert modes()["sessions"] == 0o700


def test_what_a_link_points_to_keeps_its_rights(tmp_path: Path) -> None:
    behind = converse("x").rename(tmp_path / "behind.jsonl")
    behind.chmod(0o644)
    (conversations.folder() / "x.jsonl").symlink_to(behind)
    SessionLog(conversations.find("x")).close()
    assert behind.stat().st_mode & 0o777 == 0o644


# Entropies.


def test_a_full_disk_leaves_the_entropies_as_they_were_and_nothing_half_written(tmp_path: Path) -> None:
    history = EntropyHistory("gguf-1", "gguf-1")
    history.add([1.5])
    code = (
        "import resource, sys; from pathlib import Path; from glimp_local.records.entropies import EntropyHistory\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))\n"
        "EntropyHistory('gguf-1', 'gguf-1').add([0.123456789] * 100)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.gguf"], capture_output=True, text=True, check=True
    )
    assert "could not be stored: [Errno 27] File too large" in done.stderr
    assert history.read() == [1.5]
    assert [path.name for path in history.path.parent.iterdir()] == [history.path.name]


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere"])
def test_entropies_that_are_no_file_are_none(target: str) -> None:
    history = EntropyHistory("gguf-1", "gguf-1")
    private.make_folder(history.path.parent)
    history.path.symlink_to(target)
    assert history.read() == []
    history.add([2.5])
    assert history.read() == [2.5]


# Locks.


@played
async def test_no_lock_stays_behind_a_chat_or_a_command(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
        assert list(conversations.folder().glob("*.lock"))
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        assert not list(conversations.folder().glob("*.lock"))
        await chat.ask("second")
    assert not list(conversations.folder().glob("*.lock"))
    async with chatting(small, large, going_on=conversations.find()):
        assert len(list(conversations.folder().glob("*.lock"))) == 1
    for arguments in (["list"], ["show"], ["export"], ["rm", conversations.find().id, "--yes"]):
        assert CliRunner().invoke(cli, ["sessions", *arguments]).exit_code == 0
        assert not list(conversations.folder().glob("*.lock"))


def test_a_lock_left_by_a_killed_process_holds_nobody_up_and_goes_with_the_next_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import os, signal, sys; from pathlib import Path; from glimp_local.locks import Lock\n"
        "lock = Lock(Path(sys.argv[1])); lock.acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    assert path.exists()
    lock = Lock(path)
    lock.acquire()
    with pytest.raises(Timeout):
        Lock(path).acquire()
    lock.release()
    assert not path.exists()
    lock.release()  # twice does no harm


def test_two_never_hold_a_lock_however_often_its_file_goes_and_comes(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from typing import Any
from filelock import Timeout
from glimp_local.locks import Lock
folder, held = Path(sys.argv[1]), 0
while held < 300:
    lock = Lock(folder / "x.lock")
    try:
        lock.acquire()
    except Timeout:
        continue
    # Nobody else is here: who is would have this file, too.
    os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
    os.unlink(folder / "inside")
    held += 1
    lock.release()
"""
    rivals = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for rival in rivals:
        _, said = rival.communicate(timeout=120)
        assert rival.returncode == 0, said
    assert not (tmp_path / "x.lock").exists()
