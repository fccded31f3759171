"""The process that computes, as the server sees it: its commands, its reports, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress

import msgspec

from glimp_local.errors import CrashError, GlimpError
from glimp_local.routing import Model
from glimp_local.server import wire

_log = logging.getLogger(__name__)

_LONGEST_LINE = 64 * 2**20
_END_SECONDS = 5.0
"""A worker that is told to end gets this long."""


class WorkerError(GlimpError):
    """An error that a worker reported."""

    def __init__(self, failed: wire.Failed) -> None:
        super().__init__(failed.message, hint=failed.hint)
        self.kind = failed.kind
        """Name of the class of the error in the worker."""
        self.exit_code = failed.exit_code


class LoadError(WorkerError):
    """A pair that could not be loaded."""


class RequestError(WorkerError):
    """A request that the worker refused, or could not bring to its end."""


class Worker:
    """One process that computes. The reports of a run are in order; behind the last of all, every wait gives None."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._loading: asyncio.Queue[wire.Report | None] = asyncio.Queue()
        self._runs: dict[int, asyncio.Queue[wire.Happened | wire.Done | None]] = {}
        self._asked: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._number = 0
        self.has_ended = False
        """Has it said all there is to say?"""
        self.said = 0
        """How many lines it has written."""
        self.was_ready = False
        """Has it loaded its pair?"""
        self.kept = self.kept_bytes = 0
        """Conversations that it keeps in memory, and what they take."""
        self.reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, load: wire.Load) -> Worker:
        """Start a worker that loads a pair."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "glimp_local.server.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is for the server, which lets the worker end in order
        )
        assert process.stdin is not None
        process.stdin.write(wire.encode_load(load))
        return cls(process)

    async def _read(self) -> None:
        """Put reports where they are waited for, until there are no more."""
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self.said += 1
                report = wire.decode_report(line)
                match report:
                    case wire.Tokenized():
                        self._tokenized(report)
                    case wire.Happened() | wire.Done():
                        if (reports := self._runs.get(report.run)) is not None:
                            reports.put_nowait(report)
                    case _:
                        self._loading.put_nowait(report)
        except (msgspec.DecodeError, ValueError):
            _log.exception("a worker said what cannot be read")
            self.kill()
        finally:
            self.has_ended = True
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(CrashError("the process that computes ended"))
            self._asked.clear()
            self._loading.put_nowait(None)
            for reports in self._runs.values():
                reports.put_nowait(None)

    def _tokenized(self, report: wire.Tokenized) -> None:
        asked = self._asked.pop(report.number, None)
        if asked is None or asked.done():
            return
        if report.failed is None:
            asked.set_result(report.ids)
        else:
            asked.set_exception(RequestError(report.failed))

    async def loaded(self) -> wire.Report | None:
        """Wait for what it says next of the pair that it loads; None if it has ended."""
        report = await self._loading.get()
        if report is None:
            self._loading.put_nowait(None)
        return report

    def begin(self, ask: wire.Ask) -> int:
        """Have it begin a run, and return the run's number; whoever calls this calls `end` as well."""
        self._number += 1
        self._runs[self._number] = asyncio.Queue()
        if self.has_ended:
            self._runs[self._number].put_nowait(None)
        self.send(wire.Begin(self._number, ask))
        return self._number

    async def report(self, run: int) -> wire.Happened | wire.Done | None:
        """Wait for what it says next of a run; None if it has ended before the run."""
        return await self._runs[run].get()

    def end(self, run: int) -> None:
        """Forget a run that is over."""
        del self._runs[run]

    @property
    def is_at_work(self) -> bool:
        """Is there a run that is not over?"""
        return bool(self._runs)

    def send(self, command: wire.Command) -> None:
        """Send a command; nothing happens if it has ended."""
        stdin = self.process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(wire.encode(command))

    async def tokenize(self, text: str, model: Model | None) -> tuple[int, ...]:
        """Split a text into tokens of a model; raises RequestError, and CrashError if the worker ends."""
        if self.has_ended:
            raise CrashError("the process that computes ended")
        self._number += 1
        asked: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._asked[self._number] = asked
        self.send(wire.Tokenize(self._number, text, model))
        return await asked

    def kill(self) -> None:
        """End the process at once; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def crash(self) -> CrashError:
        """Make the error that says how it ended."""
        code = await self.process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return CrashError(f"the process that computes ended {how}; the next request loads the pair again")

    async def close(self) -> None:
        """Cancel what is running and end the process; one that does not end in time is killed."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), _END_SECONDS)
        if self.process.returncode is None:
            self.kill()
        with suppress(ConnectionError):
            await self.reader
