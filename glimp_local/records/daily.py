"""What is said once a day: a file for each such thing, whose time is when it was said last."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date

from glimp_local import private
from glimp_local.paths import data_folder


def first_today(what: str) -> bool:
    """Return whether this is asked for the first time today, and remember that it was.

    A day is the calendar's, by this machine's clock: one that was put back makes another day. If it cannot be
    remembered, every time is the first.
    """
    path = data_folder() / "said" / what
    today = date.today()  # noqa: DTZ011 - the day of the person in front of the machine
    with suppress(OSError, ValueError, OverflowError):  # none there, or a time that is none
        if date.fromtimestamp(path.lstat().st_mtime) == today:  # noqa: DTZ012 - the same
            return False
    with suppress(OSError):
        private.make_folder(path.parent)
        private.make_file(path)
        os.utime(path)
    return True
