"""One text that the models of a pair read, each in its own lane.

Knows how text goes from one model to another: as tokens if both have one vocabulary, else as bytes in which only the
marker that closes the thought is more than letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from glimp_local.engines.protocol import Lane, Prompt
from glimp_local.routing import Model

Marks = dict[Model, int]
"""A place in the transcript: a mark of each lane."""


class Transcript:
    """The lanes of a conversation. `close` is the marker that closes a thought; None for a pair that does not think."""

    def __init__(self, lanes: Mapping[Model, Lane], *, close: str | None, shares_vocabulary: bool) -> None:
        self.lanes = lanes
        self.close = None if close is None else close.encode()
        self._shares_vocabulary = shares_vocabulary

    def begin(self, prompts: Mapping[Model, Prompt]) -> None:
        """Begin a turn with each lane's prompt."""
        for model, lane in self.lanes.items():
            lane.begin(prompts[model])

    def marks(self) -> Marks:
        """Return a mark of its end."""
        return {model: lane.mark() for model, lane in self.lanes.items()}

    def cut(self, marks: Marks) -> None:
        """Go back to a mark."""
        for model, lane in self.lanes.items():
            lane.cut(marks[model])

    def others(self, writer: Model) -> list[Lane]:
        """Return the lanes of the models that do not write."""
        return [lane for model, lane in self.lanes.items() if model != writer]

    def hand_over(self, raw: bytes, ids: Sequence[int] = (), *, writer: Model | None = None) -> None:
        """Put text into all lanes but the writer's, which has it: as tokens if a lane knows these, else as text."""
        for model, lane in self.lanes.items():
            if model != writer and not (ids and self._shares_vocabulary and lane.append_ids(ids)):
                self._append(lane, lane.append, raw)

    def recall(self, raw: bytes) -> None:
        """Put text that was written before into all lanes, which may have it in their caches."""
        for lane in self.lanes.values():
            self._append(lane, lane.recall, raw)

    def _append(self, lane: Lane, append: Callable[[bytes], None], raw: bytes) -> None:
        before, found, after = (raw, b"", b"") if self.close is None else raw.partition(self.close)
        append(before)
        if found:
            lane.append(found, own=True)
            append(after)

    def close_thought(self, tail: bytes) -> None:
        """Close a thought that the model did not close itself; `tail` is the transcript's last byte."""
        assert self.close is not None
        lead = b"" if tail == b"\n" else b"\n"
        for lane in self.lanes.values():
            lane.append(lead + self.close + b"\n\n", own=True)

    def shared(self, ids: Sequence[int]) -> Sequence[int]:
        """Return ids as other lanes may have them: none if the vocabularies differ."""
        return ids if self._shares_vocabulary else ()
