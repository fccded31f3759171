"""The text of tokens, made of their spellings as llama.cpp does (`llama_vocab::impl::token_to_piece`).

A vocabulary spells its tokens in one of two ways. Byte-level BPE has a printable character for each byte (`Ġ` is a
space); SentencePiece has `▁` for a space, and a token like `<0x0A>` for each byte that no other token has.
"""

from __future__ import annotations

SPM, BPE, WPM, UGM = 1, 2, 3, 4
"""Of `enum llama_vocab_type`: the kinds whose tokens' text is known."""
UNKNOWN, UNUSED, NORMAL, CONTROL, USER_DEFINED, BYTE, RSTRIP = 1, 2, 4, 8, 16, 32, 256
"""Of `enum llama_token_attr`."""

_SPACE = "▁".encode()


def _byte_alphabet() -> dict[str, bytes]:
    """Return the bytes that GPT-2's characters stand for: printable ones for themselves, the others in turn."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    found = {chr(byte): bytes([byte]) for byte in printable}
    return found | {chr(256 + number): bytes([byte]) for number, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def piece(raw: bytes, attributes: int, kind: int, *, has_marks: bool) -> bytes:
    """Return the text of one token. `has_marks` tells whether a BPE vocabulary spells as SentencePiece does."""
    if attributes & (UNKNOWN | CONTROL | USER_DEFINED):
        return raw
    if attributes & NORMAL:
        return raw.replace(_SPACE, b" ") if has_marks or kind != BPE else _decoded(raw)
    if attributes & BYTE:
        try:
            return bytes([int(raw[3:5], 16)])
        except ValueError:
            return b"\0"
    return b""


def _decoded(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "replace")
    if (found := [_BYTES.get(character) for character in text]).count(None) == 0:
        return b"".join(filter(None, found))
    # llama.cpp puts this in the place of a character that stands for no byte.
    return b"".join(
        byte or b"[UNK_BYTE_0x" + character.encode().hex().encode() + raw + b"]"
        for byte, character in zip(found, text, strict=True)
    )
