"""Sizes, speeds, durations and shares in words: the one place that says how they are rounded and which unit they get.

Knows nothing of what is measured. Figures that a program reads (`--json`, CSV) are numbers with the unit in their name,
and tables of a bench round as their intervals need it; everything else that a person reads comes from here.

Two kinds of bytes are distinguished, as everywhere else in the field: what lies on a disk or is downloaded counts in
thousands (GB, as the hub, a file manager and a download's progress do), memory in powers of two (GiB, as llama.cpp,
graphics cards and free memory do).
"""

from __future__ import annotations

_FILE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_KILO = 1000
_MIB, _GIB = 2**20, 2**30
_FINE_GIB = 10
"""Below, a hundredth of a GiB may decide whether a model fits."""
_FINE_SPEED = 100
_ROUGH_SPEED = 10
_SLOW_SPEED = 0.1
_MINUTE, _HOUR, _DAY = 60, 60 * 60, 24 * 60 * 60
_AGES = (
    (365 * _DAY, "year"),
    (30 * _DAY, "month"),
    (7 * _DAY, "week"),
    (_DAY, "day"),
    (_HOUR, "h"),
    (_MINUTE, "min"),
)


def file_size(size_bytes: float) -> str:
    """Return the size of a file, a download or the space on a disk: "512 bytes", "4.4 MB", "3.1 GB"."""
    if round(size_bytes) < _KILO:
        return f"{size_bytes:.0f} byte{'' if round(size_bytes) == 1 else 's'}"
    scaled = float(size_bytes)
    for unit in _FILE_UNITS:
        scaled /= _KILO
        if round(scaled, 1) < _KILO or unit == _FILE_UNITS[-1]:
            break
    return f"{scaled:,.1f} {unit}"


def memory_size(size_bytes: float) -> str:
    """Return a size of memory: "18 MiB", "1.25 GiB", "14.3 GiB"."""
    if round(size_bytes / _MIB) < _GIB // _MIB:
        return f"{size_bytes / _MIB:.0f} MiB"
    gib = size_bytes / _GIB
    return f"{gib:,.{2 if round(gib, 2) < _FINE_GIB else 1}f} GiB"


def speed_figure(tokens_per_second: float) -> str:
    """Return a speed without its unit, for a table: "0.04", "0.4", "33.6", "5,726"."""
    if 0 < tokens_per_second < _SLOW_SPEED:
        return f"{tokens_per_second:.2f}"
    return f"{tokens_per_second:,.{1 if round(tokens_per_second, 1) < _FINE_SPEED else 0}f}"


def speed(tokens_per_second: float) -> str:
    """Return a speed: "0.4 tokens/s", "33.6 tokens/s", "5,726 tokens/s"."""
    return f"{speed_figure(tokens_per_second)} tokens/s"


def rough_speed(tokens_per_second: float) -> str:
    """Return a speed that was estimated, without figures nobody can know: "0.4 tokens/s", "34 tokens/s"."""
    if round(tokens_per_second, 1) < _ROUGH_SPEED:
        return speed(tokens_per_second)
    return f"{tokens_per_second:,.0f} tokens/s"


def duration(seconds: float) -> str:
    """Return a time that was measured: "3 ms", "4.3 s", "2 min 5 s", "5 h 7 min"."""
    if round(1000 * seconds) < 1000:  # noqa: PLR2004 - milliseconds
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if round(seconds, 1) < _MINUTE else _long(round(seconds))


def time_left(seconds: float) -> str:
    """Return a time that is still to come, which nobody knows to the millisecond: "4 s", "1 min 30 s", "5 h 7 min"."""
    return f"{seconds:.0f} s" if round(seconds) < _MINUTE else _long(round(seconds))


def ago(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: "just now", "5 min ago", "2 h ago", "3 weeks ago"."""
    for unit, name in _AGES:
        if seconds >= unit:
            count = int(seconds // unit)
            plural = "s" if count > 1 and unit >= _DAY else ""
            return f"{count} {name}{plural} ago"
    return "just now"


def share(fraction: float) -> str:
    """Return a part of a whole in whole percent: "15%"."""
    return f"{fraction:.0%}"


def _long(seconds: int) -> str:
    """Return a minute or more in its two largest units."""
    if seconds < _HOUR:
        return _two(seconds, _MINUTE, "min", 1, "s")
    if round(seconds / _MINUTE) < _DAY // _MINUTE:
        return _two(seconds, _HOUR, "h", _MINUTE, "min")
    return _two(seconds, _DAY, "day" if seconds < 2 * _DAY else "days", _HOUR, "h")


def _two(seconds: int, unit: int, name: str, part: int, part_name: str) -> str:
    whole, rest = divmod(round(seconds / part), unit // part)
    return f"{whole} {name} {rest} {part_name}" if rest else f"{whole} {name}"
