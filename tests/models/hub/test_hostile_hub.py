"""`glimp models pull` against a hub that is none, or means harm: one sentence, exit code 5, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.support.hub_server import COMMIT, Hub
from tests.support.pulling import LARGE, REPO, SMALL, command, models

SLOW = """
from glimp_local.models.hub import partial
partial.WAITS_SECONDS = (0.01,) * 2
partial.PACE_SECONDS = 0.3
from glimp_local.cli import main
main()
"""
DEEP = b"[" * 100_000
DOES_NOT = "does not answer as the hub does"


def cache(home: Path) -> Path:
    return home / "hub" / "hub" / "models--maker--tiny-GGUF"


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


# Waiting.


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_hub_asks_for_is_said(hub: Hub, status: int) -> None:
    hub.statuses, hub.headers = [status], {"Retry-After": "1"}
    result = models("pull", SMALL)
    assert result.code == 0
    assert result.err.startswith("glimp: the hub asks to wait 1 s\n")


def test_a_wait_in_the_middle_says_how_much_is_here(hub: Hub) -> None:
    hub.statuses, hub.headers, hub.cuts = [0, 0, 429], {"Retry-After": "1"}, [1_000_000]
    result = models("pull", LARGE)
    assert result.code == 0
    assert "glimp: the hub asks to wait 1 s (1.0 MB of tiny-Q4_K_M.gguf are here)\n" in result.err


def test_quiet_waits_without_a_word(hub: Hub) -> None:
    hub.statuses, hub.headers = [429], {"Retry-After": "1"}
    result = models("pull", SMALL, "-q")
    assert (result.code, result.err) == (0, "")


def test_a_wait_for_a_repository_s_list_is_said(hub: Hub) -> None:
    hub.statuses, hub.headers = [503], {"Retry-After": "1"}
    assert "asks to wait 1 s" in models("pull", f"{REPO}:Q8_0").err


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Retry-After": "301"}, "in 5 min 1 s"),
        ({"Retry-After": "86400"}, "in 1 day"),
        ({"Retry-After": "9" * 400}, "later"),
        ({"Retry-After": "soon"}, "later"),
        ({"Retry-After": "Thu, 99 Foo 99999 99:99:99 GMT"}, "later"),
        pytest.param(
            {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=50), usegmt=True)},
            "in 2 days 2 h",
            id="in fifty hours",  # the workers of a parallel run have to know a test by the same name
        ),
        ({"RateLimit": '"api";r=0;t=1800'}, "in 30 min"),
    ],
    ids=str,
)
def test_for_a_long_wait_it_is_said_when_to_come_back(hub: Hub, headers: dict[str, str], said: str) -> None:
    hub.statuses, hub.headers = [429] * 3, headers
    result = models("pull", SMALL)
    assert result.code == 5
    assert f"try again {said}; a token is allowed more" in result.err
    assert "asks to wait" not in result.err


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    ours, its = pty.openpty()
    yield ours, its
    os.close(ours)
    with suppress(OSError):
        os.close(its)


def test_ctrl_c_ends_a_wait_at_once_and_the_seconds_are_counted_down(hub: Hub, terminal: tuple[int, int]) -> None:
    hub.statuses, hub.headers = [429], {"Retry-After": "59"}
    ours, its = terminal
    with subprocess.Popen(command("pull", SMALL), stderr=its, env={**os.environ, "COLUMNS": "100"}) as process:
        os.close(its)
        drawn = b""
        while len(set(waits := re.findall(rb"waiting: (\d+) s left", drawn))) < 2:
            drawn += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux calls the end an error
            while part := os.read(ours, 65536):
                drawn += part
    assert process.returncode == 130
    assert b"the hub asks to wait 59 s" in drawn
    assert 59 >= int(waits[0]) > int(waits[-1])
    assert b"interrupted: what came is kept" in drawn


# Slowness.


def slowly(name: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", SLOW, "models", "pull", name]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.process
def test_two_bytes_at_a_time_are_given_up_and_kept(hub: Hub, home: Path) -> None:
    hub.trickles = 9
    done = slowly(SMALL)
    assert done.returncode == 5
    assert done.stderr.count("less than 1.0 kB a second came at") == 2
    assert "is too slow: less than 1.0 kB a second came (" in done.stderr
    assert "the same command goes on from there" in done.stderr
    (partial,) = (cache(home) / "blobs").glob("*.incomplete")
    assert 0 < (kept := partial.stat().st_size) <= 300
    hub.trickles = 0
    assert models("pull", SMALL).code == 0
    assert hub.ranges[-1] == f"bytes={kept}-"


@pytest.mark.process
def test_a_connection_that_is_slow_once_is_taken_up_again(hub: Hub) -> None:
    hub.trickles = 1
    done = slowly(SMALL)
    assert done.returncode == 0, done.stderr
    assert "less than 1.0 kB a second came at" in done.stderr


def test_a_few_bytes_from_each_connection_are_no_progress(hub: Hub) -> None:
    hub.cuts = [500] * 50
    result = models("pull", SMALL)
    assert result.code == 5
    assert result.err.count("the connection was cut at") == 5


@pytest.mark.process
def test_a_list_that_comes_two_bytes_at_a_time_is_given_up(hub: Hub) -> None:
    hub.trickles = 1
    done = slowly(f"{REPO}:Q8_0")
    assert done.returncode == 5
    assert "is too slow" in done.stderr


# Links in the cache.


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
