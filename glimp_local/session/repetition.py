"""A word, a line or a paragraph that is repeated without end inside a step.

Works on bytes, so that it finds the same on every backend, however a text was cut into tokens. Knows nothing about
models or steps: it is shown a text as it grows.

Text that repeats itself for a good reason must pass: rules, tables, indentation, digits, refrains, equal lines of code.
So only a repetition to the last byte counts, and only one that is longer than those people write. In 156 MB of
documentation, source code and data (14,766 files) the longest were 0.6 KB of equal lines in a log, 0.8 KB in source
code, 0.4 KB of dashes and 1.0 KB of numbers: no text reaches the limits below, no code or data those of a code block.
Text that changes a little each time, by a counter for example, is not found: nothing but its meaning tells it from an
enumeration.
"""

from __future__ import annotations

import re

_LENGTH, _COPIES = 512, 8
"""A word or a line is repeated without end at this many bytes and copies (85 times "equal ") ..."""
_LONG_LENGTH, _FEW_COPIES = 1024, 4
"""... and a paragraph at these; so are digits, signs and blanks, of which there are rules, tables and numbers."""
_IN_CODE = 2
"""In a code block it takes this many times the bytes."""
_LONGEST = 2048
"""Of a paragraph, in bytes: a longer one would not be repeated often enough in an answer of the usual length."""
_ANCHOR = 128
"""The last bytes, of this number, are what a copy is looked for by."""
_INTERVAL = 64
"""Bytes between two looks, so that most tokens cost a comparison."""

_LETTER = re.compile(r"[^\W\d_]")


class RepetitionDetector:
    """Notices that a text has come to repeat itself."""

    def __init__(self) -> None:
        self._due = _LENGTH

    def notices(self, text: bytearray, *, in_code: bool) -> bool:
        """Return whether a text that has grown since the last call ends in a repetition."""
        if len(text) < self._due:
            return False
        self._due = len(text) + _INTERVAL
        return _repeats(text, _IN_CODE if in_code else 1)


def _repeats(text: bytearray, times: int) -> bool:
    end = len(text)
    first, last, anchor = max(0, end - _ANCHOR - _LONGEST), end - 1, text[-_ANCHOR:]
    while (at := text.rfind(anchor, first, last)) >= 0:
        period, last = end - _ANCHOR - at, at + _ANCHOR - 1
        long = max(_LONG_LENGTH * times, _FEW_COPIES * period)
        short = min(long, max(_LENGTH * times, _COPIES * period))
        if _has_period(text, period, short):
            unit = text[-period:].decode("utf-8", "ignore")
            return _LETTER.search(unit) is not None or _has_period(text, period, long)
    return False


def _has_period(text: bytearray, period: int, length: int) -> bool:
    """Do the last `length` bytes repeat themselves every `period` bytes?"""
    return length <= len(text) and text.endswith(text[-length:-period])
