"""The process in which math-verify works, so that it can be killed: it has no limit of time or memory of its own.

Knows nothing of how an answer was found, or of what the verdict is for. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import connection, parent_process
from typing import NamedTuple

_MEMORY_BYTES = 2**31
"""Address space of the process: `9^{9^{9^9}}` would take all there is."""


class Case(NamedTuple):
    """An answer to be compared with a reference."""

    answer: str
    """LaTeX; or a text in which math-verify is to find the result."""
    reference: str
    """LaTeX."""
    is_text: bool


class Verdict(NamedTuple):
    """What math-verify says."""

    correct: bool
    found: str | None
    """The result that it took from the answer."""


def serve(pipe: connection.Connection, seconds: float) -> None:
    """Answer each Case from the pipe with a Verdict, until the pipe is closed; says "" first, or why it cannot work.

    A case that takes much longer than `seconds` ends the process, even when nobody is there any more to kill it.
    """
    # Both belong to the process that started this one: it says what becomes of the case at hand.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # What sympy and the parser print must not get into a report.
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        judge = _load()
        _limit_memory()
    except Exception as error:  # noqa: BLE001 - whatever it is, only the other process can tell the user
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    with contextlib.suppress(EOFError, OSError):
        while True:
            case = pipe.recv()
            _limit_time(seconds)
            pipe.send(judge(case))


def _load() -> Callable[[Case], Verdict]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify  # noqa: PLC0415 - takes a second

    # It warns that its own limit of time is off: alarms, which a loop in C does not hear.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    boxed = [LatexExtractionConfig(boxed_match_priority=0)]
    anywhere = [LatexExtractionConfig(), ExprExtractionConfig()]

    def judge(case: Case) -> Verdict:
        reference = parse(f"\\boxed{{{case.reference}}}", boxed, parsing_timeout=None)
        if case.is_text:
            answer = parse(case.answer, anywhere, parsing_timeout=None)
        else:
            answer = parse(f"\\boxed{{{case.answer}}}", boxed, parsing_timeout=None)
        found = next((one for one in reversed(answer) if isinstance(one, str)), None)
        return Verdict(bool(verify(reference, answer, timeout_seconds=None)), found)

    return judge


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # this is a child of multiprocessing
    connection.wait([parent.sentinel])
    os._exit(1)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; macOS; a lower limit that is there already
        import resource  # noqa: PLC0415 - not on every platform

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, hard))


def _limit_time(seconds: float) -> None:
    """Have the system end this process some time after `seconds`: a long sum in C keeps all threads from running."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not on every platform

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds) + 2, hard))
