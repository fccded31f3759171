"""Files mentioned in a message: `@notes.txt` stands for a file's text, which is sent in its place.

Knows nothing of widgets. A file is read when the message is sent; what a conversation holds stays as it was, so the
texts of a question that is edited are known already.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from glimp_local import units
from glimp_local.errors import UsageError
from glimp_local.records import attached

_LARGEST_BYTES = 2_000_000
_MENTION = re.compile(r"(?<!\S)@(?:\"([^\"\n]+)\"|(\S+))")
_BEGUN = re.compile(r"(?<!\S)@(?:\"[^\"\n]*|\S*)$")
_LIKE_A_PATH = re.compile(r"\w[./]\w")
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".heic", ".svg", ".pdf"})
_PUNCTUATION = ".,;:!?)"
_MOST_OFFERED = 100


def mention(path: str) -> str:
    """Return how a file is mentioned."""
    return f'@"{path}"' if re.search(r"\s", path) else f"@{path}"


def expand(message: str, known: Mapping[str, str]) -> str:
    """Return a message with each file's text in the place of its mention; those of `known` names are not read.

    A word that begins with @ and names no file stays as it is. Raises UsageError if a file cannot be read as text.
    """

    def text_of(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        for end in dict.fromkeys((len(name), len(name.rstrip(_PUNCTUATION)))):
            text = known.get(name[:end])
            if text is None and (path := file_at(name[:end])) is not None:
                text = _read(name[:end], path)
            if text is not None:
                return attached.block(name[:end], text) + name[end:]
        return found[0]

    return _MENTION.sub(text_of, message)


def collapse(question: str) -> tuple[str, dict[str, str]]:
    """Return a question that was sent as it was written, and the texts of its files by their names."""
    texts: dict[str, str] = {}

    def keep(name: str, text: str) -> str:
        texts[name] = text
        return mention(name)

    return attached.replaced(question, keep), texts


def sizes(message: str, known: Mapping[str, str]) -> list[str]:
    """Return the name and size of each file that a message mentions, and which of them are not there."""
    found = []
    for match in _MENTION.finditer(message):
        name = (match[1] or match[2]).rstrip(_PUNCTUATION)
        if name in known:
            found.append(f"{name} {attached.size_of(known[name])}")
        elif (path := file_at(name)) is not None:
            try:
                found.append(f"{name} {units.file_size(path.stat().st_size)}")
            except OSError:  # removed just now
                continue
        elif _LIKE_A_PATH.search(name):
            found.append(f"{name}: no such file")
    return found


def file_at(name: str) -> Path | None:
    """Return the path of a file; None if there is none, or one may not look."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: the home of somebody unknown
        return None


def begun(line: str) -> str | None:
    """Return the mention that a line ends with; None if it ends otherwise."""
    found = _BEGUN.search(line)
    return found[0] if found else None


def completions(beginning: str) -> Iterator[str]:
    """Yield the files and folders whose path begins so; the hidden ones only if asked for."""
    folder, slash, begins = beginning.rpartition("/")
    head = folder + slash
    try:
        with os.scandir(Path(head or ".").expanduser()) as entries:
            found = [
                f"{entry.name}{'/' if entry.is_dir() else ''}"
                for entry in entries
                if entry.name.startswith(begins)
                and (begins.startswith(".") or not entry.name.startswith("."))
                and entry.name.isprintable()  # no byte in it that is no text
            ]
    except (OSError, RuntimeError, ValueError):
        return
    yield from (head + name for name in heapq.nsmallest(_MOST_OFFERED, found))


def _read(name: str, path: Path) -> str:
    """Return a file's text; raises UsageError."""
    try:
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
