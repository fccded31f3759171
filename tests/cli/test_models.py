"""`glimp models list`, `verify` and `rm`: what is here, whether it is what it should be, and taking it away."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import packaged_file
from tests.support.commands import invoke
from tests.support.hub_server import COMMIT, Content, Hub
from tests.support.pulling import BUILTIN, LARGE, REPO, SMALL, command, models, pair

_NO_SOCKETS = """
import socket
def refuse(*_, **__):
    raise AssertionError("a connection is opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def listed(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    result = models("list", "--json", *arguments, **environment)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def the_pair(name: str = "tiny") -> dict[str, Any]:
    (found,) = [pair for pair in listed()["pairs"] if pair["name"] == name]
    return dict(found)


def blobs(home: Path) -> Path:
    return home / "hub" / "hub" / "models--maker--tiny-GGUF" / "blobs"


def link(home: Path, file: str = "tiny-Q8_0.gguf", commit: str = COMMIT) -> Path:
    return blobs(home).parent / "snapshots" / commit / file


def test_the_built_in_files_are_those_that_are_pinned() -> None:
    pair = load_catalogue(packaged_file()).pairs["builtin"]
    for source, file in ((pair.small, BUILTIN / "small.gguf"), (pair.large, BUILTIN / "large.gguf")):
        assert source is not None
        content = file.read_bytes()
        assert (source.size_bytes, source.sha256) == (len(content), sha256(content).hexdigest())


def test_a_pair_is_missing_then_there_in_part_then_here(hub: Hub, home: Path) -> None:
    found = the_pair()
    assert (found["small"]["state"], found["is_here"], found["shares_vocabulary"]) == ("missing", False, None)
    assert found["size_bytes"] == 4_359_328
    hub.cuts = [1_000_000] + [0] * 6
    models("pull", LARGE)
    models("pull", SMALL)
    found = the_pair()
    assert (found["small"]["state"], found["large"]["state"]) == ("cached", "partial")
    assert (found["large"]["here_bytes"], found["large"]["size_bytes"]) == (1_000_000, 2_828_384)
    hub.cuts = []
    models("pull", "tiny")
    found = the_pair()
    assert (found["is_here"], found["shares_vocabulary"], found["licence"]) == (True, True, "MIT")
    assert found["large"]["path"] == str(link(home, "tiny-Q4_K_M.gguf"))


def test_the_list_says_whose_a_pair_is_and_which_is_the_default(hub: Hub, home: Path) -> None:
    (home / "config" / "glimp" / "models.toml").write_text(
        f'default = "tiny"\n{pair(hub)}[pairs."qwen3-0.6b-4b"]\nthreshold = 2\n'
    )
    pairs = {pair["name"]: pair for pair in listed()["pairs"]}
    assert {name: pairs[name]["origin"] for name in ("builtin", "qwen3-0.6b-4b", "tiny")} == {
        "builtin": "packaged",
        "qwen3-0.6b-4b": "changed",
        "tiny": "yours",
    }
    assert [name for name, pair in pairs.items() if pair["is_default"]] == ["tiny"]
    assert pairs["builtin"]["small"]["state"] == "built in"
    lines = models("list").out.splitlines()
    assert any(line.startswith("* tiny") and "of your models.toml" in line for line in lines)


@pytest.mark.usefixtures("hub")
def test_the_list_says_where_two_models_share_no_vocabulary(home: Path, tiny: Path) -> None:
    text = f'[pairs.p.small]\npath = "{tiny}/small.gguf"\n[pairs.p.large]\npath = "{tiny}/other-vocabulary.gguf"\n'
    (home / "config" / "glimp" / "models.toml").write_text(text)
    found = the_pair("p")
    assert (found["shares_vocabulary"], found["small"]["state"]) == (False, "at a path")
    assert "two vocabularies" in models("list").out


def test_ggufs_that_no_pair_names_are_listed_with_their_paths(hub: Hub, home: Path) -> None:
    for name in ("x-00001-of-00002.gguf", "x-00002-of-00002.gguf"):
        hub.put("maker/other-GGUF", name, Content(name.encode()))
    hub.put("maker/cut-GGUF", "cut.gguf", Content(b"GGUF" * 100))
    models("pull", "maker/other-GGUF/x-00001-of-00002.gguf")
    models("pull", "tiny")
    hub.cuts = [99] + [0] * 6
    models("pull", "maker/cut-GGUF/cut.gguf")
    whole, cut = sorted(listed()["others"], key=lambda entry: bool(entry["state"] == "partial"))
    assert (whole["name"], whole["size_bytes"]) == ("maker/other-GGUF/x-00001-of-00002.gguf", 42)
    assert (cut["name"], cut["state"], cut["here_bytes"]) == ("maker/cut-GGUF", "partial", 99)
    text = models("list", "--paths").out
    assert whole["path"] in text
    assert str(link(home)) in text


@pytest.mark.usefixtures("hub")
def test_a_pair_that_names_a_later_file_of_a_split_model_hides_no_other(home: Path) -> None:
    keys = 'repo = "a/b"\nfile = "x-00002-of-00003.gguf"\n'
    text = f'[pairs.p.small]\n{keys}[pairs.p.large]\npath = "x-00002-of-00003.gguf"\n'
    (home / "config" / "glimp" / "models.toml").write_text(text)
    found = the_pair("p")
    assert (found["small"]["state"], found["large"]["state"]) == ("missing", "missing")


def test_the_list_makes_no_folder(home: Path) -> None:
    models("list")
    assert not (home / "hub").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--json"], ["verify"], ["rm", REPO, "--yes"], ["pull", "tiny"]]
)
def test_no_connection_is_opened_where_none_is_needed(hub: Hub, arguments: list[str]) -> None:
    models("pull", "tiny")
    asked = len(hub.requests)
    run = command(*arguments)
    run[2] = _NO_SOCKETS + run[2]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == asked


