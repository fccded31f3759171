"""Files in a message: `@notes.txt` stands for a file's text, which is sent in its place.

What is sent has the text between two marks, so that a conversation that was saved shows it as a chip again, and can be
edited. Knows nothing of widgets. A file is read when the message is sent; what a conversation holds stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from glimp_local import units
from glimp_local.errors import UsageError

_LARGEST_BYTES = 2_000_000
_MENTION = re.compile(r"(?<!\S)@(?:\"([^\"\n]+)\"|(\S+))")
_BLOCK = re.compile(r"<file name=\"([^\"\n]*)\">\n(.*?)\n</file>", re.DOTALL)
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".heic", ".svg", ".pdf"})
_PUNCTUATION = ".,;:!?)"
_MANY = 200


class Attachments:
    """The files of one message box: what a message that is edited had attached stays known."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def expand(self, message: str) -> str:
        """Return a message with each file's text in the place of its mention.

        A word that begins with @ and names no file stays as it is. Raises UsageError if a file cannot be read as text.
        """

        def text_of(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            for end in dict.fromkeys((len(name), len(name.rstrip(_PUNCTUATION)))):
                text = self._texts.get(name[:end]) or _read(name[:end])
                if text is not None:
                    return f'<file name="{name[:end]}">\n{text}\n</file>{name[end:]}'
            return found[0]

        return _MENTION.sub(text_of, message)

    def collapse(self, message: str) -> str:
        """Return a message that was sent as it was written, and remember the texts of its files."""

        def mention(found: re.Match[str]) -> str:
            self._texts[found[1]] = found[2]
            return f'@"{found[1]}"' if " " in found[1] else f"@{found[1]}"

        return _BLOCK.sub(mention, message)

    def sizes(self, message: str) -> list[str]:
        """Return the name and size of each file that a message mentions and that is there."""
        found = []
        for match in _MENTION.finditer(message):
            name = (match[1] or match[2]).rstrip(_PUNCTUATION)
            if name in self._texts:
                found.append(f"{name} {size_of(self._texts[name])}")
            elif (path := Path(name).expanduser()).is_file():
                found.append(f"{name} {units.file_size(path.stat().st_size)}")
        return found


def with_chips(message: str) -> str:
    """Return a message that was sent as it is shown: a file's name and size in the place of its text."""
    return _BLOCK.sub(lambda found: f"[{Path(found[1]).name}, {size_of(found[2])}]", message)


def size_of(text: str) -> str:
    """Return how long a text is, in words."""
    lines = text.count("\n") + 1
    return f"{lines:,} line{'' if lines == 1 else 's'}, {units.file_size(len(text.encode()))}"


def completions(beginning: str) -> Iterator[str]:
    """Yield the files and folders whose path begins so, as they are mentioned; the hidden ones only if asked for."""
    given = Path(beginning).expanduser()
    folder, begins = (given, "") if beginning.endswith("/") or not beginning else (given.parent, given.name)
    try:
        entries = sorted(folder.iterdir())[:_MANY]
    except OSError:
        return
    head = beginning[: len(beginning) - len(begins)]
    for entry in entries:
        if entry.name.startswith(begins) and (begins.startswith(".") or not entry.name.startswith(".")):
            yield f"{head}{entry.name}{'/' if entry.is_dir() else ''}"


def _read(name: str) -> str | None:
    """Return a file's text; None if there is no such file. Raises UsageError."""
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            return None
        if path.suffix.lower() in _PICTURES:
            raise UsageError(f"{name} is a picture or a PDF, and the models read text", hint="attach a text file")
        if (size := path.stat().st_size) > _LARGEST_BYTES:
            what = f"{name} is too long ({units.file_size(size)}; at most {units.file_size(_LARGEST_BYTES)})"
            raise UsageError(what, hint="attach a part of it")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not a text in UTF-8", hint="attach a text file") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", hint="attach another file") from error
    return text.strip("\n")
