"""The run behind `glimp solve`: load the pair, solve the problem, show it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from glimp_local import crash_notes
from glimp_local.cli.display import Display
from glimp_local.cli.interrupts import Interrupts
from glimp_local.cli.terminal import write_json
from glimp_local.engines.renderer import Renderer
from glimp_local.errors import CancelledError, DeclinedError
from glimp_local.events import Answer, AnyEvent, Finished, FinishReason, Text, encode, fold
from glimp_local.load import LoadRequest, load
from glimp_local.machine.choice import ALONE
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.records.daily import first_today
from glimp_local.records.event_log import EventLog
from glimp_local.session.session import Session
from glimp_local.text import Pieces

_SPENT = 4
_EXIT_CODES: dict[FinishReason, int] = {
    "done": 0,
    "failed": 1,
    "answer_budget": _SPENT,
    "context_full": _SPENT,
    "loop": _SPENT,
}


class SolveFlags(msgspec.Struct, frozen=True):
    """The flags of `glimp solve` that are not about which pair is loaded, and how."""

    system: str | None
    """The system message; None for the pair's own."""
    seed: int | None
    thoughts: bool
    as_json: bool
    as_jsonl: bool
    save: Path | None
    quiet: bool
    anyway: bool
    """Ask what the pair would decline."""


def run(request: LoadRequest, problem: str, flags: SolveFlags, renderer: Renderer) -> int:
    """Solve a problem the way the flags say; return the exit code. Raises DeclinedError if it is not for the pair."""
    display = Display(thoughts=flags.thoughts, quiet=flags.quiet)
    with Interrupts() as interrupts:
        return _solve(request, problem, flags, display=display, renderer=renderer, interrupts=interrupts)


def _solve(
    request: LoadRequest,
    problem: str,
    flags: SolveFlags,
    *,
    display: Display,
    renderer: Renderer,
    interrupts: Interrupts,
) -> int:
    events: list[AnyEvent] = []
    with ExitStack() as stack:
        log = stack.enter_context(EventLog(flags.save)) if flags.save else None
        stack.enter_context(display.running())
        pair = stack.enter_context(
            load(request, cancel=interrupts.cancel, on_progress=display.loading, renderer=renderer)
        )
        _decline(pair, problem, flags)
        described = {model: f"{backend.name} ({backend.where})" for model, backend in pair.backends.items()}
        display.loaded(described, pair.placement)
        if not flags.quiet and (said := _why_this_pair(pair)) is not None:
            display.say(said)
        system = pair.config.system if flags.system is None else flags.system
        before = [Message("system", system)] if system else []
        session = Session(pair, seed=flags.seed, history=before, cancel=interrupts.cancel)
        if flags.as_jsonl and sys.stdout.isatty():
            display.pause()
        crash_notes.note("kept", _kept(flags))
        answer = _AnswerStream(display, steps_are_shown=flags.thoughts and pair.markers is None)
        for event in session.ask(problem):
            if log is not None:
                log.write(event)
            if not isinstance(event, Text):
                events.append(event)
            if flags.as_jsonl:
                write_json(encode(event))
            elif not flags.as_json:
                answer.take(event)
            display.show(event)
    finished = events[-1]
    assert isinstance(finished, Finished)
    if (history := pair.entropies()) is not None:
        history.add(finished.stats.entropies_nats)
    if flags.as_json:
        write_json(encode(fold(events)))
    return _exit_code(finished, log, display, interrupts)


def _why_this_pair(pair: Pair) -> str | None:
    """Return why a narrow pair answers though nobody named it, and once a day what to get instead; None if not due.

    That a pair on this machine cannot be loaded is said each time.
    """
    if pair.fallback is None:
        return None
    is_due = first_today("offer")
    if pair.fallback == ALONE and not is_due:
        return None
    said = [f"the pair {pair.name!r} answers: {pair.fallback}", *(_elsewhere(pair) if is_due else ())]
    return ". ".join(said)


def _elsewhere(pair: Pair) -> list[str]:
    return [] if pair.offer is None else [f"One that reasons about anything: {pair.offer}"]


def _decline(pair: Pair, problem: str, flags: SolveFlags) -> None:
    """Raise DeclinedError if a pair is not for a problem, unless it is to be asked anyway."""
    objection = None if flags.anyway else pair.objection(problem)
    if objection is not None and objection.declines:
        said = [objection.words, pair.can, *_elsewhere(pair), "To ask it all the same: --anyway"]
        raise DeclinedError(". ".join(said))


def _kept(flags: SolveFlags) -> str:
    """Say where what is written would be if the process were ended at once; --json is printed at the end alone."""
    places = [*([] if flags.as_json else ["on stdout"]), *([f"in {flags.save}"] if flags.save else [])]
    return f"what was written is {' and '.join(places)}" if places else ""


def _exit_code(finished: Finished, log: EventLog | None, display: Display, interrupts: Interrupts) -> int:
    if finished.finish_reason == "cancelled":
        return interrupts.exit_code or CancelledError.exit_code
    if log is not None and log.error is not None:
        display.say(f"--save {log.path} is incomplete: {log.error.strerror}")
        return 1
    return _EXIT_CODES[finished.finish_reason]


class _AnswerStream:
    """Writes the answer to stdout as it comes.

    If the steps are the answer (a pair that does not think) and `steps_are_shown` on the same terminal, it stands there
    already, and is not written again.
    """

    def __init__(self, display: Display, *, steps_are_shown: bool) -> None:
        self._display = display
        self._on_terminal = sys.stdout.isatty()
        self._is_shown = steps_are_shown and self._on_terminal and sys.stderr.isatty()
        self._last = ""
        self._pieces = Pieces()

    def take(self, event: AnyEvent) -> None:
        """Take an event and write what it adds to the answer."""
        if isinstance(event, Text) and event.part != "thought" and not self._is_shown:
            self._write(event.text)
        elif isinstance(event, Answer) and self._last and not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        self._last = text
        if self._on_terminal:
            self._display.pause()
            text = self._pieces.take(text)
        sys.stdout.write(text)
        sys.stdout.flush()
