"""The run behind `glimp solve`: load the pair, solve the problem, show it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from glimp_local.cli.display import Display
from glimp_local.events import Answer, AnyEvent, Finished, FinishReason, Text, encode, fold
from glimp_local.pair import load_pair
from glimp_local.routing import Model
from glimp_local.session import Session
from glimp_local.transcripts import EventLog

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
    display = Display(thoughts=flags["thoughts"], quiet=flags["quiet"])
    cancel = threading.Event()
    events: list[AnyEvent] = []
    with ExitStack() as stack:
        log = stack.enter_context(EventLog(flags["save"])) if flags["save"] else None
        interrupted_by = stack.enter_context(_interrupts(cancel))
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
        answer = _AnswerStream(display, hold=flags["thoughts"] and pair.markers is None)
        for event in session.ask(problem):
            if log is not None:
                log.write(event)
            if not isinstance(event, Text):
                events.append(event)
            if flags["as_jsonl"]:
                sys.stdout.buffer.write(encode(event) + b"\n")
                sys.stdout.buffer.flush()
            elif not flags["as_json"]:
                answer.take(event)
            display.show(event)
    finished = events[-1]
    assert isinstance(finished, Finished)
    if pair.history is not None:
        pair.history.add(finished.stats.entropies_nats)
    if flags["as_json"]:
        sys.stdout.buffer.write(encode(fold(events)) + b"\n")
        sys.stdout.buffer.flush()
    if finished.finish_reason == "cancelled":
        return 128 + (interrupted_by[0] if interrupted_by else signal.SIGINT)
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
        self._written = ""

    def take(self, event: AnyEvent) -> None:
        """Take an event and write what it adds to the answer."""
        if isinstance(event, Text) and event.part != "thought" and not self._hold:
            self._write(event.text)
        elif isinstance(event, Answer):
            if self._hold:
                self._write(event.text)
            if self._written and not self._written.endswith("\n"):
                self._write("\n")

    def _write(self, text: str) -> None:
        if self._on_terminal:
            self._display.pause()
        self._written = text
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _interrupts(cancel: threading.Event) -> Iterator[list[int]]:
    """Turn Ctrl-C and a polite kill into a cancel; a second one ends the process. Yields the signals received."""
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        cancel.set()
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
