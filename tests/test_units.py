"""How sizes, speeds, durations and shares are written."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local import units


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (4_400_000, "4.4 MB"),
        (3_100_000_000, "3.1 GB"),
        (2.5e12, "2.5 TB"),
        (1.2e18, "1.2 EB"),
        (1.2e21, "1,200.0 EB"),
    ],
)
def test_a_file_s_size_counts_in_thousands(size_bytes: float, said: str) -> None:
    assert units.file_size(size_bytes) == said


@pytest.mark.parametrize(
    ("mib", "said"),
    [
        (0, "0 MiB"),
        (18, "18 MiB"),
        (1023.4, "1023 MiB"),
        (1023.6, "1.00 GiB"),
        (1280, "1.25 GiB"),
        (9.994 * 1024, "9.99 GiB"),
        (9.996 * 1024, "10.0 GiB"),
        (14.3 * 1024, "14.3 GiB"),
        (2048 * 1024, "2,048.0 GiB"),
    ],
)
def test_a_size_of_memory_counts_in_powers_of_two(mib: float, said: str) -> None:
    assert units.memory_size(mib * 2**20) == said


@pytest.mark.parametrize(
    ("tokens_per_second", "said"),
    [
        (0, "0.0"),
        (0.04, "0.04"),
        (0.4, "0.4"),
        (9.96, "10.0"),
        (33.61, "33.6"),
        (99.94, "99.9"),
        (99.96, "100"),
        (5725.8, "5,726"),
    ],
)
def test_a_slow_model_s_speed_is_not_rounded_to_nothing(tokens_per_second: float, said: str) -> None:
    assert units.speed_figure(tokens_per_second) == said
    assert units.speed(tokens_per_second) == f"{said} tokens/s"


@pytest.mark.parametrize(
    ("tokens_per_second", "said"), [(0.04, "0.04"), (0.42, "0.4"), (8.21, "8.2"), (9.97, "10"), (33.6, "34")]
)
def test_an_estimated_speed_has_no_figures_that_nobody_knows(tokens_per_second: float, said: str) -> None:
    assert units.rough_speed(tokens_per_second) == f"{said} tokens/s"


@pytest.mark.parametrize(
    ("seconds", "measured", "left"),
    [
        (0, "0 ms", "0 s"),
        (0.003, "3 ms", "0 s"),
        (0.9994, "999 ms", "1 s"),
        (0.9996, "1.0 s", "1 s"),
        (4.36, "4.4 s", "4 s"),
        (59.6, "59.6 s", "1 min"),
        (59.96, "1 min", "1 min"),
        (125.2, "2 min 5 s", "2 min 5 s"),
        (3599.4, "59 min 59 s", "59 min 59 s"),
        (3599.6, "1 h", "1 h"),
        (5 * 3600 + 7 * 60 + 12, "5 h 7 min", "5 h 7 min"),
        (24 * 3600 - 20, "1 day", "1 day"),
        (30 * 3600, "1 day 6 h", "1 day 6 h"),
        (50 * 3600, "2 days 2 h", "2 days 2 h"),
    ],
)
def test_a_duration_comes_in_the_units_that_suit_it(seconds: float, measured: str, left: str) -> None:
    assert units.duration(seconds) == measured
    assert units.time_left(seconds) == left


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (2 * 3600 + 5, "2 h ago"),
        (86400, "1 day ago"),
        (13 * 86400, "1 week ago"),
        (60 * 86400, "2 months ago"),
        (800 * 86400, "2 years ago"),
    ],
)
def test_an_age_comes_in_its_largest_unit(seconds: float, said: str) -> None:
    assert units.ago(seconds) == said


_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400}


@given(st.floats(0, 1e7))
def test_a_duration_in_words_is_close_to_the_one_in_figures(seconds: float) -> None:
    parts = re.findall(r"([\d.]+) ([a-z]+)", units.duration(seconds))
    read = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    assert math.isclose(read, seconds, rel_tol=0.05, abs_tol=0.0006)
    assert all(float(count) < 1000 for count, _ in parts)


@pytest.mark.parametrize(("fraction", "said"), [(0, "0%"), (0.154, "15%"), (1, "100%")])
def test_a_share_is_in_whole_percent(fraction: float, said: str) -> None:
    assert units.share(fraction) == said
