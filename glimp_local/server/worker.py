"""The process that holds a pair and answers requests: `python -m glimp_local.server.worker`.

Commands come in on stdin, reports go out on stdout (see `wire.py`). It ends when stdin does, which is when its server
ends, however that happens. Each run has a thread; there are as many as the pair can have runs at the same time, which
is one if this machine computes any of its models.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec

from glimp_local.errors import DeclinedError, GlimpError, UsageError
from glimp_local.load import load
from glimp_local.machine.spare import for_conversations
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.server import wire
from glimp_local.session.session import Session

_EXAMPLE = "How many primes are there below 30?"

_log = logging.getLogger(__name__)


class _Run:
    """One run, from its command to its end."""

    def __init__(self) -> None:
        self.cancel = threading.Event()  # of its own: a session clears it
        self.session: Session | None = None
        """None before it has begun."""


class Worker:
    """A loaded pair and what it is asked to do. `send` may be called from any thread."""

    def __init__(self, pair: Pair, out: BinaryIO) -> None:
        self._pair = pair
        self._out = out
        self._sending = threading.Lock()
        self._runs: dict[int, _Run] = {}
        self._answering = ThreadPoolExecutor(pair.parallel, "run")
        self._tokenizing = ThreadPoolExecutor(1, "tokens")

    def send(self, report: wire.Report) -> None:
        """Write a report."""
        line = wire.encode(report)
        with self._sending:
            self._out.write(line)
            self._out.flush()

    def work(self, lines: BinaryIO) -> None:
        """Take commands until there are no more, and have runs come to their ends then."""
        try:
            for line in lines:
                try:
                    command = wire.decode_command(line)
                except msgspec.DecodeError as error:  # whoever asked waits for a word
                    self.send(wire.Done(wire.run_of(line), _unexpected(error)))
                else:
                    self._obey(command)
        finally:  # the server has gone, or this end is broken: a new worker is better than one that hears nothing
            for begun in list(self._runs.values()):
                begun.cancel.set()
            self._answering.shutdown()

    def _obey(self, command: wire.Command) -> None:
        match command:
            case wire.Begin(number, asked):
                self._runs[number] = new = _Run()
                self._answering.submit(self._answer, number, new, asked)
            case wire.Cancel(number) if run := self._runs.get(number):
                run.cancel.set()
            case wire.AnswerNow(number) if session := self._session(number):
                session.answer_now()
            case wire.Force(number, model) if session := self._session(number):
                try:
                    session.force(model)
                except GlimpError:
                    _log.warning("the %s model is not loaded", model)
            case wire.Tokenize():  # a long text takes a while, and a cancel must not wait for it
                self._tokenizing.submit(self._tokenize, command)

    def _session(self, number: int) -> Session | None:
        run = self._runs.get(number)
        return None if run is None else run.session

    def _tokenize(self, command: wire.Tokenize) -> None:
        try:
            self.send(wire.Tokenized(command.number, self._tokens(command)))
        except BrokenPipeError:  # the server has gone
            return
        except Exception as error:  # noqa: BLE001 - whoever asked waits for a word
            self.send(wire.Tokenized(command.number, failed=_unexpected(error)))

    def _tokens(self, command: wire.Tokenize) -> tuple[int, ...]:
        backends = self._pair.backends
        backend = backends[command.model] if command.model else next(iter(backends.values()))
        if backend.vocabulary is None:
            raise UsageError(f"{backend.name} does not reveal its tokens")
        return tuple(backend.vocabulary.tokenize(command.text.encode()))

    def _answer(self, number: int, run: _Run, asked: wire.Ask) -> None:
        """Answer a request, in a thread of the run's own."""
        failed: wire.Failed | None = None
        try:
            try:
                self._write(number, run, asked)
            except BrokenPipeError:  # the server has gone
                raise
            except Exception as error:  # noqa: BLE001 - the next request is to be answered all the same
                failed = _unexpected(error)
            finally:
                del self._runs[number]
            self.send(self._done(number, failed))
        except BrokenPipeError:
            return

    def _write(self, number: int, run: _Run, asked: wire.Ask) -> None:
        pair, settings, (*before, question) = self._pair, asked.settings, asked.messages
        objection = None if asked.anyway else pair.objection(question.content)
        if objection is not None and objection.declines:
            hint = 'to ask it all the same: "glimp": {"anyway": true}'
            raise DeclinedError(f"{objection.words}. {pair.can}", hint=hint)
        run.session = Session(
            pair,
            settings=settings,
            seed=asked.seed,
            history=before,
            cancel=run.cancel,
            wait=True,
            tools=asked.tools,
            constraint=asked.constraint,
            is_raw=asked.is_raw,
        )
        for event in run.session.ask([question], opening=asked.opening):
            self.send(wire.Happened(number, event))

    def _done(self, number: int, failed: wire.Failed | None) -> wire.Done:
        shelf = self._pair.shelf
        kept, kept_bytes = (0, 0) if shelf is None else (len(shelf), shelf.size_bytes)
        is_outdated = any(backend.is_outdated for backend in self._pair.backends.values())
        return wire.Done(number, failed, kept, kept_bytes, is_outdated)


