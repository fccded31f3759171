"""Text that spells special tokens, cut so that it stays letters.

A user who types `<think>` or `<|im_end|>` means these letters. llama.cpp makes tokens of type USER_DEFINED from text
whatever it is told, and some vocabularies make a control token by their ordinary merges (`</s>` in Qwen's). So each
such spelling is cut in two, and the parts become tokens one by one: none of them holds the whole spelling. Taken
together they are the same bytes.

Left whole are the user-defined tokens that are ordinary text, and steer nothing:

- white space: runs of blanks and newlines, which GPT-NeoX's and Gemma's vocabularies have;
- one character, which cannot be cut (the byte alphabet of DeepSeek's first models);
- words, of letters and digits alone: vocabularies are extended by the words of a language this way;
- HTML tags: Gemma reads tables and headings by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTROL, USER_DEFINED = 8, 16
"""Of `enum llama_token_attr`."""

_HTML = re.compile(
    r"</?(?:a|b|blockquote|br|caption|code|col|colgroup|dd|div|dl|dt|em|h[1-6]|hr|i|img|li|ol|p|pre|s|span|strong|sub|"
    r"sup|table|tbody|td|tfoot|th|thead|tr|u|ul)/?>"
)


def is_special(text: bytes, attributes: int) -> bool:
    """Must this token not be made of a user's text?"""
    if not attributes & (CONTROL | USER_DEFINED):
        return False
    characters = _characters(text)
    if len(characters) < 2 or characters.replace("▁", " ").isspace():  # noqa: PLR2004 - one cannot be cut
        return False
    if attributes & CONTROL:
        return True
    is_word = all(character.isalnum() or character in " ▁" for character in characters)
    return not is_word and not _HTML.fullmatch(characters)


class Spellings:
    """The spellings of a vocabulary's special tokens."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._cuts = {text: _cut(text) for text in texts}
        self._lengths = sorted(set(map(len, self._cuts)))
        firsts = b"".join(re.escape(bytes([byte])) for byte in {text[0] for text in self._cuts})
        self._first = re.compile(b"[%s]" % firsts if firsts else b"(?!)")

    def parts(self, text: bytes) -> list[bytes]:
        """Cut text so that no part holds a whole spelling; together they are the text."""
        places: list[int] = []
        for match in self._first.finditer(text):
            start = match.start()
            for length in self._lengths:
                cut = self._cuts.get(text[start : start + length])
                if cut is not None and not (places and start < places[-1] < start + length):
                    places.append(start + cut)
        if not places:
            return [text]
        ends = sorted({*places, len(text)})
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _cut(text: bytes) -> int:
    """Return where a spelling is cut: behind its brackets, where its letters alone would begin a token, too."""
    characters = _characters(text)
    brackets = next((i for i, character in enumerate(characters) if character.isalnum()), 0)
    return len(characters[: brackets or 1].encode("utf-8", "surrogateescape"))


def _characters(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
