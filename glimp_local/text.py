"""Characters that steer a terminal, in what a model, a file or a stranger wrote: shown, not obeyed.

These are the control characters (newline and tab are left), escape among them, and those that turn the direction of all
that follows around (U+202A-202E, U+2066-2069): with them a line can be made to read as another one. The marks U+200E,
U+200F and U+061C are left: they stand in honest Hebrew and Arabic, and move nothing but the punctuation beside them.
Each is replaced by one character; of the end of a line as Windows writes it, the newline is left.
"""

_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | dict.fromkeys(
    (*range(127, 160), *_DIRECTIONS), 0xFFFD
)
_PICTURES[127] = 0x2421
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(127, 160), *_DIRECTIONS)}
_NOTHING = dict.fromkeys(_PICTURES)


def harmless(text: str) -> str:
    """Show control characters, as pictures of themselves, instead of obeying them."""
    return text.replace("\r\n", "\n").translate(_PICTURES)


class Pieces:
    """Makes a text harmless that comes in pieces: the end of a line may be cut in two."""

    def __init__(self) -> None:
        self._held = ""

    def take(self, piece: str) -> str:
        """Return what can be shown now; a carriage return waits for what comes behind it."""
        text = self._held + piece
        whole = text.removesuffix("\r")
        self._held = text[len(whole) :]
        return harmless(whole)


def one_line(text: str) -> str:
    """Put a text into one line, harmless."""
    return harmless(" ".join(text.split()))


def without_controls(text: str) -> str:
    """Leave out what `harmless` would show: none of it takes any room on a terminal."""
    return text.translate(_NOTHING)


def harmless_json(encoded: bytes) -> str:
    """Spell the control characters that JSON leaves as they are."""
    return encoded.decode().translate(_ESCAPES)
