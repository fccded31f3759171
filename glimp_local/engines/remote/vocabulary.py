"""The tokens of a model on a server: is its vocabulary that of another model, and, if not, how text becomes tokens.

A vocabulary is known by what the server shows of each token. If that is what another model's tokens are, the other
model's vocabulary serves for both. Otherwise the server is asked to tokenise.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Protocol, runtime_checkable

from glimp_local.engines.remote.api import Api
from glimp_local.models.sharing import PADDING

_CHUNK = 16_384
"""Tokens shown in one request."""
_MOST = 2**20
"""Tokens that are compared at most: no vocabulary has more."""
_KEPT = 512
"""Texts whose tokens are remembered."""
_BETWEEN = "\u241e"
"""A character that no token holds together with others: it parts the texts of tokens that are asked for at once."""
_LOSSY = re.compile("\ufffd+")
_PADDING = re.compile(r"\[PAD\d*\]|<\|?(?:unused|reserved|extra)[^>]*>|\[unused\d+\]|")
"""Tokens on top of a vocabulary that quantisers and trainers add; none is written or read."""
_SPECIAL = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|<[a-z]+_of_[a-z]+>|\[/?[A-Z_]{3,16}\]"  # noqa: RUF001 - DeepSeek's bars
    r"|</?(?:s|think|tool_call|tool_response|bos|eos|pad|unk|mask)>"
)
"""What the spelling of a special token looks like."""


@runtime_checkable
class Shown(Protocol):
    """A vocabulary that shows its tokens."""

    @property
    def size(self) -> int:
        """Number of tokens; 0 if it does not tell."""
        ...

    def shown(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, that of control tokens included; bytes that are no character are replaced."""
        ...


class ServerVocabulary:
    """The tokens of a model on a server, which tokenises. Threads may share it.

    Raises ServerError if it cannot be asked, and CancelledError if `cancel` is set while it is.
    """

    is_near = False

    def __init__(self, api: Api, size: int | None, bos: str, cancel: threading.Event) -> None:
        self._api = api
        self.size = size or 0
        self._kept: dict[tuple[str, bool], list[int]] = {}
        self._keeping = threading.Lock()
        self._pieces: dict[int, str] = {}
        self._differences: dict[int, str | None] = {}
        self._cancel = cancel
        found = self._ask(bos, control=True) if bos else []
        self.bos = found[0] if len(found) == 1 else -1
        self.adds_bos = self.bos >= 0
        # A SentencePiece vocabulary puts a space before a text that follows no other.
        self._anchor = self._ask("\n", control=False)
        both = self._ask("\nx", control=False)
        is_anchored = both[: len(self._anchor)] == self._anchor
        self._spaces = is_anchored and both[len(self._anchor) :] != self._ask("x", control=False)

    def tokenize(self, text: str | bytes, *, control: bool = False, continues: bool = False) -> list[int]:
        """Turn text into token ids; bytes that are no characters are replaced."""
        whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
        ids: list[int] = []
        for part in self._letters(whole) if self._api.parses_always and not control else [whole]:
            ids += self._part(part, control=control, continues=continues)
            continues = continues or bool(part)
        return ids

    def until(self, cancel: threading.Event) -> ServerVocabulary:
        """Return the same vocabulary, whose waiting a cancel ends with CancelledError."""
        other = copy(self)
        other._cancel = cancel  # noqa: SLF001 - one of this class
        return other

    def _part(self, text: str, *, control: bool, continues: bool) -> list[int]:
        if not (continues and self._spaces):
            return self._ask(text, control=control)
        ids = self._ask(f"\n{text}", control=control)
        same = ids[: len(self._anchor)] == self._anchor
        return ids[len(self._anchor) :] if same else self._ask(text, control=control)

    def _ask(self, text: str, *, control: bool) -> list[int]:
        if not text:
            return []
        kept = self._kept.get((text, control))
        if kept is not None:
            return kept
        found = self._api.tokenize(text, control=control, cancel=self._cancel)
        with self._keeping:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[text, control] = found
        return found

    def parts(self, text: bytes) -> list[bytes]:
        """Cut text where it looks like the spelling of a special token, so that each part is tokenised as letters."""
        return [part.encode() for part in self._letters(text.decode("utf-8", "replace"))]

    @staticmethod
    def _letters(text: str) -> list[str]:
        cuts = [match.start() + 1 for match in _SPECIAL.finditer(text)]
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def is_control(self, token: int) -> bool:
        """Return False: a server does not tell; text behind a control token continues it."""
        del token
        return False

    def reveal(self, marker: str) -> None:
        """Do nothing: the server shows markers."""

    def piece(self, token: int) -> bytes:
        """Return a token's text."""
        return self.shown([token]).encode()

    def shown(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self._api.shown(ids, self._cancel)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token; what is no text by itself has a replacement character in it."""
        if new := [token for token in dict.fromkeys(ids) if token not in self._pieces]:
            between = self._ask(_BETWEEN, control=False)
            found = self.shown([one for token in new for one in (*between, token)]).split(_BETWEEN)[1:]
            if len(found) != len(new):
                found = [self.shown([token]) for token in new]
            self._pieces.update(zip(new, found, strict=True))
        return [self._pieces[token] for token in ids]

    def is_one(self, spelling: str) -> bool:
        """Is this one token?"""
        return len(self._ask(spelling, control=True)) == 1

    def difference(self, other: object) -> str | None:
        """Return why ids must not be handed from one vocabulary to the other; None if they may."""
        if other is self:
            return None
        if id(other) not in self._differences:
            self._differences[id(other)] = _difference(self, other)
        return self._differences[id(other)]


def _difference(one: ServerVocabulary, other: object) -> str | None:
    """Compare all tokens by what is shown of them."""
    if not isinstance(other, Shown):
        return "one of them does not reveal its tokens"
    sizes = [size for size in (one.size, other.size) if size]
    if sizes and max(sizes) - min(sizes) > PADDING:
        return f"{one.size:,} and {other.size:,} tokens"
    end = min(sizes, default=_MOST)
    for start in range(0, end, _CHUNK):
        ids: Sequence[int] = range(start, min(start + _CHUNK, end))
        if not isinstance(other, ServerVocabulary):  # asking for one token costs it nothing
            ids = [token for token in ids if not _PADDING.fullmatch(other.shown([token]))]
        texts = one.shown(ids), other.shown(ids)
        if not any(texts):
            break  # beyond the end of both
        if _same(*texts):
            continue
        for token in _unlike(one, other, ids):
            spelled = one.shown([token]), other.shown([token])
            if not (_PADDING.fullmatch(spelled[0]) or _PADDING.fullmatch(spelled[1])):
                return f"token {token} is {spelled[0]!r} in one and {spelled[1]!r} in the other"
    return None


def _unlike(one: Shown, other: Shown, ids: Sequence[int]) -> Iterator[int]:
    """Yield the tokens that are not shown alike, found by halving."""
    if _same(one.shown(ids), other.shown(ids)):
        return
    if len(ids) == 1:
        yield ids[0]
        return
    half = len(ids) // 2
    yield from _unlike(one, other, ids[:half])
    yield from _unlike(one, other, ids[half:])


def _same(one: str, other: str) -> bool:
    """Are two texts the same, bytes that are no characters aside? How many marks replace them differs."""
    return one == other or _LOSSY.sub("\ufffd", one) == _LOSSY.sub("\ufffd", other)
