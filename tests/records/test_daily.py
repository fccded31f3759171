"""What is said once a day."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from glimp_local.paths import data_folder
from glimp_local.records.daily import first_today

DAY = 24 * 60 * 60


def stamp() -> Path:
    return data_folder() / "said" / "offer"


def test_a_day_has_one_first_time_for_each_thing() -> None:
    assert first_today("offer")
    assert not first_today("offer")
    assert first_today("another")


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_another_day_has_a_first_time_and_so_has_a_clock_that_was_put_back(days: int) -> None:
    assert first_today("offer")
    then = time.time() + days * DAY
    os.utime(stamp(), (then, then))
    assert first_today("offer")
    assert not first_today("offer")


def test_a_time_that_is_none_is_no_day() -> None:
    assert first_today("offer")
    os.utime(stamp(), ns=(2**62, 2**62))
    assert first_today("offer")
    assert not first_today("offer")


def test_where_nothing_can_be_kept_every_time_is_the_first(home: Path) -> None:
    (home / "data" / "glimp" / "said").write_text("a file in the place of the folder")
    assert first_today("offer")
    assert first_today("offer")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.touch()
    os.utime(theirs, (0, 0))
    stamp().parent.mkdir(parents=True)
    stamp().symlink_to(theirs)
    os.utime(stamp(), (0, 0), follow_symlinks=False)
    assert first_today("offer")
    assert theirs.stat().st_mtime == 0


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_it_is_nobody_else_s_business() -> None:
    assert first_today("offer")
    assert (stamp().stat().st_mode & 0o777, stamp().parent.stat().st_mode & 0o777) == (0o600, 0o700)
