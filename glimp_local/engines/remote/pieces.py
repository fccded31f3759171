"""From the chunks of a stream to whole pieces of text with the tokens that make them.

Where the model's vocabulary is known here, its tokens say what the text is; else the server's text is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
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
        """Return the `count` tokens that spell `raw`; None if there are none, or several ways."""
        found = list(islice(self._spellings(raw, count), 2))
        return found[0] if len(found) == 1 else None

    def _spellings(self, raw: bytes, count: int) -> Iterator[tuple[int, ...]]:
        if count == 1 and (token := self._by_bytes.get(raw)) is not None:
            yield (token,)
        for size in range(1, len(raw) if count > 1 else 0):
            if (token := self._by_bytes.get(raw[:size])) is not None:
                yield from ((token, *rest) for rest in self._spellings(raw[size:], count - 1))


class PieceByPiece(Protocol):
    """A vocabulary that can be asked for the text of tokens, one by one."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token; what is no text by itself has a replacement character in it."""
        ...


def _first(ids: Sequence[int], text: str, tokens: PieceByPiece) -> tuple[int, str] | None:
    """Return how many of the tokens of a text make its first piece, and the piece; None if it cannot be told.

    A server that is fast sends several at once. A token with half a character stays with the next ones.
    """
    found = tokens.pieces(ids)
    if "\ufffd" not in found[0]:
        return (1, found[0]) if text.startswith(found[0]) else None
    whole = next((at for at, piece in enumerate(found) if "\ufffd" not in piece and piece), len(found))
    behind = "".join(found[whole:])
    piece = text.removesuffix(behind)
    return (whole, piece) if behind and text.endswith(behind) and "\ufffd" not in behind else None


class Pieces:
    """The pieces of one stream. After its last chunk, `is_over` says whether the model ended its text."""

    def __init__(self, tokens: KnownTokens | PieceByPiece | None) -> None:
        self._tokens = tokens
        self._half = HalfCharacters()
        self._held: list[int] = []
        self._held_tokens = 0
        self.is_over = False

    def take(self, chunk: Chunk) -> Iterator[Piece]:
        """Yield what is whole now."""
        if isinstance(self._tokens, KnownTokens):
            yield from self._of_ids(chunk, self._tokens)
        else:
            yield from self._of_text(chunk, self._tokens)

    def _of_text(self, chunk: Chunk, tokens: PieceByPiece | None) -> Iterator[Piece]:
        self._held += chunk.ids
        self._held_tokens += chunk.tokens
        if not chunk.text:
            return
        count, text = max(1, self._held_tokens), chunk.text
        ids = self._held if len(self._held) == count else []
        self._held, self._held_tokens = [], 0
        while tokens is not None and len(ids) > 1 and (found := _first(ids, text, tokens)):
            size, raw = found
            yield Piece(raw.encode(), size, tuple(ids[:size]))
            ids, text, count = ids[size:], text[len(raw) :], count - size
        if text:
            yield Piece(text.encode("utf-8", "replace"), count, tuple(ids))

    def _of_ids(self, chunk: Chunk, known: KnownTokens) -> Iterator[Piece]:
        ids, vocabulary = chunk.ids, known.vocabulary
        if any(not 0 <= token < vocabulary.size for token in ids):  # one of the two vocabularies may have padding
            yield from self._of_text(chunk._replace(ids=()), None)
            return
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
