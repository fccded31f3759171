"""Control characters in what a model writes: shown, so that they cannot steer a terminal."""

_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(127, 160), 0xFFFD
)
_ESCAPES = {code: f"\\u{code:04x}" for code in range(127, 160)}


def harmless(text: str) -> str:
    """Show control characters, as pictures of themselves, instead of obeying them."""
    return text.translate(_PICTURES)


def one_line(text: str) -> str:
    """Put a text into one line, harmless."""
    return harmless(" ".join(text.split()))


def harmless_json(encoded: bytes) -> str:
    """Spell the control characters that JSON leaves as they are."""
    return encoded.decode().translate(_ESCAPES)
