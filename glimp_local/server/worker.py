"""The process that holds a pair and answers one request after another: `python -m glimp_local.server.worker`.

Commands come in on stdin, reports go out on stdout (see `wire.py`). It ends when stdin does, which is when its server
ends, however that happens.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
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


class Worker:
    """A loaded pair and what it is asked to do. `send` may be called from any thread."""

    def __init__(self, pair: Pair, out: BinaryIO) -> None:
        self._pair = pair
        self._out = out
        self._sending = threading.Lock()
        self._asked: SimpleQueue[wire.Ask | None] = SimpleQueue()
        self._session: Session | None = None
        self._cancel = threading.Event()
        self._tokenizing = ThreadPoolExecutor(1, "tokens")

    def send(self, report: wire.Report) -> None:
        """Write a report."""
        line = wire.encode(report)
        with self._sending:
            self._out.write(line)
            self._out.flush()

    def listen(self, lines: BinaryIO) -> None:
        """Take commands until there are no more, in a thread of its own."""
        try:
            for line in lines:
                try:
                    command = wire.decode_command(line)
                except msgspec.DecodeError as error:  # whoever asked waits for a word
                    self.send(_unexpected(error))
                else:
                    self._obey(command)
        finally:  # the server has gone, or this end is broken: a new worker is better than one that hears nothing
            self._cancel.set()
            self._asked.put(None)

    def _obey(self, command: wire.Command) -> None:
        session = self._session
        match command:
            case wire.Ask():
                self._cancel.clear()
                self._asked.put(command)
            case wire.Cancel():
                self._cancel.set()
            case wire.AnswerNow() if session is not None:
                session.answer_now()
            case wire.Force(model) if session is not None:
                try:
                    session.force(model)
                except GlimpError:
                    _log.warning("the %s model is not loaded", model)
            case wire.Tokenize():  # a long text takes a while, and a cancel must not wait for it
                self._tokenizing.submit(self._tokenize, command)

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

    def work(self) -> None:
        """Answer what is asked until nothing more will be."""
        while (asked := self._asked.get()) is not None:
            try:
                self._answer(asked)
            except BrokenPipeError:  # the server has gone
                return
            except Exception as error:  # noqa: BLE001 - the next request is to be answered all the same
                self.send(_unexpected(error))

    def _answer(self, asked: wire.Ask) -> None:
        pair, settings, (*before, question) = self._pair, asked.settings, asked.messages
        objection = None if asked.anyway else pair.objection(question.content)
        if objection is not None and objection.declines:
            hint = 'to ask it all the same: "glimp": {"anyway": true}'
            raise DeclinedError(f"{objection.words}. {pair.can}", hint=hint)
        self._session = session = Session(
            pair,
            settings=settings,
            seed=asked.seed,
            history=before,
            cancel=self._cancel,
            tools=asked.tools,
            constraint=asked.constraint,
            is_raw=asked.is_raw,
        )
        try:
            for event in session.ask([question], opening=asked.opening):
                self.send(wire.Happened(event))
        finally:
            self._session = None
        shelf = pair.shelf
        self.send(wire.Done() if shelf is None else wire.Done(len(shelf), shelf.size_bytes))


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
    )


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
            limit, remark = for_conversations(pair.config.cache_ram_gb, pair.plan)
            if limit:
                pair.keep_conversations(limit)
            worker = Worker(pair, out)
            worker.send(_ready(pair, *filter(None, [remark])))
            threading.Thread(target=worker.listen, args=(lines,), name="commands", daemon=True).start()
            worker.work()


if __name__ == "__main__":
    main()