@pytest.mark.process
@pytest.mark.usefixtures("hub")
def test_the_block_on_connections_works() -> None:
    run = command("pull", SMALL)
    run[2] = _NO_SOCKETS + run[2]
    assert "a connection is opened" in subprocess.run(run, capture_output=True, text=True, check=False).stderr


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
def test_a_removed_pair_leaves_nothing(home: Path) -> None:
    models("pull", "tiny")
    result = models("rm", "tiny", "--yes")
    assert result.code == 0
    assert "4.4 MB are free again" in result.err
    assert not blobs(home).parent.exists()
    assert models("rm", "tiny", "--yes").code == 3
    models("pull", "tiny")
    assert the_pair()["is_here"]


def test_one_file_is_removed_and_the_other_stays(hub: Hub, home: Path) -> None:
    models("pull", "tiny")
    result = models("rm", SMALL, "--yes", "--json")
    assert json.loads(result.out) == {"files": [SMALL], "freed_bytes": 1_530_944}
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
    assert other.stat().st_size == 1_530_944


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


def test_names_in_the_cache_are_what_they_are_in_a_pipe_and_may_end_in_capitals(home: Path) -> None:
    path = home / "hub" / "hub" / "models--a--b" / "snapshots" / COMMIT / "x\x1b[31m\x9b.GGUF"
    path.parent.mkdir(parents=True)
    path.symlink_to("../../blobs/" + "0" * 64)
    for arguments in (["list", "--paths"], ["list", "--json"], ["verify"], ["verify", "--json"]):
        result = models(*arguments)
        assert ("\\u001b[31m\x9b.GGUF" if "--json" in arguments else "\x1b[31m\x9b.GGUF") in result.out
        assert not {"\x1b", "\x9b"} & set(result.err)


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
def test_a_file_in_place_of_a_folder_of_the_cache_is_said(home: Path) -> None:
    (home / "hub" / "hub").mkdir(parents=True)
    (home / "hub" / "hub" / ".locks").write_text("")
    result = models("pull", SMALL)
    assert result.code == 1
    assert ".locks/models--maker--tiny-GGUF cannot be made" in result.err
    assert "hint: " in result.err


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


@pytest.mark.process
def test_on_a_terminal_a_bar_shows_bytes_rate_and_time_left(hub: Hub) -> None:
    hub.seconds_a_piece = 0.02
    control, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm-256color"}
    process = subprocess.Popen(command("pull", LARGE), stderr=terminal, stdin=terminal, env=environment)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(control, 4096):
            shown += piece
    except OSError:
        pass  # Linux's way to say that the other end is closed
    assert process.wait() == 0
    text = shown.decode()
    assert "tiny-Q4_K_M.gguf" in text
    assert "/2.8 MB" in text
    assert "MB/s" in text
    assert "0:00:0" in text


def test_the_help_of_each_command_has_examples_and_exit_codes() -> None:
    for name in ("list", "pull", "verify", "rm"):
        text = models(name, "--help").out
        assert "Examples:" in text
        assert "Exit codes:" in text


@pytest.mark.process
def test_help_loads_no_library_of_the_hub() -> None:
    code = "import sys; from glimp_local.cli import main\ntry: main()\nfinally: print('huggingface_hub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", "pull", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("False\n")


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


def test_a_name_that_is_no_pair_says_how_a_model_is_named() -> None:
    result = models("pull", "nosuch")
    assert result.code == 2
    assert "there is no pair 'nosuch'" in result.err
    assert "a model on the hub is MAKER/NAME/FILE.gguf or MAKER/NAME:QUANT" in result.err


@pytest.mark.process
@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("name", "value"), [("HF_HUB_DOWNLOAD_TIMEOUT", "abc"), ("HF_ENDPOINT", "http://[::1")])
@pytest.mark.parametrize(
    "arguments",
    ["models list", f"models pull {SMALL}", f"models verify {SMALL}", "plan tiny", "config path", "solve --text ?"],
)
def test_a_setting_of_the_hub_s_library_that_cannot_be_read_is_named(arguments: str, name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "glimp_local", *arguments.split()],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"glimp: huggingface-hub cannot read {name}")
