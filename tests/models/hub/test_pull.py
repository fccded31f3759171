"""`glimp models pull` against a hub of our own, through the real client: what is fetched, and what names a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub_server
from tests.support.commands import invoke
from tests.support.hub_server import COMMIT, TOKEN, Content, Hub
from tests.support.pulling import LARGE, REPO, SMALL, cache, models, pair, partials


def test_a_pulled_pair_solves(hub: Hub) -> None:
    result = models("pull", "tiny")
    assert result.code == 0, result.err
    assert result.err.endswith("next: glimp chat --pair tiny\n")
    assert result.out == ""
    assert not hub.leaked
    story = "Mia has 24 marbles. Mia finds 17 more. How many marbles does Mia have now?"
    solved = invoke("solve", "--pair", "tiny", "--temperature", "0", "--text", story)
    assert "\\boxed{41}" in solved.out, solved.err


def test_the_hub_is_asked_for_the_files_and_for_nothing_else(hub: Hub) -> None:
    assert models("pull", "tiny").code == 0
    assert all(".gguf" in request for request in hub.requests), hub.requests


def test_files_lie_where_the_hub_s_library_finds_them(hub: Hub, home: Path) -> None:
    content = hub.put("maker/one-GGUF", "Q4_0/one.gguf", Content(b"GGUF"))
    assert models("pull", "maker/one-GGUF/Q4_0/one.gguf").code == 0
    folder = cache(home, "maker/one-GGUF")
    link = folder / "snapshots" / COMMIT / "Q4_0" / "one.gguf"
    assert link.is_symlink()
    assert link.resolve() == folder / "blobs" / content.sha256
    assert (folder / "refs" / "main").read_text() == COMMIT
    code = "from huggingface_hub import hf_hub_download as get; print(get('maker/one-GGUF', 'Q4_0/one.gguf'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(link)
    assert not partials(home, "maker/one-GGUF")


def test_what_is_here_is_said_and_not_fetched_anew(hub: Hub) -> None:
    models("pull", "tiny")
    sent, asked = hub.sent_bytes, len(hub.requests)
    again = models("pull", "tiny", "--json")
    assert again.code == 0
    assert f"{SMALL} is here already" in again.err
    assert [file["fetched_bytes"] for file in json.loads(again.out)["files"]] == [0, 0]
    assert (hub.sent_bytes, len(hub.requests)) == (sent, asked)  # pinned: the hub was not asked


def test_what_the_hub_s_own_tool_downloaded_is_not_fetched_anew(hub: Hub) -> None:
    code = f"from huggingface_hub import hf_hub_download as get; get({REPO!r}, 'tiny-Q8_0.gguf')"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "HF_HUB_DISABLE_XET": "1"}, check=True)
    sent = hub.sent_bytes
    result = models("pull", SMALL, "--json")
    assert json.loads(result.out)["files"][0]["fetched_bytes"] == 0
    assert hub.sent_bytes == sent


def test_a_pair_of_paths_needs_no_download(hub: Hub) -> None:
    result = models("pull", "builtin")
    assert result.code == 0
    assert "is here already" in result.err
    assert not hub.requests


def test_outside_a_terminal_a_file_has_a_line_at_its_start_and_one_at_its_end(hub: Hub) -> None:
    first, last = models("pull", SMALL).err.splitlines()[:2]
    assert first == f"glimp: {SMALL}: 1.6 MB"
    assert re.fullmatch(rf"glimp: {re.escape(SMALL)}: all is here, after [\d.]+ m?s", last)
    assert models("pull", LARGE, "-q").err == ""
    assert hub.ranges == [None, None]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (f"{REPO}:Q8_0", "tiny-Q8_0.gguf"),
        (f"{REPO}:q4_k_m", "tiny-Q4_K_M.gguf"),
        (f"{REPO}:Q6_K", "tiny_Q6_K.gguf"),
        (f"{REPO}:q5_k_m", "Q5_K_M/tiny.gguf"),
    ],
)
def test_a_quantisation_names_a_file(hub: Hub, name: str, file: str) -> None:
    hub.put(REPO, "mmproj-Q8_0.gguf", Content(b"a vision tower"))
    hub.put(REPO, "README.md", Content(b"# Q8_0"))
    hub.put(REPO, "tiny_Q6_K.gguf", Content(b"GGUF"))
    hub.put(REPO, "Q5_K_M/tiny.gguf", Content(b"GGUF"))
    result = models("pull", name, "--json")
    assert [found["name"] for found in json.loads(result.out)["files"]] == [f"{REPO}/{file}"]


def test_a_repository_with_one_gguf_needs_no_quantisation(hub: Hub) -> None:
    hub.put("maker/one-GGUF", "only.gguf", Content(b"GGUF"))
    assert models("pull", "maker/one-GGUF").code == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (REPO, f"{REPO} has 2 GGUFs"),
        (f"{REPO}:Q2_K", f"{REPO} has no GGUF of 'Q2_K'"),
        (f"{REPO}:Q4_K", f"{REPO} has no GGUF of 'Q4_K'"),
        (f"{REPO}:K_M", f"{REPO} has no GGUF of 'K_M'"),
        (f"{REPO}:M", f"{REPO} has no GGUF of 'M'"),
    ],
)
def test_a_quantisation_that_is_not_there_leads_to_those_that_are(hub: Hub, name: str, said: str) -> None:
    result = models("pull", name)
    assert result.code == 2
    assert said in result.err
    assert f"hint: name one: {LARGE}, {SMALL}" in result.err
    assert not hub.sent_bytes


@pytest.mark.parametrize(
    "name", ["tinny", "maker/", "maker/x/y", "maker/../x.gguf", "maker/x/../../y.gguf", "/x/y.gguf"]
)
def test_a_name_that_cannot_be_one_is_refused(hub: Hub, name: str) -> None:
    result = models("pull", name)
    assert (result.code, hub.requests) == (2, [])
    assert "hint: " in result.err


@pytest.mark.parametrize(
    "name",
    ["{outside}/x-Q4_0.gguf", "../../../../x-Q4_0.gguf", "a\\..\\x-Q4_0.gguf", "C:/x-Q4_0.gguf", "\x1b[31m-Q4_0.gguf"],
)
def test_a_name_that_leads_out_of_the_cache_or_steers_a_terminal_is_not_taken_from_the_hub(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.put("maker/evil-GGUF", name.format(outside=tmp_path), Content(b"GGUF"))
    result = models("pull", "maker/evil-GGUF:Q4_0")
    assert (result.code, hub.sent_bytes) == (2, 0)
    assert "maker/evil-GGUF has no GGUF file" in result.err
    assert "\x1b" not in result.err
    assert not list(tmp_path.rglob("*Q4_0.gguf*"))


def test_a_name_with_control_characters_is_no_name_of_a_file(hub: Hub) -> None:
    result = models("pull", f"{REPO}/\x1b[31m.gguf")
    assert (result.code, hub.requests) == (2, [])
    assert "is no name of a file in a repository" in result.err


def test_a_split_model_is_pulled_whole(hub: Hub) -> None:
    names = [f"Q4_0/big-Q4_0-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    for i, name in enumerate(names):
        hub.put("maker/big-GGUF", name, Content(b"GGUF" * (i + 1)))
    result = models("pull", "maker/big-GGUF:Q4_0", "--json")
    assert [file["name"] for file in json.loads(result.out)["files"]] == [f"maker/big-GGUF/{name}" for name in names]
    later = models("pull", f"maker/big-GGUF/{names[1]}")
    assert later.code == 3
    assert f"name the first one: {names[0]}" in later.err


def test_a_small_file_outside_lfs_is_verified_by_git_s_hash(hub: Hub) -> None:
    hub.put("maker/small-GGUF", "x.gguf", Content(b"GGUF and little else"))
    hub.git.add("x.gguf")
    assert models("pull", "maker/small-GGUF").code == 0
    hub.put("maker/other-GGUF", "x.gguf", Content(b"GGUF and little more"))
    hub.damaged = True
    assert models("pull", "maker/other-GGUF").code == 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"sha256": "0" * 64}, "SHA-256"), ({"size_bytes": 4}, "22,224,640 bytes, expected 4")],
)
def test_a_hub_that_differs_from_what_is_pinned_is_not_believed(
    hub: Hub, home: Path, changed: dict[str, Any], said: str
) -> None:
    (home / "config" / "glimp" / "models.toml").write_text(pair(hub, **changed))
    result = models("pull", "tiny")
    assert result.code == 5
    assert "the hub has another file than the one that models.toml pins" in result.err
    assert said in result.err
    assert not hub.sent_bytes


def test_a_moved_branch_brings_its_new_file(hub: Hub, home: Path) -> None:
    hub.put("maker/moving-GGUF", "x.gguf", Content(b"GGUF 1"))
    assert models("pull", "maker/moving-GGUF/x.gguf").code == 0
    hub.put("maker/moving-GGUF", "x.gguf", Content(b"GGUF 2"))
    hub.commits |= {"main": "d" * 40, "d" * 40: "d" * 40}
    assert models("pull", "maker/moving-GGUF/x.gguf").code == 0
    folder = cache(home, "maker/moving-GGUF")
    assert (folder / "refs" / "main").read_text() == "d" * 40
    assert (folder / "snapshots" / ("d" * 40) / "x.gguf").read_bytes() == b"GGUF 2"
    assert (folder / "snapshots" / COMMIT / "x.gguf").read_bytes() == b"GGUF 1"


def test_a_token_opens_a_private_repository_and_goes_to_no_other_host(hub: Hub) -> None:
    hub.token = TOKEN
    result = models("pull", "tiny", HF_TOKEN=TOKEN)
    assert result.code == 0, result.err
    assert hub.sent_bytes
    assert not hub.leaked
    assert TOKEN not in result.err + result.out


def test_a_proxy_is_used_as_the_library_uses_it(hub: Hub) -> None:
    with hub_server.proxying() as (proxy, seen):
        result = models("pull", SMALL, HTTP_PROXY=proxy)
        assert result.code == 0, result.err
        assert any(address.startswith(hub.url) for address in seen)
        assert any(address.startswith(hub.other_url) for address in seen)
        seen.clear()
        assert models("pull", LARGE, HTTP_PROXY=proxy, NO_PROXY="127.0.0.1").code == 0
        assert not seen


def test_the_disk_is_looked_at_for_all_files_before_anything_comes(hub: Hub) -> None:
    huge = Content(b"GGUF")
    huge.size_bytes = 10**18
    hub.put("maker/huge-GGUF", "x.gguf", huge)
    result = models("pull", SMALL, "maker/huge-GGUF/x.gguf")
    assert result.code == 5
    assert "1.0 EB are to be downloaded" in result.err
    assert "too little" in result.err
    assert not hub.sent_bytes
