"""Links, folders and pipes where the cache has its files: nothing outside it is written, read or removed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hub_server import COMMIT, Hub
from tests.support.pulling import REPO, SMALL, cache, models


def blob(hub: Hub, home: Path) -> Path:
    return cache(home) / "blobs" / hub.files[REPO]["tiny-Q8_0.gguf"].sha256


def partial_of(hub: Hub, home: Path) -> Path:
    return blob(hub, home).with_name(f"{blob(hub, home).name}.tiny-Q8_0.gguf.incomplete")


def lock_of(hub: Hub, home: Path) -> Path:
    return cache(home).parent / ".locks" / cache(home).name / f"{blob(hub, home).name}.lock"


def ref_of(_hub: Hub, home: Path) -> Path:
    return cache(home) / "refs" / "main"


def cached_of(_hub: Hub, home: Path) -> Path:
    return cache(home) / "snapshots" / COMMIT / "tiny-Q8_0.gguf"


@pytest.mark.parametrize("place", [partial_of, ref_of, lock_of, blob, cached_of])
@pytest.mark.parametrize("kind", ["link", "dangling link", "link to a folder", "hard link"])
def test_a_planted_link_is_replaced_and_its_target_stays(
    hub: Hub, home: Path, place: Callable[[Hub, Path], Path], kind: str
) -> None:
    (home / "config" / "glimp" / "models.toml").unlink()  # no revision: the hub is asked, and refs/main written
    victim = home.parent / "victim"
    victim.write_text("precious")
    path = place(hub, home)
    path.parent.mkdir(parents=True)
    nowhere, folder = victim.with_name("nowhere"), victim.with_name("folder")
    folder.mkdir()
    if kind == "hard link":
        path.hardlink_to(victim)
    else:
        path.symlink_to({"link": victim, "dangling link": nowhere, "link to a folder": folder}[kind])
    result = models("pull", SMALL)
    assert result.code == 0, result.err
    assert victim.read_text() == "precious"
    assert not nowhere.exists()
    assert not list(folder.iterdir())
    assert models("verify", SMALL).code == 0
    assert cached_of(hub, home).resolve() == blob(hub, home)
    assert (cache(home) / "refs" / "main").read_text() == COMMIT


@pytest.mark.parametrize("place", [partial_of, ref_of, lock_of])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_in_the_cache_is_named(
    hub: Hub, home: Path, place: Callable[[Hub, Path], Path], kind: str
) -> None:
    (home / "config" / "glimp" / "models.toml").unlink()
    path = place(hub, home)
    path.parent.mkdir(parents=True)
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    result = models("pull", SMALL)
    if kind == "pipe" and place is not partial_of:
        assert result.code == 0  # a pipe can be replaced, and held
    else:
        assert result.code == 1
        assert f"{path} cannot be written: " in result.err
        assert "hint: remove it" in result.err


@pytest.mark.parametrize("inner", ["blobs", "refs", "snapshots", f"snapshots/{COMMIT}"])
@pytest.mark.parametrize("action", ["pull", "rm"])
def test_a_folder_of_a_repository_that_is_a_link_is_not_written_through_nor_emptied(
    hub: Hub, home: Path, inner: str, action: str
) -> None:
    (home / "config" / "glimp" / "models.toml").unlink()
    folder = home.parent / "folder"
    folder.mkdir()
    names = [blob(hub, home).name, partial_of(hub, home).name, "tiny-Q8_0.gguf", "main"]
    for name in names:
        (folder / name).write_text("precious")
    link = cache(home) / inner
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    result = models("pull", SMALL) if action == "pull" else models("rm", REPO, "--yes")
    assert result.code == 1, result.err
    assert f"{link} is a link" in result.err
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert {path.read_text() for path in folder.iterdir()} == {"precious"}


def test_a_cache_that_is_a_link_as_a_whole_serves(hub: Hub, home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (home / "hub").symlink_to(disk)
    assert models("pull", "tiny").code == 0
    assert models("rm", "tiny", "--yes").code == 0
    assert not re.findall("gguf", str(list(disk.rglob("*"))))
    assert hub.sent_bytes


@pytest.mark.parametrize("kind", ["dangling link", "link"])
def test_a_planted_partial_file_is_listed_as_nothing(hub: Hub, home: Path, kind: str) -> None:
    path = partial_of(hub, home)
    path.parent.mkdir(parents=True)
    (home / "file").write_text("precious")
    path.symlink_to(home / ("file" if kind == "link" else "nowhere"))
    listed = models("list", "--json")
    assert listed.code == 0
    pairs = {pair["name"]: pair for pair in json.loads(listed.out)["pairs"]}
    assert pairs["tiny"]["small"]["here_bytes"] == 0
