r"""The ends of steps of a thought.

A state machine over bytes: the boundaries depend on the text alone, never on how it was cut into tokens. Knows
nothing about models. Beside it, the detector for thoughts that go in circles.

- A step ends behind a blank line (`\n\n`, `\r\n\r\n`, also with spaces in the empty line), at the end of the thought,
  or when its writer declares it over (end of generation, cap of tokens).
- Blank lines before a step's first visible character are part of the step and end nothing.
- Blank lines inside a fenced code block or inside a `$$` or `\\[` block end nothing.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Boundary = Literal["blank_line", "thought_end"]

_NEWLINE, _BACKSLASH, _DOLLAR = b"\n"[0], b"\\"[0], b"$"[0]
# A fence at the start of a line (in a list or a quotation, too), or behind text at its end, with at most one word.
_OPENER = re.compile(rb"\s*(?:(?:[-*+>]|\d+[.)])\s+)*(`{3,}|~{3,})[^`]*$|[^`]*?(`{3,})[\w+#.-]*\s*$")
_CLOSER = re.compile(rb"[\s>]*(`{3,}|~{3,})\s*$")


class Slice(NamedTuple):
    """A stretch of text inside one step, and what ends the step behind it (None: the step continues)."""

    text: bytes
    boundary: Boundary | None


class StepMachine:
    """Cuts a stream of bytes into steps.

    `close_marker` is the text that ends the thought (`</think>`); it is cut out of the text and ends the last step.
    None means that no marker is looked for. Bytes that could be the beginning of the marker are held back until the
    next bytes decide; `flush` gives them out at the end of the stream.
    """

    def __init__(self, close_marker: bytes | None = None) -> None:
        self._begin(close_marker)

    def _begin(self, close_marker: bytes | None) -> None:
        self._marker = close_marker
        first = re.escape(close_marker[:1]) if close_marker else b""
        # Without one of these bytes a piece can neither end a step nor open or close a block.
        self._eventful = re.compile(b"[\\n\\\\$" + first + b"]")
        self._held = b""
        self._line = b""  # the current line so far
        self._has_content = False  # has the current step a visible character yet?
        self._fence: bytes | None = None  # the characters that opened the code block we are in
        self._fence_was_capped = False  # was a step in this code block capped before?
        self._math: Literal["$$", "["] | None = None  # the block of mathematics we are in
        self._escaped = False  # was the last byte a backslash that escapes the next one?
        self._dollar = False  # was the last byte a single unescaped dollar?

    def copy(self) -> StepMachine:
        """Return a second machine in the same state (to go back to the start of a step)."""
        return copy.copy(self)  # its state is made of immutable values

    def feed(self, piece: bytes) -> list[Slice]:
        """Take the next bytes of the text; return the text they complete, cut at step boundaries."""
        if not piece:
            return []
        if not (self._held or self._escaped or self._dollar or self._eventful.search(piece)):
            self._line += piece
            self._has_content = self._has_content or not piece.isspace()
            return [Slice(piece, None)]
        if self._marker is None:
            return self._cut(piece)
        text = self._held + piece
        self._held = b""
        at = text.find(self._marker)
        if at >= 0:
            rest = text[at + len(self._marker) :]
            slices = self._cut(text[:at])
            body = slices.pop().text if slices and slices[-1].boundary is None else b""
            self._begin(None)  # behind the thought everything starts again, blocks left open included
            return [*slices, Slice(body, "thought_end"), *(self.feed(rest) if rest else [])]
        keep = next(
            (n for n in range(min(len(self._marker) - 1, len(text)), 0, -1) if self._ends_like_marker(text, n)), 0
        )
        self._held = text[len(text) - keep :]
        return self._cut(text[: len(text) - keep])

    def flush(self) -> bytes:
        """Release bytes held back as a possible marker; they belong to the current step."""
        held, self._held = self._held, b""
        self._line += held
        return held

    def cap(self) -> None:
        """Begin a new step here, in mid-sentence.

        A code block stays open once (its closing fence is still to come), a block of mathematics does not: none is
        as long as a whole step, so its end was forgotten, and waiting for it would swallow every boundary to come.
        """
        self.flush()
        self._has_content = False
        self._math = None
        if self._fence_was_capped:
            self._fence = None
        self._fence_was_capped = self._fence is not None

    @property
    def holds(self) -> bool:
        """Are bytes held back that may be the beginning of the marker?"""
        return bool(self._held)

    @property
    def in_code(self) -> bool:
        """Does the text stand inside a fenced code block?"""
        return self._fence is not None

    def _ends_like_marker(self, text: bytes, n: int) -> bool:
        assert self._marker is not None
        return text.endswith(self._marker[:n])

    def _cut(self, text: bytes) -> list[Slice]:
        slices, start = [], 0
        for at, byte in enumerate(text):
            if byte == _NEWLINE:
                if self._end_line():
                    slices.append(Slice(text[start : at + 1], "blank_line"))
                    start = at + 1
            else:
                self._line += text[at : at + 1]
                if not (self._has_content or bytes((byte,)).isspace()):
                    self._has_content = True
                if self._fence is None:
                    self._track_math(byte)
        if start < len(text):
            slices.append(Slice(text[start:], None))
        return slices

    def _end_line(self) -> bool:
        """Record a finished line; return whether it is a blank one that ends the step."""
        line, self._line = self._line, b""
        self._escaped = self._dollar = False
        if not line.strip():
            over = self._has_content and self._fence is None and self._math is None
            self._has_content = self._has_content and not over
            return over
        if self._fence is not None:
            if (match := _CLOSER.match(line)) and match[1].startswith(self._fence):
                self._fence, self._fence_was_capped = None, False
        elif self._math is None and (match := _OPENER.match(line)):
            self._fence = match[1] or match[2]
        return False

    def _track_math(self, byte: int) -> None:
        in_span = self._line.count(b"`") % 2 == 1
        if self._escaped:
            self._escaped = False
            if byte == b"["[0] and self._math is None and not in_span:
                self._math = "["
            elif byte == b"]"[0] and self._math == "[":
                self._math = None
        elif byte == _BACKSLASH:
            self._escaped, self._dollar = True, False
        elif byte == _DOLLAR and self._dollar:
            self._dollar = False
            if self._math != "[" and not in_span:
                self._math = None if self._math else "$$"
        else:
            self._dollar = byte == _DOLLAR


class LoopDetector:
    """Notices a thought that goes in circles: equal, alternating or near-equal steps.

    A circle is the last p steps repeating the p before them, for p from 1 (equal steps) through 2 (alternating ones)
    to 4. Two steps are alike when their words agree, or when, in long steps, at least 90% of the words do and those
    that differ are ordinary ones: with another number, letter or name ("n = 3: ..." after "n = 2: ...", "option B ..."
    after "option A ...") it is an enumeration, not a circle.
    """

    _LONGEST = 4
    _SIMILAR = 0.9
    _LONG = 12

    def __init__(self) -> None:
        self._recent: tuple[list[str], ...] = ()

    def copy(self) -> LoopDetector:
        """Return a second detector with the same memory."""
        return copy.copy(self)  # its state is made of immutable values

    def add(self, step: str) -> bool:
        """Take a finished step's text; does it close a circle?"""
        words = re.findall(r"\w+|[^\w\s]", step)
        if not words:
            return False
        steps = self._recent = (*self._recent, words)[-2 * self._LONGEST :]
        return any(
            len(steps) >= 2 * p and all(map(self._alike, steps[-p:], steps[-2 * p : -p]))
            for p in range(1, self._LONGEST + 1)
        )

    def _alike(self, one: list[str], other: list[str]) -> bool:
        folded, other_folded = ([word.casefold() for word in words] for words in (one, other))
        if folded == other_folded:
            return True
        if min(len(one), len(other)) < self._LONG:
            return False
        counts = Counter(one), Counter(other)
        if not all(map(_is_ordinary, (counts[0] - counts[1]) + (counts[1] - counts[0]))):
            return False
        matcher = SequenceMatcher(None, folded, other_folded, autojunk=False)
        return matcher.quick_ratio() >= self._SIMILAR and matcher.ratio() >= self._SIMILAR


def _is_ordinary(word: str) -> bool:
    """Is this a word that carries no distinction: no number, no single letter, no name?"""
    return len(word) > 1 and word.islower() and word.isalpha()
