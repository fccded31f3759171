"""The slow line of the benchmarks: as late as it is told, and gone afterwards; and the table that it fills."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import network, remote
from benchmarks.network import Line
from benchmarks.remote_runs import Run
from benchmarks.setup import MissingError
from tests.conftest import BUILTIN

_GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    try:
        with network.line(0.02) as made:
            yield made
    except MissingError as error:
        pytest.skip(str(error))


def test_connecting_takes_one_round_trip(line: Line) -> None:
    assert 0.02 <= line.round_trip_seconds() < 0.035


def test_a_server_at_the_far_end_is_reached_from_the_near_one(line: Line) -> None:
    with remote.serving(line.far, BUILTIN / "small.gguf") as url:
        near = subprocess.run(
            line.near.command(sys.executable, "-c", _GET, f"{url}/health"), capture_output=True, text=True, check=True
        )
        assert near.stdout.strip() == '{"status":"ok"}'


def test_a_line_is_gone_afterwards(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 77)  # which names the ends
    with network.line(0.001) as other:
        assert {other.near.name, other.far.name} <= _namespaces()
    assert not {other.near.name, other.far.name} & _namespaces()
    assert line.near.name in _namespaces()


def _namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {name.split()[0] for name in listed.splitlines()}


def test_without_root_it_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="takes Linux, root"), network.line(0.001):
        pass


def test_the_table_compares_each_arm_with_the_large_model_alone() -> None:
    runs = {
        "large alone": [Run(2.0, 10, "a"), Run(4.0, 12, "b")],
        "routed": [Run(1.0, 1, "a"), Run(2.0, 2, "b")],
        "routed, reading ahead": [Run(0.5, 1, "a"), Run(1.0, 2, "other")],
    }
    drawn = remote.rows("a pair", 0.01, 0.0104, runs)
    assert drawn == [
        ["a pair", "10 ms", "10.4 ms", "large alone", "3.00", "1.000 (1.000-1.000)", "11.0 a run", ""],
        ["a pair", "10 ms", "10.4 ms", "routed", "1.50", "0.500 (0.500-0.500)", "1.5 a run", "2 of 2"],
        ["a pair", "10 ms", "10.4 ms", "routed, reading ahead", "0.750", "0.250 (0.250-0.250)", "1.5 a run", "1 of 2"],
    ]
