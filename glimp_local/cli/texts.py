"""The problem and the system message: typed on the command line, in a file, or on stdin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from glimp_local.errors import UsageError
from glimp_local.inputs import path_of, read_limited

_MOST_BYTES = 2**24
"""Of a text: no context (of 2**24 tokens at most) holds more, even if each byte is a token."""
_TOO_LARGE = "no model reads as much; give the {} alone"


def read_problem(file: str | None, text: str | None) -> str:
    """Read the problem from the one place it was given in; raises UsageError where that cannot be done."""
    hint = _TOO_LARGE.format("problem")
    if text is not None:
        if file is not None:
            raise UsageError("the problem is given by FILE or by --text, not by both")
        return _decoded(_typed(text), "--text")
    if file is None and sys.stdin.isatty():
        raise UsageError("there is no problem to solve", hint="name a FILE, give - and type it, or use --text")
    where = "stdin" if file in {None, "-"} else str(file)
    try:
        source = sys.stdin.buffer if file in {None, "-"} else Path(str(file))
        return _decoded(read_limited(source, _MOST_BYTES, where, hint=hint), where)
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}") from error


def read_system(given: str) -> str:
    """Read the system message that --system gives: a text, or @FILE; raises UsageError where it cannot be read."""
    if not given.startswith("@") or given.startswith("@@"):
        return _decoded(_typed(given.removeprefix("@")), "--system", hint="leave --system out, or give it a text")
    if given == "@":
        raise UsageError("--system @ names no file", hint="--system @FILE reads a file; a text that is @ is written @@")
    where = given[1:]
    try:
        raw = read_limited(path_of(where), _MOST_BYTES, where, hint=_TOO_LARGE.format("system message"))
    except OSError as error:
        hint = "--system @FILE reads a file; write @@ for a text that begins with @"
        raise UsageError(f"{where} cannot be read: {error.strerror}", hint=hint) from error
    return _decoded(raw, where, hint="leave --system out, or name another file")


def _typed(text: str) -> bytes:
    """Return the bytes that were typed: in a locale that is not UTF-8, Python cannot have understood them."""
    return os.fsencode(text)


def _decoded(raw: bytes, where: str, *, hint: str | None = None) -> str:
    """Return the text of bytes, without the blanks around it; `hint` is for an empty one."""
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start:,})",
            hint="convert it to UTF-8, for example with iconv",
        ) from error
    if not text:
        raise UsageError(f"{where} is empty", hint=hint)
    return text
