"""A hub that asks to wait, or is slow: the wait is said, and what makes no progress is given up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.support.hub_server import Hub
from tests.support.pulling import LARGE, REPO, SMALL, cache, command, models

SLOW = """
from glimp_local.models.hub import partial
partial.WAITS_SECONDS = (0.01,) * 2
partial.PACE_SECONDS = 0.3
from glimp_local.cli import main
main()
"""


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
    assert "the next try continues from there" in done.stderr
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
