"""Characters that a model writes in several tokens: none is shown, or handed over, before it is whole."""

from __future__ import annotations

from glimp_local.engines.protocol import Piece

ASCII = 0x80
"""Bytes below are characters by themselves."""
_KIND, _CONTINUES = 0xC0, 0x80
"""The bits of a byte that show whether it continues a character, and what they are if it does."""
_LEADING = ((0xC2, 0xDF, 2), (0xE0, 0xEF, 3), (0xF0, 0xF4, 4))
"""First and last byte that a character of this many bytes begins with."""


class HalfCharacters:
    """The tokens at the end of a transcript that hold the beginning of a character, and their text."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._sizes: list[int] = []
        self._raw = bytearray()

    def add(self, token: int, raw: bytes) -> None:
        """Add a token."""
        self.ids.append(token)
        self._sizes.append(len(raw))
        self._raw += raw

    def take(self) -> Piece | None:
        """Take out the first tokens that can be read by themselves, as few as possible; None if there are none."""
        whole, size = len(self._raw) - _cut_bytes(self._raw), 0
        for count, more in enumerate(self._sizes, 1):
            size += more
            if size > whole:
                break
            if size < len(self._raw) and self._raw[size] & _KIND == _CONTINUES:
                continue  # the character continues in the next token
            piece = Piece(bytes(self._raw[:size]), count, tuple(self.ids[:count]))
            del self.ids[:count], self._sizes[:count], self._raw[:size]
            return piece
        return None


def _cut_bytes(raw: bytearray) -> int:
    """Count the bytes at the end of UTF-8 text that are the beginning of a character, and no more."""
    for back in range(1, min(3, len(raw)) + 1):
        byte = raw[-back]
        if byte & _KIND != _CONTINUES:  # the character begins here, if it is one
            length = next((length for first, last, length in _LEADING if first <= byte <= last), 1)
            return back if length > back else 0
    return 0
