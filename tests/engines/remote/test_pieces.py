"""From a server's chunks to whole pieces: lost ids, several tokens at once, characters of several tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from glimp_local.engines.protocol import Piece
from glimp_local.engines.remote.api import Chunk
from glimp_local.engines.remote.pieces import KnownTokens, Pieces, Vocabulary
from glimp_local.pair import Pair
from tests.engines.remote.conftest import OpenRemote

BYTES = {131: b"\xc3", 106: b"\xa9", 176: b"\xf0", 257: b"\x9f", 251: b"\x99", 228: b"\x82"}


@pytest.fixture
def vocabulary(open_pair: OpenRemote) -> Vocabulary:
    pair: Pair = open_pair(policy="small")
    found = pair.backends["small"].vocabulary
    assert isinstance(found, Vocabulary)
    return found


def taken(pieces: Pieces, *chunks: Chunk) -> list[Piece]:
    return [piece for chunk in chunks for piece in pieces.take(chunk)]


def test_ids_that_a_stream_loses_inside_a_character_are_found_again(vocabulary: Vocabulary) -> None:
    assert {token: vocabulary.piece(token) for token in BYTES} == BYTES
    pieces = Pieces(KnownTokens(vocabulary))
    (e,) = taken(pieces, Chunk("é", (106,), 2))
    (smile,) = taken(pieces, Chunk("🙂", (228,), 4))
    assert e == Piece("é".encode(), 2, (131, 106))
    assert smile.raw == "🙂".encode()
    assert (smile.tokens, len(smile.ids)) == (4, 4)
    assert b"".join(vocabulary.piece(token) for token in smile.ids) == smile.raw


def test_a_character_whose_lost_ids_cannot_be_told_is_text(vocabulary: Vocabulary) -> None:
    assert taken(Pieces(KnownTokens(vocabulary)), Chunk("🙂", (228,), 7)) == [Piece("🙂".encode(), 7)]


def test_the_end_of_the_text_is_a_token_too(vocabulary: Vocabulary) -> None:
    pieces = Pieces(KnownTokens(vocabulary))
    assert taken(pieces, Chunk("", (min(vocabulary.ends),), 1)) == []
    assert pieces.is_over


TEXTS = {1: "one", 2: ".\n\n", 3: "two", 4: "\ufffd", 5: "\ufffd", 6: "\ufffdx"}


class Shows:
    """A server's vocabulary."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [TEXTS[token] for token in ids]


def test_several_tokens_in_one_chunk_are_several_pieces() -> None:
    found = taken(Pieces(Shows()), Chunk("one.\n\ntwo", (1, 2, 3), 3))
    assert found == [Piece(b"one", 1, (1,)), Piece(b".\n\n", 1, (2,)), Piece(b"two", 1, (3,))]


def test_tokens_of_one_character_are_one_piece() -> None:
    found = taken(Pieces(Shows()), Chunk("oneétwo", (1, 4, 5, 3), 4))
    assert found == [Piece(b"one", 1, (1,)), Piece("é".encode(), 2, (4, 5)), Piece(b"two", 1, (3,))]
    held = taken(Pieces(Shows()), Chunk("", (4,), 1), Chunk("étwo", (5, 3), 2))
    assert held == [Piece("é".encode(), 2, (4, 5)), Piece(b"two", 1, (3,))]


def test_what_cannot_be_told_apart_stays_one_piece() -> None:
    assert taken(Pieces(Shows()), Chunk("é...", (4, 6), 2)) == [Piece("é...".encode(), 2, (4, 6))]
    assert taken(Pieces(Shows()), Chunk("other", (1, 3), 2)) == [Piece(b"other", 2, (1, 3))]


def test_without_ids_text_is_all_there_is() -> None:
    assert taken(Pieces(None), Chunk("one two", tokens=1), Chunk("", tokens=1), Chunk("!", tokens=1)) == [
        Piece(b"one two", 1),
        Piece(b"!", 2),
    ]


def test_a_token_that_is_only_known_there_is_text(vocabulary: Vocabulary) -> None:
    pieces = Pieces(KnownTokens(vocabulary))
    assert taken(pieces, Chunk("odd", (vocabulary.size,), 1)) == [Piece(b"odd", 1)]
