"""The last thing before the terminal: characters that would steer it are left out of every line that is drawn.

What is drawn is made harmless where it comes from (`text.harmless`), so that it can be seen. This is for what
nobody thought of: without it, one forgotten text in one widget would be an escape on the user's terminal.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from glimp_local.text import without_controls


class Harmless(LineFilter):
    """Leaves control characters out; they take no room, so that the line keeps its width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's signature
        """Return the segments of a line without them."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(without_controls(segment.text), segment.style)
            for segment in segments
        ]
