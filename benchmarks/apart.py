"""Work done in a process of its own: what one takes cannot be measured where other things were done before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.setup import MissingError

T = TypeVar("T", bound=msgspec.Struct)


def ask(module: str, asked: msgspec.Struct, answer: type[T], *, within: Sequence[str] = ()) -> T:
    """Have a module run with a record on its standard input; give the one it prints.

    `within` is the beginning of the command, such as one that enters a namespace. Raises MissingError with what the
    module said where it failed.
    """
    command = [*within, sys.executable, "-m", module]
    text = msgspec.json.encode(asked, enc_hook=str)
    done = subprocess.run(command, input=text, capture_output=True, check=False)  # noqa: S603 - this package
    if done.returncode:
        raise MissingError(f"{module} failed: {done.stderr[-500:].decode('utf-8', 'replace')}")
    return msgspec.json.decode(done.stdout, type=answer)


def asked_for(kind: type[T]) -> T:
    """Read the record that the process was given."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=kind, dec_hook=_path)


def tell(found: msgspec.Struct) -> None:
    """Print the answer."""
    sys.stdout.buffer.write(msgspec.json.encode(found))


def _path(kind: type, value: object) -> Path:
    """Read back what msgspec has no form for: paths are all there is of that."""
    assert kind is Path
    return Path(str(value))
