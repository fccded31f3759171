"""The run behind `glimp solve`: load the pair, solve the problem, show it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import ExitStack
from typing import Any

from glimp_local.cli.display import Display
from glimp_local.errors import CancelledError
from glimp_local.events import Answer, AnyEvent, Finished, FinishReason, Text, encode, fold
from glimp_local.pair import load_pair
from glimp_local.routing import Model
from glimp_local.session import Session
from glimp_local.transcripts import EventLog

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SPENT = 4
_EXIT_CODES: dict[FinishReason, int] = {
    "done": 0,
    "failed": 1,
    "answer_budget": _SPENT,
    "context_full": _SPENT,
    "loop": _SPENT,
}


def run(problem: str, settings: dict[str, Any], options: dict[Model, dict[str, int]], flags: dict[str, Any]) -> int:
    """Solve a problem the way the flags say; give the exit code."""
    signals: list[int] = []
    try:
        return _solve(problem, settings, options, flags, signals)
    except CancelledError as error:  # while the models were loading
        sys.stderr.write(f"glimp: {error}\n")
        return 128 + signals[0]
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # all is done: what is pressed now must not change the exit code


def _solve(
    problem: str,
    settings: dict[str, Any],
    options: dict[Model, dict[str, int]],
    flags: dict[str, Any],
    signals: list[int],
) -> int:
    display = Display(thoughts=flags["thoughts"], quiet=flags["quiet"])
    cancel = threading.Event()
    _catch_interrupts(cancel, signals)
    events: list[AnyEvent] = []
    with ExitStack() as stack:
        log = stack.enter_context(EventLog(flags["save"])) if flags["save"] else None
        stack.enter_context(display.running())
        pair = stack.enter_context(
            load_pair(
                flags["name"],
                small=flags["small"],
                large=flags["large"],
                models_file=flags["models_file"],
                cancel=cancel,
                on_progress=display.loading,
                engine_options=options,
                **settings,
            )
        )
        display.loaded({model: f"{engine.name} ({engine.device})" for model, engine in pair.engines.items()})
        session = Session(pair, seed=flags["seed"])
        if flags["as_jsonl"] and sys.stdout.isatty():
            display.pause()
        answer = _AnswerStream(display, hold=flags["thoughts"] and pair.markers is None)
        for event in session.ask(problem):
            if log is not None:
                log.write(event)
            if not isinstance(event, Text):
                events.append(event)
            if flags["as_jsonl"]:
                _write_line(encode(event))
            elif not flags["as_json"]:
                answer.take(event)
            display.show(event)
    finished = events[-1]
    assert isinstance(finished, Finished)
    if pair.history is not None:
        pair.history.add(finished.stats.entropies_nats)
    if flags["as_json"]:
        _write_line(encode(fold(events)))
    return _exit_code(finished, log, display, signals)


def _write_line(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _exit_code(finished: Finished, log: EventLog | None, display: Display, signals: list[int]) -> int:
    if finished.finish_reason == "cancelled":
        return 128 + signals[0]
    if log is not None and log.error is not None:
        display.say(f"--save {log.path} is incomplete: {log.error.strerror}")
        return 1
    return _EXIT_CODES[finished.finish_reason]


class _AnswerStream:
    """Writes the answer to stdout as it comes.

    Where the steps are the answer (a pair that does not think) and both go to one terminal, `hold` keeps the answer
    back until the steps are shown.
    """

    def __init__(self, display: Display, *, hold: bool) -> None:
        self._display = display
        self._on_terminal = sys.stdout.isatty()
        self._hold = hold and self._on_terminal
        self._last = ""

    def take(self, event: AnyEvent) -> None:
        """Take an event and write what it adds to the answer."""
        if isinstance(event, Text) and event.part != "thought" and not self._hold:
            self._write(event.text)
        elif isinstance(event, Answer):
            if self._hold:
                self._display.space()
                self._write(event.text)
            if self._last and not self._last.endswith("\n"):
                self._write("\n")

    def _write(self, text: str) -> None:
        if self._on_terminal:
            self._display.pause()
        self._last = text
        sys.stdout.write(text)
        sys.stdout.flush()


def _catch_interrupts(cancel: threading.Event, signals: list[int]) -> None:
    """Turn Ctrl-C and a polite kill into a cancel, noted in `signals`; a second one ends the process at once.

    At once, without freeing anything: what was written is on the disk, and the first signal may be at the freeing now.
    The handlers stay to the end of the run, which is the last thing the process does.
    """

    def stop(number: int, _frame: object) -> None:
        if signals:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the status line hides the cursor
            os._exit(128 + number)
        signals.append(number)
        cancel.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
