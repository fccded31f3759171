"""`glimp models pull` against a hub of our own, through the real client, with all that goes wrong on a network."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub_server
from tests.support.commands import invoke
from tests.support.hub_server import COMMIT, TOKEN, Content, Hub
from tests.support.pulling import LARGE, REPO, SMALL, command, models, pair

MILLION = 1_000_000


def cache(home: Path, repo: str = REPO) -> Path:
    return home / "hub" / "hub" / f"models--{repo.replace('/', '--')}"


def partials(home: Path, repo: str = REPO) -> list[Path]:
    return sorted((cache(home, repo) / "blobs").glob("*.incomplete"))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    assert first == f"glimp: {SMALL}: 1.5 MB"
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


@pytest.mark.parametrize("status", [404, 503])
def test_a_password_in_the_hub_s_address_is_not_shown(hub: Hub, status: int) -> None:
    hub.statuses = [status] * 9
    result = models("pull", SMALL, HF_ENDPOINT=hub.url.replace("://", "://me:p@hush@"))
    assert result.code == 5
    assert "hush" not in result.err
    result = models("pull", SMALL, HF_ENDPOINT="me:secret@127.0.0.1:9")
    assert (result.code, "secret" in result.err) == (5, False)


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


def test_a_cut_connection_is_taken_up_where_it_was_cut(hub: Hub) -> None:
    size = hub.files[REPO]["tiny-Q4_K_M.gguf"].size_bytes
    hub.cuts = [MILLION, MILLION, 0, 0]
    result = models("pull", LARGE)
    assert result.code == 0, result.err
    assert "the connection was cut at 1.0 MB; going on in" in result.err
    assert hub.sent_bytes == size
    assert hub.ranges[1] == f"bytes={MILLION}-"


def test_a_connection_that_is_cut_again_and_again_ends_with_what_came_kept(hub: Hub, home: Path) -> None:
    hub.cuts = [MILLION] + [0] * 6
    result = models("pull", LARGE)
    assert result.code == 5
    assert "was cut" in result.err
    assert "(1.0 MB of 2.8 MB are here)" in result.err
    assert "the same command goes on from there" in result.err
    assert [path.stat().st_size for path in partials(home)] == [MILLION]
    sent, hub.cuts = hub.sent_bytes, []
    again = models("pull", LARGE)
    assert again.code == 0
    assert f"{LARGE}: going on from 1.0 MB" in again.err
    assert hub.sent_bytes - sent == hub.files[REPO]["tiny-Q4_K_M.gguf"].size_bytes - MILLION


def test_a_server_that_stops_sending_is_not_waited_for(hub: Hub) -> None:
    hub.stalls = [MILLION]
    result = models("pull", LARGE, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert result.code == 0, result.err
    assert hub.ranges == [None, f"bytes={MILLION}-"]


def test_a_server_without_ranges_is_taken_from_the_start(hub: Hub) -> None:
    hub.cuts, hub.has_ranges = [MILLION], False
    result = models("pull", LARGE)
    assert result.code == 0, result.err
    assert hub.ranges == [None, f"bytes={MILLION}-"]
    assert hub.sent_bytes == hub.files[REPO]["tiny-Q4_K_M.gguf"].size_bytes + MILLION


def test_a_range_that_is_refused_is_taken_from_the_start(hub: Hub) -> None:
    hub.cuts, hub.range_status = [MILLION], 416
    assert models("pull", LARGE).code == 0
    assert hub.ranges == [None, f"bytes={MILLION}-", None]


@pytest.mark.parametrize("left", [b"x" * 3 * MILLION, b"x" * MILLION])
def test_what_is_left_of_something_else_does_not_get_into_the_file(hub: Hub, home: Path, left: bytes) -> None:
    content = hub.files[REPO]["tiny-Q4_K_M.gguf"]
    partial = cache(home) / "blobs" / f"{content.sha256}.tiny-Q4_K_M.gguf.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(left)
    codes = [models("pull", LARGE).code for _ in range(2)]
    assert codes == ([0, 0] if len(left) > content.size_bytes else [5, 0])


def test_all_that_came_before_the_process_was_killed_is_only_verified(hub: Hub, home: Path) -> None:
    content = hub.files[REPO]["tiny-Q4_K_M.gguf"]
    partial = cache(home) / "blobs" / f"{content.sha256}.tiny-Q4_K_M.gguf.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"".join(content.pieces(0)))
    assert models("pull", LARGE).code == 0
    assert not hub.sent_bytes


def test_bytes_of_another_hash_are_thrown_away(hub: Hub, home: Path) -> None:
    hub.damaged = True
    result = models("pull", SMALL)
    assert result.code == 5
    assert f"expected {hub.files[REPO]['tiny-Q8_0.gguf'].sha256}" in result.err
    assert not partials(home)
    assert not (cache(home) / "snapshots").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"sha256": "0" * 64}, "SHA-256"), ({"size_bytes": 4}, "2,828,384 bytes, expected 4")],
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


def gated(hub: Hub) -> None:
    hub.gated = True


def private(hub: Hub) -> None:
    hub.token = TOKEN


def busy(hub: Hub) -> None:
    hub.statuses, hub.headers = [429] * 9, {"Retry-After": "900"}


def broken(hub: Hub) -> None:
    hub.statuses = [503] * 9


def rewritten(hub: Hub) -> None:
    del hub.commits[COMMIT]


def forbidden(hub: Hub) -> None:
    hub.statuses = [403]


def unexplained(hub: Hub) -> None:
    hub.statuses = [404]


def astray(hub: Hub) -> None:
    hub.other_url = "http://999.1.1.1"


@pytest.mark.parametrize(
    ("prepare", "name", "environment", "said"),
    [
        (gated, "tiny", {}, (f"{REPO} is gated", f"/{REPO}, then: hf auth login")),
        (gated, "tiny", {"HF_TOKEN": TOKEN}, (f"{REPO} is gated", "with the account of your token")),
        (private, "tiny", {}, (f"the hub has no repository {REPO}, or it is private", "hf auth login")),
        (private, "tiny", {"HF_TOKEN": "hf_old"}, ("does not accept the token (401)", "HF_TOKEN that is set")),
        (forbidden, "tiny", {}, ("(403)", "your token")),
        (None, "maker/nowhere-GGUF:Q8_0", {}, ("the hub has no repository maker/nowhere-GGUF", "check its name")),
        (
            None,
            f"{REPO}/tiny-Q8.gguf",
            {},
            ("has no file tiny-Q8.gguf (did you mean 'tiny-Q8_0.gguf'?)", "tiny-Q4_K_M"),
        ),
        (None, f"{REPO}/h-00001-of-00000.gguf", {}, ("has no file h-00001-of-00000.gguf", "its files")),
        (rewritten, "tiny", {}, (f"{REPO} has no revision {COMMIT}", "pin another one")),
        (busy, "tiny", {}, ("too many requests from here (429)", "try again in 15 min")),
        (unexplained, SMALL, {}, (f"has no such file or repository (404): {SMALL}", "check the name")),
        (astray, SMALL, {}, ("redirects to an invalid address", "HF_ENDPOINT")),
        (None, "tiny", {"HF_TOKEN": "hf_ü"}, ("the token holds characters that no token has", "check HF_TOKEN")),
        (broken, "tiny", {}, ("is in trouble (503", "try again later")),
        (None, "tiny", {"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE")),
        (None, "tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("127.0.0.1:9 cannot be reached", "HTTPS_PROXY")),
        (None, "tiny", {"HF_ENDPOINT": "127.0.0.1:9"}, ("the hub could not be asked", "HF_ENDPOINT")),
        (None, "tiny", {"HTTP_PROXY": "other://x"}, ("the hub could not be asked", "HTTP_PROXY")),
        (None, "tiny", {"HTTP_PROXY": "socks5://127.0.0.1:9"}, ("the hub could not be asked", "HTTP_PROXY")),
        (None, "tiny", {"HTTP_PROXY": "http://127.0.0.1:9"}, ("cannot be reached", "proxies")),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    hub: Hub, prepare: Callable[[Hub], None] | None, name: str, environment: dict[str, str], said: tuple[str, str]
) -> None:
    if prepare is not None:
        prepare(hub)
    result = models("pull", name, **environment)
    assert result.code == 5
    assert "going on in" not in result.err
    message, hint = result.err.split("hint: ")
    assert said[0] in message
    assert said[1] in hint
    assert "hf_" not in result.err.replace("hf_old", "").replace("hf auth", "")
    assert not hub.sent_bytes


def test_trouble_that_passes_is_waited_out(hub: Hub) -> None:
    hub.statuses = [503, 503]
    assert models("pull", SMALL).code == 0


def test_a_token_opens_a_private_repository_and_goes_to_no_other_host(hub: Hub) -> None:
    hub.token = TOKEN
    result = models("pull", "tiny", HF_TOKEN=TOKEN)
    assert result.code == 0, result.err
    assert hub.sent_bytes
    assert not hub.leaked
    assert TOKEN not in result.err + result.out


def test_a_host_that_is_no_hub_is_said_to_be_none(hub: Hub) -> None:
    result = models("pull", SMALL, HF_ENDPOINT=hub.other_url + "/maker/tiny-GGUF/tiny-Q8_0.gguf?")
    assert result.code == 5
    assert "Traceback" not in result.err


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


@pytest.mark.process
@pytest.mark.usefixtures("hub")
def test_a_disk_that_is_full_in_the_middle_keeps_what_came(home: Path) -> None:
    done = subprocess.run(
        command("pull", LARGE),
        # No file can grow beyond this: write() fails as on a full disk, with EFBIG in place of ENOSPC.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MILLION, MILLION)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "the disk is full" in done.stderr
    assert "1.8 MB of tiny-Q4_K_M.gguf are missing" in done.stderr
    assert [path.stat().st_size for path in partials(home)] == [MILLION]
    assert models("pull", LARGE).code == 0


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_download_goes_on_later(hub: Hub, home: Path, number: int, code: int) -> None:
    hub.seconds_a_piece = 0.05
    process = subprocess.Popen(command("pull", LARGE), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: hub.sent_bytes > MILLION)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "interrupted: what came is kept" in err
    assert "Traceback" not in err
    hub.seconds_a_piece = 0
    (kept,) = [path.stat().st_size for path in partials(home)]
    assert kept > MILLION / 2
    assert models("pull", LARGE).code == 0
    assert hub.ranges[-1] == f"bytes={kept}-"


@pytest.mark.process
def test_two_pulls_at_once_download_once(hub: Hub) -> None:
    hub.seconds_a_piece = 0.5
    with subprocess.Popen(command("pull", LARGE), stderr=subprocess.DEVNULL) as first:
        wait_for(lambda: hub.sent_bytes)
        with subprocess.Popen(command("pull", LARGE), stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            assert "another process downloads it; waiting for that" in second.stderr.readline()
            hub.seconds_a_piece = 0
            second.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert hub.sent_bytes == hub.files[REPO]["tiny-Q4_K_M.gguf"].size_bytes


@pytest.fixture(scope="module")
def big() -> Content:
    # The block's length divides no range's beginning: bytes at the wrong place give another hash.
    block = bytes(i * 31 % 251 for i in range(1_000_003))
    return Content(block, 300 * MILLION)


@pytest.mark.process
def test_after_kill_9_only_the_rest_of_300_mb_is_fetched(hub: Hub, home: Path, big: Content) -> None:
    hub.put("maker/big-GGUF", "big.gguf", big)
    hub.seconds_a_piece = 0.0005
    process = subprocess.Popen(command("pull", "maker/big-GGUF/big.gguf"), stderr=subprocess.DEVNULL)
    wait_for(lambda: hub.sent_bytes > 100 * MILLION)
    process.kill()
    process.wait()
    (kept,) = [path.stat().st_size for path in partials(home, "maker/big-GGUF")]
    assert kept > 90 * MILLION
    hub.seconds_a_piece = 0
    time.sleep(0.1)
    hub.sent_bytes = 0
    result = models("pull", "maker/big-GGUF/big.gguf")
    assert result.code == 0, result.err
    assert hub.ranges[-1] == f"bytes={kept}-"
    assert hub.sent_bytes == big.size_bytes - kept
    assert models("verify", "maker/big-GGUF/big.gguf").code == 0