def failed(error: GlimpError) -> wire.Failed:
    """Report an error."""
    return wire.Failed(type(error).__name__, str(error), error.hint, error.exit_code)


def _unexpected(error: Exception) -> wire.Failed:
    if isinstance(error, GlimpError):
        return failed(error)
    _log.error("a request failed", exc_info=error)
    return wire.Failed("InternalError", f"unexpected error: {error!r}")


def _ready(pair: Pair, *remarks: str) -> wire.Ready:
    models: dict[Model, wire.ServedModel] = {}
    for model, backend in pair.backends.items():
        path: Path | None = getattr(backend, "path", None)
        models[model] = wire.ServedModel(
            name=backend.name,
            where=backend.where,
            identity=backend.identity,
            context=backend.context,
            trained_context=backend.trained_context,
            size_bytes=None if path is None else path.stat().st_size,
            tool_style=None if pair.config.only else backend.tool_style,
            is_remote=model in pair.config.remote_models,
        )
    config = pair.config
    return wire.Ready(
        pair=pair.name,
        models=models,
        settings=config.run,
        thinks=pair.markers is not None,
        system=config.system,
        example=config.example.strip() or _EXAMPLE,
        notices=(*pair.notices, *remarks),
        mapped_bytes=0 if pair.plan is None else sum(part.mapped_bytes for part in pair.plan.parts),
        parallel=pair.parallel,
    )


def _keep_conversations(pair: Pair) -> str | None:
    """Have a pair keep conversations; return a remark if it keeps less of them than was asked for."""
    asked_gb = pair.config.cache_ram_gb
    if not pair.config.local_models:
        if asked_gb == "auto" or not asked_gb:
            return None
        return f"{asked_gb:g} GB were to keep what is read of conversations (--cache-ram): the pair's servers do that"
    limit, remark = for_conversations(asked_gb, pair.plan)
    if limit:
        pair.keep_conversations(limit)
    return remark


class _Neighbours:
    """Other pairs that the server has loaded."""

    def __init__(self, mapped_bytes: int, lines: BinaryIO, out: BinaryIO) -> None:
        self.mapped_bytes = mapped_bytes
        self._lines, self._out = lines, out

    def make_room(self) -> bool:
        """Ask the server for room, and wait for it."""
        self._out.write(wire.encode(wire.Short()))
        self._out.flush()
        line = self._lines.readline()
        room = wire.decode_command(line) if line else None  # without a line, the server has gone
        if not isinstance(room, wire.Room):
            return False
        self.mapped_bytes = room.mapped_bytes
        return room.was_made


def main() -> None:
    """Load the pair that the first line asks for, and work."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server ends this process, when its requests have come to their end
    # What llama.cpp prints goes to stderr, so that nothing but reports is on stdout.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        lines = sys.stdin.buffer
        asked = wire.decode_load(lines.readline())
        try:
            pair = load(asked.request, neighbours=_Neighbours(asked.mapped_bytes, lines, out))
        except GlimpError as error:
            out.write(wire.encode(failed(error)))
            return
        with pair:
            remark = _keep_conversations(pair)
            worker = Worker(pair, out)
            worker.send(_ready(pair, *filter(None, [remark])))
            worker.work(lines)


if __name__ == "__main__":
    main()
