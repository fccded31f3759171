"""The problem and the system message: typed on the command line, in a file, or on stdin."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from glimp_local.cli.arguments import check_single, is_text, quoted, shortened
from glimp_local.cli.notes import remark
from glimp_local.errors import UsageError
from glimp_local.inputs import path_of, read_limited

_MOST_BYTES = 2**24
"""Of a text: no context (of 2**24 tokens at most) holds more, even if each byte is a token."""
_TOO_LARGE = "no model reads as much; give the {} alone"
_SOLVE = "glimp solve"
_EXAMPLE = f'{_SOLVE} "what is 12*7?"'


def as_meant(
    file: str | None, text: str | None, more: Sequence[str] = (), *, quiet: bool
) -> tuple[str | None, str | None]:
    """Return the FILE and the --text of `glimp solve` as they are meant: FILE may be the text itself.

    That is said on stderr, unless `quiet`. `more` are the arguments behind FILE. Raises UsageError if the problem is
    given twice, or in several arguments.
    """
    if text is not None and file is not None:
        hint = "leave one of the two out"
        if file != "-" and not os.path.lexists(file):
            hint = f"put a text of several words in quotes: {_SOLVE} --text {quoted(' '.join([text, file, *more]))}"
        raise UsageError("the problem is given by FILE or by --text, not by both", hint=hint)
    check_single([*filter(None, [file]), *more], _SOLVE)
    if file is None or not is_text(file):
        return file, text
    if not quiet:
        remark("there is no file of that name, so it is taken as the text of the problem")
    return None, file


def read_problem(file: str | None, text: str | None) -> str:
    """Read the problem from the one place it was given in; raises UsageError where that cannot be done."""
    hint = _TOO_LARGE.format("problem")
    if text is not None:
        return read_typed(text, "--text", hint=_EXAMPLE)
    if file is not None and not file.strip():
        raise UsageError("the problem is empty", hint=_EXAMPLE)
    if file is None and sys.stdin.isatty():
        raise UsageError("there is no problem to solve", hint=f"{_EXAMPLE}, or name a FILE")
    where = "stdin" if file in {None, "-"} else str(file)
    try:
        source = sys.stdin.buffer if file in {None, "-"} else Path(str(file))
        return _decoded(read_limited(source, _MOST_BYTES, where, hint=hint), where, hint=_EXAMPLE)
    except OSError as error:
        where = shortened(where) if error.errno == errno.ENAMETOOLONG else where
        if file in {None, "-"} or os.path.lexists(str(file)):
            raise UsageError(f"{where} cannot be read: {error.strerror}") from error
        hint = f"if it is the text of the problem: {_SOLVE} --text {quoted(str(file))}"
        raise UsageError(f"{where} cannot be read: {error.strerror}", hint=hint) from error


def read_system(given: str) -> str:
    """Read the system message that --system gives: a text, or @FILE; empty for none. Raises UsageError."""
    if not given.strip():
        return ""
    if not given.startswith("@") or given.startswith("@@"):
        return read_typed(given.removeprefix("@"), "--system", hint="leave --system out, or give it a text")
    if given == "@":
        raise UsageError("--system @ names no file", hint="--system @FILE reads a file; a text that is @ is written @@")
    where = given[1:]
    try:
        raw = read_limited(path_of(where), _MOST_BYTES, where, hint=_TOO_LARGE.format("system message"))
    except OSError as error:
        hint = "--system @FILE reads a file; write @@ for a text that begins with @"
        raise UsageError(f"{where} cannot be read: {error.strerror}", hint=hint) from error
    return _decoded(raw, where, hint="leave --system out, or name another file")


def read_typed(text: str, what: str, *, hint: str | None = None) -> str:
    """Return a text of the command line, without the blanks around it; raises UsageError if it is empty or no UTF-8.

    In a locale that is not UTF-8, Python cannot have understood what was typed: its bytes are read again.
    """
    return _decoded(os.fsencode(text), what, hint=hint)


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
