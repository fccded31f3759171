"""A conversation as it is sent to a server: token ids where the server takes them, else text.

Text of others becomes tokens when it is first sent, if the server has to be asked for them: all that stands together in
one request, and not at all if it is cut away before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from glimp_local.engines.prompt import Vocabulary
from glimp_local.engines.remote.api import Prompt

_BYTES_PER_TOKEN = 2
"""Of text that is not tokenised yet: as in formulas, where most digits are tokens, so that there is not less room left
than is thought. English has more."""


@dataclass
class _Segment:
    """What was put behind a transcript at once."""

    raw: bytes
    own: bool
    ids: tuple[int, ...] | None
    """None until it is tokenised."""
    group: int = -1
    """The first of the segments that it was tokenised with; -1 if it came as tokens."""

    count: int | None = None
    """Its tokens, if it is known how many they are, but not which."""

    @property
    def tokens(self) -> int:
        """Its length, or an estimate of it."""
        if self.ids is not None:
            return len(self.ids)
        return -(-len(self.raw) // _BYTES_PER_TOKEN) if self.count is None else self.count


class Transcript:
    """The text or the tokens. `vocabulary` is None where text is sent; `is_lazy` if it asks a server."""

    def __init__(self, vocabulary: Vocabulary | None, *, is_lazy: bool) -> None:
        self.vocabulary = vocabulary
        self._is_lazy = is_lazy
        self._segments: list[_Segment] = []
        self.tokens = 0
        """How many there are; of text that is not tokenised yet, an estimate."""

    def __len__(self) -> int:
        """Return a mark of its end."""
        return len(self._segments)

    def copy(self, vocabulary: Vocabulary | None = None) -> Transcript:
        """Return another one that continues in its own way, with another way of asking for tokens if one is given."""
        other = Transcript(vocabulary or self.vocabulary, is_lazy=self._is_lazy)
        other._segments = [replace(one) for one in self._segments]
        other.tokens = self.tokens
        return other

    def append(self, raw: bytes, *, own: bool, tokens: int | None = None) -> None:
        """Put text behind it; `tokens` is how many it takes, if that is known.

        Control tokens are made of their spellings only in the program's own.
        """
        if raw:
            self._segments.append(_Segment(raw, own, None, count=tokens))
            self.tokens += self._segments[-1].tokens
            if not self._is_lazy and self.vocabulary is not None:
                self._tokenize()

    def append_ids(self, ids: Sequence[int]) -> None:
        """Put tokens behind it."""
        if ids:
            self._segments.append(_Segment(b"", own=False, ids=tuple(ids)))
            self.tokens += len(ids)

    def cut(self, mark: int) -> None:
        """Go back to a mark."""
        removed, kept = self._segments[mark:], self._segments[:mark]
        self._segments = kept
        if removed and removed[0].group >= 0:  # tokens that reach over the cut are made again
            for one in kept[removed[0].group :]:
                one.ids, one.group = None, -1
        self.tokens = sum(one.tokens for one in kept)

    def prompt(self) -> Prompt:
        """Return what is sent: ids, which may have to be asked for, or text. Raises ServerError."""
        if self.vocabulary is None:
            return b"".join(one.raw for one in self._segments).decode("utf-8", "replace")
        self._tokenize()
        return [token for one in self._segments for token in one.ids or ()]

    def _tokenize(self) -> None:
        assert self.vocabulary is not None
        at, segments = 0, self._segments
        while at < len(segments):
            if segments[at].ids is not None:
                at += 1
                continue
            end = at + 1
            while end < len(segments) and segments[end].ids is None and segments[end].own == segments[at].own:
                end += 1
            raw = b"".join(one.raw for one in segments[at:end])
            estimated = sum(one.tokens for one in segments[at:end])
            ids = self.vocabulary.tokenize(raw, control=segments[at].own, continues=bool(at))
            for one in segments[at:end]:
                one.ids, one.group = (), at
            segments[at].ids = tuple(ids)
            self.tokens += len(ids) - estimated
            at = end
