"""The vocabulary of one GGUF: text to token ids and back, and whether two models share one.

Pieces are bytes, since a token can hold part of a character. No special token is made of text unless the caller says
that it is the program's own: a user who types `<|im_end|>` or `<think>` means these letters (see `spellings`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from glimp_local.engines import protocol
from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.spellings import CONTROL, USER_DEFINED, Spellings, is_special
from glimp_local.errors import GlimpError
from glimp_local.models.sharing import difference


class Vocabulary:
    """Tokens of one loaded model. Valid as long as the model is."""

    is_near = True

    def __init__(self, model: Any) -> None:
        self._vocab: Any = lib.llama_model_get_vocab(model)
        self.size: int = lib.llama_vocab_n_tokens(self._vocab)
        self.bos: int = lib.llama_vocab_bos(self._vocab)
        self.eos: int = lib.llama_vocab_eos(self._vocab)
        self.adds_bos: bool = lib.llama_vocab_get_add_bos(self._vocab)
        self._buffer = ctypes.create_string_buffer(512)
        self._pieces: list[bytes | None] = [None] * self.size
        self._revealed: set[int] = set()
        self._differences: WeakKeyDictionary[Vocabulary, str | None] = WeakKeyDictionary()
        self._spaces = self.kind == lib.LLAMA_VOCAB_TYPE_SPM

    @property
    def kind(self) -> int:
        """Number of the tokenizer's kind (`enum llama_vocab_type`)."""
        return int(lib.llama_vocab_type(self._vocab))

    def tokenize(self, text: str | bytes, *, control: bool = False, continues: bool = False) -> list[int]:
        """Turn text into token ids; nothing is added before or behind.

        `control` makes special tokens of their spellings (`<|im_end|>`): for the program's own text only. Otherwise a
        spelling is cut, and becomes letters. `continues` says that the text follows other text: a SentencePiece
        vocabulary would otherwise put a space before it.
        """
        data = text.encode() if isinstance(text, str) else text
        parts = [data] if control else self.parts(data)
        ids = self._tokenize_part(parts[0], control, continues)
        for part in parts[1:]:
            ids += self._tokenize_part(part, control, continues=True)
        return ids

    def parts(self, text: bytes) -> list[bytes]:
        """Cut text where it spells special tokens, so that each part is tokenised as letters."""
        return self._spellings.parts(text)

    @property
    def handle(self) -> Any:
        """llama.cpp's own object; raises GlimpError if the model was freed."""
        return self._opened()

    @cached_property
    def _spellings(self) -> Spellings:
        marked = (token for token, found in enumerate(self._attributes) if found & (CONTROL | USER_DEFINED))
        return Spellings(raw for token in marked if is_special(raw := self.raw(token), self._attributes[token]))

    def _tokenize_part(self, data: bytes, control: bool, continues: bool) -> list[int]:
        if not (continues and self._spaces):
            return self._tokenize(data, control)
        anchor = self._tokenize(b"\n", control=False)
        ids = self._tokenize(b"\n" + data, control)
        return ids[len(anchor) :] if ids[: len(anchor)] == anchor else self._tokenize(data, control)

    def _tokenize(self, data: bytes, control: bool) -> list[int]:
        if not data:
            return []
        vocab = self._opened()
        room = len(data) + 8
        while True:
            ids = (lib.llama_token * room)()
            count = lib.llama_tokenize(vocab, data, len(data), ids, room, False, control)
            if count >= 0:
                return list(ids[:count])
            room = -count

    def _opened(self) -> Any:
        if self._vocab is None:
            raise GlimpError("the pair has been closed")
        return self._vocab

    def piece(self, token: int) -> bytes:
        """Give a token's text. A control token has none, unless it was revealed."""
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token, special=token in self._revealed)
        return piece

    def text(self, ids: Iterable[int]) -> bytes:
        """Give the text of several tokens."""
        return b"".join(map(self.piece, ids))

    def reveal(self, marker: str) -> None:
        """Show the control tokens that spell a marker, so that it can be found in the text."""
        for token in self.tokenize(marker, control=True):
            self._revealed.add(token)
            self._pieces[token] = None

    def shown(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, that of control tokens included; bytes that are no character are replaced."""
        return b"".join(self._read_piece(token, special=True) for token in ids).decode("utf-8", "replace")

    def _read_piece(self, token: int, *, special: bool) -> bytes:
        while True:
            buffer = self._buffer
            count = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
            if count >= 0:
                return buffer.raw[:count]
            self._buffer = ctypes.create_string_buffer(-count)

    def close(self) -> None:
        """Forget the model, which is about to be freed; the pieces read so far stay."""
        self._vocab = None

    def is_control(self, token: int) -> bool:
        """Is this a control token?"""
        return bool(lib.llama_vocab_is_control(self._vocab, token))

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end a generation."""
        return frozenset(i for i in range(self.size) if lib.llama_vocab_is_eog(self._vocab, i))

    def spelled(self, token: int) -> str:
        """Give a token as its vocabulary spells it ("" where there is none, as for a missing BOS)."""
        return self.raw(token).decode("utf-8", "replace") if 0 <= token < self.size else ""

    def raw(self, token: int) -> bytes:
        """Give a token as its vocabulary spells it."""
        raw: bytes = lib.llama_vocab_get_text(self._vocab, token)
        return raw

    def difference(self, other: protocol.Vocabulary) -> str | None:
        """Say why token ids must not be handed from one vocabulary to the other; None where they may."""
        if not isinstance(other, Vocabulary):  # of a model on a server, which knows how to compare itself
            return other.difference(self)
        if other not in self._differences:  # 150,000 tokens take a while, and each conversation asks
            self._differences[other] = difference(self, other)
        return self._differences[other]

    def attributes(self, token: int) -> int:
        """Give a token's attributes (`enum llama_token_attr`)."""
        return self._attributes[token]

    @cached_property
    def _attributes(self) -> list[int]:
        attributes, vocab = lib.llama_vocab_get_attr, self._opened()  # looked up once, for 150,000 tokens
        return [attributes(vocab, token) for token in range(self.size)]
