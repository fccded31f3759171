"""From the chunks of a stream to whole pieces of text with the tokens that make them.

Where the model's vocabulary is known here, its tokens say what the text is; else the server's text is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol, runtime_checkable

from glimp_local.engines import prompt, protocol
from glimp_local.engines.characters import HalfCharacters
from glimp_local.engines.protocol import Piece
from glimp_local.engines.remote.api import Chunk

_MOST_LOST = 8
"""Tokens of one character whose ids a server may leave out."""


@runtime_checkable
class Vocabulary(prompt.Vocabulary, protocol.Vocabulary, Protocol):
    """Tokens that are known here."""

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a generation."""
        ...


class KnownTokens:
    """The tokens of a vocabulary, by their text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @cached_property
    def _by_bytes(self) -> dict[bytes, int]:
        """Tokens of which a character may be made."""
        found: dict[bytes, int] = {}
        for token in range(self.vocabulary.size):
            raw = self.vocabulary.piece(token)
            if raw and not raw.isascii() and len(raw) <= _MOST_LOST:
                found.setdefault(raw, token)
        return found

    def lost(self, raw: bytes, count: int) -> tuple[int, ...] | None:
        """Return `count` tokens that spell `raw`; None if there are none."""
        if count == 1:
            token = self._by_bytes.get(raw)
            return None if token is None else (token,)
        for size in range(1, len(raw)):
            token = self._by_bytes.get(raw[:size])
            if token is not None and (rest := self.lost(raw[size:], count - 1)) is not None:
                return token, *rest
        return None


class Pieces:
    """The pieces of one stream. After its last chunk, `is_over` says whether the model ended its text."""

    def __init__(self, known: KnownTokens | None) -> None:
        self._known = known
        self._half = HalfCharacters()
        self._held: list[int] = []
        self._held_tokens = 0
        self.is_over = False

    def take(self, chunk: Chunk) -> Iterator[Piece]:
        """Yield what is whole now."""
        if self._known is None:
            yield from self._of_text(chunk)
        else:
            yield from self._of_ids(chunk, self._known)

    def _of_text(self, chunk: Chunk) -> Iterator[Piece]:
        self._held += chunk.ids
        self._held_tokens += chunk.tokens
        if chunk.text:
            ids = tuple(self._held) if len(self._held) == self._held_tokens else ()
            piece = Piece(chunk.text.encode("utf-8", "replace"), max(1, self._held_tokens), ids)
            self._held, self._held_tokens = [], 0
            yield piece

    def _of_ids(self, chunk: Chunk, known: KnownTokens) -> Iterator[Piece]:
        ids, vocabulary = chunk.ids, known.vocabulary
        if missing := chunk.tokens - len(ids):
            tail = b"".join(vocabulary.piece(token) for token in ids)
            raw = chunk.text.encode("utf-8", "replace").removesuffix(tail)
            found = known.lost(raw, missing)
            if found is None:
                self._half = HalfCharacters()
                yield Piece(chunk.text.encode("utf-8", "replace"), chunk.tokens)
                return
            ids = (*found, *ids)
        for token in ids:
            if token in vocabulary.ends:
                self.is_over = True
                return
            self._half.add(token, vocabulary.piece(token))
            while piece := self._half.take():
                yield piece
