"""`glimp models verify`: whether a file is what it should be, and how it is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import invoke
from tests.support.hub_server import COMMIT, Content, Hub
from tests.support.pulling import BUILTIN, SMALL, link, listed, models, the_pair


def test_what_is_whole_is_verified(hub: Hub) -> None:
    hub.put("maker/other-GGUF", "x.gguf", Content(b"GGUF"))
    models("pull", "tiny", "maker/other-GGUF/x.gguf")
    result = models("verify", "--json")
    files = {Path(file["path"]).name: file for file in json.loads(result.out)["files"]}
    assert result.code == 0
    assert {name: (file["status"], file["told_by"]) for name, file in files.items()} == {
        "small.gguf": ("ok", "models.toml"),
        "large.gguf": ("ok", "models.toml"),
        "tiny-Q8_0.gguf": ("ok", "models.toml"),
        "tiny-Q4_K_M.gguf": ("ok", "models.toml"),
        "x.gguf": ("ok", "cache"),
    }


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("damage", ["a byte", "cut"])
def test_a_damaged_file_is_found_and_mended_by_the_command_in_the_hint(home: Path, damage: str) -> None:
    models("pull", "tiny")
    content = bytearray(link(home).read_bytes())
    content[777] ^= 1
    link(home).resolve().write_bytes(content if damage == "a byte" else content[:-1])
    result = models("verify", "tiny")
    assert result.code == 1
    assert result.out.startswith("wrong hash" if damage == "a byte" else "wrong size")
    mend = f"glimp models rm {SMALL} --yes && glimp models pull {SMALL}"
    assert f"hint: {mend}" in result.err
    for step in mend.split(" && "):
        assert models(*step.split()[2:]).code == 0
    assert models("verify", "tiny").code == 0


def test_a_file_in_a_cache_without_links_is_asked_for_at_the_hub(hub: Hub, home: Path) -> None:
    hub.put("maker/other-GGUF", "x.gguf", Content(b"GGUF"))
    environment = {"HF_HUB_DISABLE_SYMLINKS": "1"}
    assert models("pull", "maker/other-GGUF/x.gguf", **environment).code == 0
    path = home / "hub" / "hub" / "models--maker--other-GGUF" / "snapshots" / COMMIT / "x.gguf"
    assert not path.is_symlink()
    again = models("pull", "maker/other-GGUF/x.gguf", "--json", **environment)
    assert json.loads(again.out)["files"][0]["fetched_bytes"] == 0
    result = models("verify", "maker/other-GGUF/x.gguf", "--json")
    assert json.loads(result.out)["files"][0]["told_by"] == "hub"
    assert models("verify", "maker/other-GGUF/x.gguf", HF_HUB_OFFLINE="1").code == 5
    assert models("rm", "maker/other-GGUF", "--yes").code == 0
    assert not path.exists()


def test_a_file_nobody_told_anything_of_is_unknown_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes((BUILTIN / "small.gguf").read_bytes())
    result = models("verify", tmp_path / "x.gguf")
    assert result.code == 0
    assert result.out == f"unknown     {tmp_path}/x.gguf: nobody has told what it should be\n"


def test_a_built_in_file_by_its_path_is_held_against_what_is_pinned() -> None:
    assert models("verify", BUILTIN / "small.gguf").out.startswith("ok ")


@pytest.mark.usefixtures("hub")
def test_a_model_that_is_not_here_cannot_be_verified() -> None:
    result = models("verify", "tiny")
    assert result.code == 3
    assert f"hint: glimp models pull {SMALL}" in result.err


@pytest.mark.usefixtures("hub")
def test_a_gguf_of_which_only_a_link_is_left_is_told_and_mended_by_the_command_in_the_hint(home: Path) -> None:
    models("pull", SMALL)
    link(home).resolve().unlink()
    (home / "config" / "glimp" / "models.toml").unlink()
    assert [(entry["name"], entry["state"]) for entry in listed()["others"]] == [(SMALL, "missing")]
    result = models("verify")
    assert result.code == 1
    assert f"missing     {link(home)}: a link to nothing" in result.out
    mend = f"glimp models rm {SMALL} --yes && glimp models pull {SMALL}"
    assert f"hint: {mend}" in result.err
    for step in mend.split(" && "):
        assert models(*step.split()[2:]).code == 0
    assert models("verify").code == 0


@pytest.mark.usefixtures("hub")
def test_a_damaged_file_of_the_cache_named_by_its_path_is_mended_by_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("pull", SMALL)
    link(home).resolve().write_bytes(b"GGUF")
    monkeypatch.chdir(link(home).parent)
    for path in (link(home), link(home).name):
        result = models("verify", path)
        assert (result.code, result.err) == (1, f"hint: glimp models rm {SMALL} --yes && glimp models pull {SMALL}\n")


@pytest.mark.usefixtures("hub")
def test_a_pair_that_names_a_later_file_hinders_no_check_of_the_others(home: Path) -> None:
    models("pull", "tiny")
    with (home / "config" / "glimp" / "models.toml").open("a") as file:
        file.write('[pairs.a]\npolicy = "large"\n[pairs.a.large]\nrepo = "a/b"\nfile = "x-00002-of-00003.gguf"\n')
    result = models("verify")
    assert result.code == 1
    assert f"ok          {link(home)}" in result.out
    assert "x-00002-of-00003.gguf is number 2 of 3 files\nhint: name the first one" in result.err


@pytest.mark.usefixtures("hub")
def test_a_file_that_is_cut_short_is_damaged_and_pulled_anew(home: Path) -> None:
    assert models("pull", "tiny").code == 0
    blob = link(home).resolve()
    whole = blob.read_bytes()
    blob.write_bytes(whole[:100_000])
    found = the_pair()
    assert (found["small"]["state"], found["is_here"]) == ("damaged", False)
    solve = invoke("solve", "--pair", "tiny", "--text", "?")
    assert solve.code == 3
    assert f"{link(home)} is damaged: it has 100,000 bytes, not {len(whole):,}" in solve.err
    assert "hint: glimp models pull tiny" in solve.err
    assert models("pull", "tiny").code == 0
    assert blob.read_bytes() == whole
    assert the_pair()["is_here"]


def test_a_gguf_that_nobody_knows_and_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes((BUILTIN / "small.gguf").read_bytes()[:100_000])
    result = models("verify", path)
    assert (result.code, result.out.split()[0]) == (1, "damaged")
    result = models("verify", "nowhere.gguf")
    assert (result.code, "nowhere.gguf: no such file" in result.err) == (3, True)
