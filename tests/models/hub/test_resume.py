"""A download that is cut, stalled, interrupted or damaged: what came is kept, and only the rest is fetched."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hub_server import Content, Hub
from tests.support.pulling import LARGE, REPO, SMALL, cache, command, models, partials

MILLION = 1_000_000


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    assert "(1.0 MB of 22.2 MB are here)" in result.err
    assert "the next try continues from there" in result.err
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
    assert "21.2 MB of tiny-Q4_K_M.gguf are missing" in done.stderr
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
