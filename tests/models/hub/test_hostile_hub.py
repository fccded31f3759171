"""`glimp models pull` against a hub that is none, or means harm: one sentence, exit code 5, and nothing lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.support.hub_server import COMMIT, Hub
from tests.support.pulling import REPO, SMALL, cache, command, models

DEEP = b"[" * 100_000
DOES_NOT = "does not answer as the hub does"


def written(home: Path) -> list[Path]:
    return [path for path in (home / "hub").rglob("*") if path.is_file() and ".locks" not in path.parts]


# Lists of files that are none.


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"null",
        b"7",
        b'"siblings"',
        b"[]",
        b'[{"rfilename": "a.gguf"}]',
        b"{}",
        b'{"siblings": null}',
        b'{"siblings": "a.gguf"}',
        b'{"siblings": {"rfilename": "a.gguf"}}',
        b'{"siblings": ["a.gguf"]}',
        b'{"siblings": [{}]}',
        b'{"siblings": [{"rfilename": 7}]}',
        b'{"siblings": [{"rfilename": ["a.gguf"]}]}',
        b'{"siblings": [{"rfilename": "a.gguf"}',
        b'{"siblings": [{"rfilename": "\xff.gguf"}]}',
        b"<html>Log in to the network of this hotel</html>",
        pytest.param(DEEP, id="deep"),
        pytest.param(DEEP + b"]" * 100_000, id="deep and closed"),
        pytest.param(b'{"siblings": [], "x": ' + DEEP + b"]" * 100_000 + b"}", id="deep in a key nobody asks for"),
    ],
)
def test_a_list_of_files_that_is_none_is_an_error(hub: Hub, home: Path, listing: bytes) -> None:
    hub.listing = listing
    result = models("pull", f"{REPO}:Q8_0", "--json")
    assert (result.code, result.out) == (5, "")
    assert DOES_NOT in result.err
    assert "hint: is HF_ENDPOINT right? name the file" in result.err
    assert "already" not in result.err
    assert not written(home)


def packed(size_bytes: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    parts = [packer.compress(b'{"siblings": [], "x": "')]
    parts += [packer.compress(b"x" * 1_000_000) for _ in range(size_bytes // 1_000_000)]
    return b"".join([*parts, packer.compress(b'"}'), packer.flush()])


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_packed_list_of_300_mb_is_not_unpacked(hub: Hub) -> None:
    hub.listing, hub.listing_encoding = packed(300_000_000), "gzip"
    assert len(hub.listing) < 2_000_000
    program = (
        "import atexit, sys\n"
        "from glimp_local.cli import main\n"
        "status = open('/proc/self/status')\n"
        "atexit.register(lambda: sys.stderr.write(status.read()))\n"
        f"sys.argv[1:] = ['models', 'pull', '{REPO}:Q8_0']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "answers with more than 16.0 MB in place of a list of files" in done.stderr
    # Not `ru_maxrss`: that begins with the memory of the process that was forked.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert int(peak) < 200_000


def test_a_packed_list_of_a_sane_size_is_read(hub: Hub) -> None:
    hub.listing = zlib.compress(json.dumps({"siblings": [{"rfilename": "tiny-Q8_0.gguf"}]}).encode(), wbits=31)
    hub.listing_encoding = "gzip"
    assert models("pull", REPO).code == 0


def test_bytes_that_are_not_packed_as_they_say_are_an_error(hub: Hub) -> None:
    hub.listing, hub.listing_encoding = b"no gzip", "gzip"
    result = models("pull", REPO)
    assert (result.code, "hint: " in result.err) == (5, True)


@pytest.mark.parametrize("name", ["x" * 300 + ".gguf", "/".join(["x" * 200] * 20) + ".gguf", "a\ud800.gguf"])
def test_a_name_that_no_disk_holds_is_left_out(hub: Hub, name: str) -> None:
    hub.listing = json.dumps({"siblings": [{"rfilename": name}]}).encode()
    result = models("pull", REPO)
    assert result.code in {2, 5}
    assert f"{REPO} has no GGUF file" in result.err or DOES_NOT in result.err


def test_of_ten_thousand_names_a_few_are_shown(hub: Hub) -> None:
    hub.listing = json.dumps({"siblings": [{"rfilename": f"{i:05}.gguf"} for i in range(10_000)]}).encode()
    result = models("pull", REPO)
    assert result.code == 2
    assert "00019.gguf and 9,980 more" in result.err
    assert len(result.err) < 2000


@pytest.mark.parametrize("body", [b"[1]", b"null", DEEP, b'{"errors": [1]}', b'{"error": {}}', b"\xff\x1b[31m"])
@pytest.mark.parametrize("name", [f"{REPO}:Q8_0", SMALL])
def test_what_a_refusal_says_does_not_matter(hub: Hub, name: str, body: bytes) -> None:
    hub.statuses, hub.body = [404 if ":" in name else 0, 404], body
    result = models("pull", name)
    assert result.code == 5
    assert "(404)" in result.err
    assert "\x1b" not in result.err


def test_a_refusal_of_300_mb_is_not_unpacked(hub: Hub) -> None:
    hub.statuses, hub.body, hub.headers = [404], packed(300_000_000), {"Content-Encoding": "gzip"}
    assert models("pull", f"{REPO}:Q8_0").code == 5


@pytest.mark.process
def test_a_warning_of_the_hub_does_not_steer_the_terminal(hub: Hub) -> None:
    hub.told = {"X-HF-Warning": "topic; \x9b31m" + "x" * 5000}
    # The library keeps the stderr it was imported with.
    result = subprocess.run(command("pull", SMALL), capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "xxx" in result.stderr
    assert "\x9b" not in result.stderr
    assert max(map(len, result.stderr.splitlines())) < 500


# Files that are told of wrongly.


@pytest.mark.parametrize(
    "told",
    [
        *({"X-Linked-Size": size} for size in ("0", "-5", "9" * 30, "1e9", "0x10", "many", "", None)),
        *({"X-Linked-Etag": f'"{etag}"'} for etag in ("", "../../x", "g" * 64, "a" * 63, "a" * 65, "A" * 64)),
        {"X-Linked-Etag": None},
        *({"X-Repo-Commit": commit} for commit in ("", "main", "../..", "c" * 39, None)),
        {"X-Linked-Size": None, "X-Linked-Etag": None, "X-Repo-Commit": None},
    ],
    ids=str,
)
def test_a_size_a_hash_or_a_commit_that_is_none_is_an_error(hub: Hub, home: Path, told: dict[str, str | None]) -> None:
    hub.told = told
    result = models("pull", SMALL, "--json")
    assert (result.code, result.out) == (5, "")
    assert DOES_NOT in result.err or "no model has as many" in result.err
    assert "hint: is HF_ENDPOINT right?" in result.err
    assert "already" not in result.err
    assert not written(home)
    assert not hub.sent_bytes


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc",
        "ftp://127.0.0.1",
        "javascript:0",
        "http://[::1",
        "http://",
        "",
        "http://127.0.0.1:99999",
        "\x9b31m",
        ".",
    ],
)
def test_a_redirect_that_leads_nowhere_is_an_error(hub: Hub, home: Path, address: str) -> None:
    hub.other_url = address
    result = models("pull", SMALL)
    assert result.code == 5, result.err
    assert "hint: " in result.err
    assert "\x9b" not in result.err
    assert not [path for path in written(home) if path.stat().st_size]


def test_redirects_in_a_circle_are_an_error(hub: Hub) -> None:
    hub.statuses, hub.headers = [307] * 60, {"Location": f"{hub.url}/{REPO}/resolve/{COMMIT}/tiny-Q8_0.gguf"}
    result = models("pull", SMALL)
    assert (result.code, "hint: " in result.err) == (5, True)


def test_all_that_an_earlier_try_left_is_not_here_before_it_is_verified(hub: Hub, home: Path) -> None:
    content = hub.files[REPO]["tiny-Q8_0.gguf"]
    partial = cache(home) / "blobs" / f"{content.sha256}.tiny-Q8_0.gguf.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(content.size_bytes))
    result = models("pull", SMALL)
    assert (result.code, "already" in result.err) == (5, False)


@pytest.mark.parametrize("revision", ["../../../x", "/etc", "a\\b", ""])
def test_a_revision_that_leads_out_of_the_cache_is_refused(hub: Hub, home: Path, revision: str) -> None:
    (home / "config" / "glimp" / "models.toml").write_text(
        "".join(
            f'[pairs.x.{model}]\nrepo = "{REPO}"\nfile = "tiny-Q8_0.gguf"\nrevision = {json.dumps(revision)}\n'
            for model in ("small", "large")
        )
    )
    hub.commits[revision] = COMMIT
    result = models("pull", "x")
    assert (result.code, hub.requests != []) == ((0, True) if not revision else (2, False))
