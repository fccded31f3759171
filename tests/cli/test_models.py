"""`glimp models list`, and what its commands have in common: no needless connection, help, names, settings."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import packaged_file
from tests.support.hub_server import COMMIT, Content, Hub
from tests.support.pulling import BUILTIN, LARGE, REPO, SMALL, command, link, listed, models, pair, the_pair

_NO_SOCKETS = """
import socket
def refuse(*_, **__):
    raise AssertionError("a connection is opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def test_the_built_in_files_are_those_that_are_pinned() -> None:
    pair = load_catalogue(packaged_file()).pairs["builtin"]
    for source, file in ((pair.small, BUILTIN / "small.gguf"), (pair.large, BUILTIN / "large.gguf")):
        assert source is not None
        content = file.read_bytes()
        assert (source.size_bytes, source.sha256) == (len(content), sha256(content).hexdigest())


def test_a_pair_is_missing_then_there_in_part_then_here(hub: Hub, home: Path) -> None:
    found = the_pair()
    assert (found["small"]["state"], found["is_here"], found["shares_vocabulary"]) == ("missing", False, None)
    assert found["size_bytes"] == 23_866_560
    hub.cuts = [1_000_000] + [0] * 6
    models("pull", LARGE)
    models("pull", SMALL)
    found = the_pair()
    assert (found["small"]["state"], found["large"]["state"]) == ("cached", "partial")
    assert (found["large"]["here_bytes"], found["large"]["size_bytes"]) == (1_000_000, 22_224_640)
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


def test_names_in_the_cache_are_what_they_are_in_a_pipe_and_may_end_in_capitals(home: Path) -> None:
    path = home / "hub" / "hub" / "models--a--b" / "snapshots" / COMMIT / "x\x1b[31m\x9b.GGUF"
    path.parent.mkdir(parents=True)
    path.symlink_to("../../blobs/" + "0" * 64)
    for arguments in (["list", "--paths"], ["list", "--json"], ["verify"], ["verify", "--json"]):
        result = models(*arguments)
        assert ("\\u001b[31m\x9b.GGUF" if "--json" in arguments else "\x1b[31m\x9b.GGUF") in result.out
        assert not {"\x1b", "\x9b"} & set(result.err)


@pytest.mark.usefixtures("hub")
def test_a_file_in_place_of_a_folder_of_the_cache_is_said(home: Path) -> None:
    (home / "hub" / "hub").mkdir(parents=True)
    (home / "hub" / "hub" / ".locks").write_text("")
    result = models("pull", SMALL)
    assert result.code == 1
    assert ".locks/models--maker--tiny-GGUF cannot be made" in result.err
    assert "hint: " in result.err


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
    assert "/22.2 MB" in text
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
