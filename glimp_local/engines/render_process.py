"""The process in which chat templates are rendered, so that it can be killed. `renderer.Renderer` runs it.

A template comes out of a stranger's file. Jinja's sandbox keeps it away from Python's insides, but may compute for ever
and fill all memory. Reads requests and writes replies, one JSON object a line; the first reply says that it is ready.
It ends with the process that started it: at the end of its input, or when a rendering has taken too much time.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOO_MUCH_MEMORY = "it takes too much memory"
_ERROR_CHARACTERS = 300


class _Generation(Extension):
    """`{% generation %}`, which marks what a model is trained on, and changes nothing here."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's way

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Give what stands inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(value: Any, **options: Any) -> str:
    """Jinja's own filter would escape HTML."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    """Make what Transformers and the binding render with; templates count on each detail."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    return environment


@lru_cache(maxsize=4)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


def _pieces(source: str, context: dict[str, Any]) -> Iterator[str]:
    """Render with all that the binding gives a template, too."""
    usual = {
        "enable_thinking": True,
        "functions": None,
        "function_call": None,
        "tools": None,
        "tool_choice": None,
        "raise_exception": _raise,
        "strftime_now": lambda form: datetime.now().strftime(form),  # noqa: DTZ005 - the user's own time is meant
    }
    return _compiled(source).generate({**usual, **context})


def _rendered(source: str, context: dict[str, Any], characters: int) -> str:
    pieces, length = list[str](), 0
    for piece in _pieces(source, context):
        length += len(piece)
        if length > characters:
            raise ValueError(f"it writes more than {characters:,} characters")
        pieces.append(piece)
    text = "".join(pieces)
    text.encode()  # half a surrogate pair is no text
    return text


def _error(error: Exception) -> str:
    """Say what went wrong; an error's own text can fail again, for it may hold what the template made."""
    if isinstance(error, MemoryError):
        return TOO_MUCH_MEMORY
    said = ""
    with suppress(Exception):
        said = str(error)[:_ERROR_CHARACTERS]
    name = "" if said and isinstance(error, TemplateError | ValueError) else type(error).__name__
    return ": ".join(filter(None, (name, said)))


def _limit_memory(size: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows; a lower limit that is there already
        import resource  # noqa: PLC0415 - not on every platform

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def _limit_time(seconds: float) -> None:
    """Have the system end this process some time after `seconds`, even if nobody is there any more to kill it."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not on every platform

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds) + 1, hard))


def _say(reply: dict[str, str]) -> None:
    sys.stdout.buffer.write(json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def main(seconds: float, memory_bytes: int, characters: int) -> None:
    """Render what is asked for, within these limits, until the end of the input."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process that started this one says what becomes of both
    _limit_memory(memory_bytes)
    with suppress(BrokenPipeError):
        _say({"text": ""})
        for line in sys.stdin.buffer:
            _limit_time(seconds)
            try:
                reply = {"text": _rendered(**json.loads(line), characters=characters)}
            except Exception as error:  # noqa: BLE001 - anything can be raised by what a stranger wrote
                reply = {"error": _error(error)}
            _say(reply)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
