"""`glimp models rm`: what is taken away, and what stays."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hub_server import Content, Hub
from tests.support.pulling import LARGE, REPO, SMALL, blobs, command, link, listed, models, pair, the_pair


@pytest.mark.usefixtures("hub")
def test_a_removed_pair_leaves_nothing(home: Path) -> None:
    models("pull", "tiny")
    result = models("rm", "tiny", "--yes")
    assert result.code == 0
    assert "23.9 MB are free again" in result.err
    assert not blobs(home).parent.exists()
    assert models("rm", "tiny", "--yes").code == 3
    models("pull", "tiny")
    assert the_pair()["is_here"]


def test_one_file_is_removed_and_the_other_stays(hub: Hub, home: Path) -> None:
    models("pull", "tiny")
    result = models("rm", SMALL, "--yes", "--json")
    assert json.loads(result.out) == {"files": [SMALL], "freed_bytes": 1_641_920}
    assert [file.name for file in blobs(home).iterdir()] == [hub.files[REPO]["tiny-Q4_K_M.gguf"].sha256]
    assert models("verify", LARGE).code == 0


def test_what_is_left_of_a_download_is_removed_too(hub: Hub, home: Path) -> None:
    hub.cuts = [1_000_000] + [0] * 6
    models("pull", LARGE)
    assert "1.0 MB are free again" in models("rm", "tiny", "--yes").err
    assert not blobs(home).parent.exists()


@pytest.mark.usefixtures("hub")
def test_a_blob_that_another_file_links_to_stays(home: Path) -> None:
    models("pull", SMALL)
    other = link(home, "same.gguf", "d" * 40)
    other.parent.mkdir()
    other.symlink_to(link(home).readlink())
    result = models("rm", SMALL, "--yes")
    assert "0 bytes are free again" in result.err
    assert other.stat().st_size == 1_641_920


@pytest.mark.usefixtures("hub")
def test_a_file_outside_the_cache_stays_where_somebody_linked_to_it(home: Path, tmp_path: Path) -> None:
    models("pull", LARGE)
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    link(home).symlink_to(mine)
    assert models("rm", REPO, "--yes").code == 0
    assert mine.exists()
    assert not blobs(home).parent.exists()


@pytest.mark.usefixtures("hub")
def test_a_link_to_nothing_hinders_no_removal(home: Path) -> None:
    models("pull", "tiny")
    link(home).resolve().unlink()
    assert models("rm", "tiny", "--yes").code == 0
    assert not blobs(home).parent.exists()


def stray(home: Path) -> None:
    (blobs(home).parent / "snapshots" / "note.txt").write_text("x")


def dangling(home: Path) -> None:
    link(home, "README.md").symlink_to("../../blobs/" + "0" * 64)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("clutter", [stray, dangling])
def test_clutter_in_the_cache_hides_no_file_and_hinders_no_removal(home: Path, clutter: Callable[[Path], None]) -> None:
    models("pull", "tiny")
    (home / "config" / "glimp" / "models.toml").unlink()
    clutter(home)
    assert {entry["name"] for entry in listed()["others"]} == {SMALL, LARGE}
    assert str(link(home)) in models("verify").out
    assert models("rm", SMALL, "--yes").code == 0
    assert models("rm", REPO, "--yes").code == 0
    assert not blobs(home).parent.exists()


@pytest.mark.process
def test_a_download_that_is_under_way_is_not_removed(hub: Hub, home: Path) -> None:
    models("pull", SMALL)
    hub.seconds_a_piece = 0.5
    with subprocess.Popen(command("pull", LARGE), stderr=subprocess.DEVNULL) as pull:
        while not list(blobs(home).glob("*.incomplete")):
            time.sleep(0.01)
        for name in ("tiny", REPO, LARGE):
            result = models("rm", name, "--yes")
            assert result.code == 1
            assert f"a download of {REPO} is under way in another process" in result.err
            assert "hint: wait for its end" in result.err
        assert link(home).exists()
        hub.seconds_a_piece = 0
    assert pull.returncode == 0
    assert models("rm", "tiny", "--yes").code == 0


def test_what_is_left_of_files_with_names_that_end_alike_is_kept_apart(hub: Hub, home: Path) -> None:
    names = ["model.Q4_K_M.gguf", "a/Q4_K_M.gguf", "b/Q4_K_M.gguf", "ü" * 120 + ".gguf"]
    for i, name in enumerate(names):
        hub.put(REPO, name, Content(b"GGUF%d" % i * 100))
        hub.cuts = [9] + [0] * 6
        assert models("pull", f"{REPO}/{name}").code == 5
    assert models("rm", f"{REPO}/Q4_K_M.gguf", "--yes").code == 3
    for left, name in enumerate(names, 1):
        assert models("rm", f"{REPO}/{name}", "--yes").code == 0
        assert len(list(blobs(home).glob("*"))) == len(names) - left


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_a_link_is_left_to_its_owner(home: Path, tmp_path: Path) -> None:
    models("pull", "tiny")
    blobs(home).parent.rename(tmp_path / "moved")
    blobs(home).parent.symlink_to(tmp_path / "moved")
    result = models("rm", REPO, "--yes")
    assert result.code == 1
    assert f"{blobs(home).parent} is a link, so that nothing was removed" in result.err
    assert f"{tmp_path}/moved, by hand" in result.err
    assert models("verify", "tiny").code == 0


def test_removal_asks_and_says_what_another_pair_uses(hub: Hub, home: Path) -> None:
    (home / "config" / "glimp" / "models.toml").write_text(pair(hub) + pair(hub, "twin"))
    models("pull", "tiny")
    result = models("rm", "tiny", stdin="n\n")
    assert result.code == 1
    assert f"{LARGE} is of twin, too" in result.err
    assert the_pair()["is_here"]
    assert models("rm", "tiny", stdin="y\n").code == 0
    assert not the_pair()["is_here"]


def test_built_in_files_are_never_removed() -> None:
    result = models("rm", "builtin", "--yes")
    assert result.code == 3
    assert "built in: never removed" in result.err
