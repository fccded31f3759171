"""Chat templates rendered in a process of their own, within limits of time, memory and output.

Promises: whatever a template does, `render` returns within the limit or when `cancel` is set, with the text or with an
error in one sentence; no process stays behind. Knows nothing of models or messages.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Self

import msgspec
import psutil

from glimp_local import apart
from glimp_local.errors import CancelledError, GlimpError, ModelUnreadableError
from glimp_local.text import one_line

SECONDS = 5.0
"""Longest time for one rendering; real templates take milliseconds."""
MEMORY_BYTES = 2**28
"""Most memory the process may take."""
CHARACTERS = 250_000
"""Longest text a template may write; what users and models wrote is not in it, but put in afterwards.

Real ones write some thousands. This is little enough to be tokenised in a moment: that cannot be interrupted,
and a vocabulary can take a time that grows with the square of the length.
"""

_START_SECONDS = 60.0
"""For Python and Jinja to start, on a busy machine with a slow disk, too."""
_LOOK_SECONDS = 0.02
"""Between two looks at `cancel`, the clock and the memory."""
_STACK_BYTES = 2**18
"""For the thread that talks to the process."""
_REPLY_BYTES = 8 * CHARACTERS
"""A character takes at most six bytes in JSON."""


class _Reply(msgspec.Struct):
    text: str | None = None
    error: str | None = None


class _Failed(Exception):  # noqa: N818 - no caller sees it
    """The process gave no reply; says why."""


class Renderer:
    """The process that renders chat templates: begun at once, so that it starts while models load.

    It is started again after one that had to be killed. Several threads may use it: they take turns. A context manager:
    leaving it ends the process. Raises GlimpError if the system starts no process.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._cancel: threading.Event | None = None
        self._lock = threading.Lock()
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._is_closed = False
        self._start()

    def render(self, source: str, *, cancel: threading.Event | None = None, **context: Any) -> str:
        """Render a template with these variables and those that every chat template may use.

        Raises ModelUnreadableError if that fails or goes beyond a limit, CancelledError if `cancel` is set meanwhile,
        and GlimpError if the process does not start, or was closed.
        """
        while not self._lock.acquire(timeout=_LOOK_SECONDS):
            if cancel is not None and cancel.is_set():
                raise _cancelled()
        try:
            self._cancel = cancel
            return self._render(source, context)
        finally:
            self._lock.release()

    def _render(self, source: str, context: dict[str, Any]) -> str:
        if self._is_closed:
            raise GlimpError("the pair has been closed")
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        try:
            self._await_start()
            line = json.dumps({"source": source, "context": context}).encode() + b"\n"
            reply = self._exchange(line, self._seconds)
        except _Failed as failure:
            self._stop()
            raise _unusable(str(failure)) from failure
        except BaseException:
            self._stop()
            raise
        if reply.text is None:
            raise _unusable(one_line(reply.error or ""))
        return reply.text

    def close(self) -> None:
        """End the process for good. Safe to call twice."""
        self._is_closed = True
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        limits = (f"{self._seconds:g}", str(MEMORY_BYTES), str(CHARACTERS))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this package's own module
                [*apart.command("glimp_local.engines.render_process"), *limits],
                env=apart.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal is for this process, which stops that one
            )
        except OSError as error:
            raise GlimpError(
                f"the process for chat templates cannot be started: {error.strerror}",
                hint="close other programs, or raise the limit of processes or memory",
            ) from error
        self._is_ready = False

    def _await_start(self) -> None:
        if self._is_ready:
            return
        try:
            self._exchange(b"", _START_SECONDS)
        except _Failed as failure:
            raise GlimpError(
                f"the process for chat templates does not start: {failure}",
                hint="pip install --force-reinstall jinja2",
            ) from failure
        self._is_ready = True

    def _exchange(self, line: bytes, seconds: float) -> _Reply:
        """Send a line and wait for the reply; the process is dead after any error. Raises _Failed, CancelledError."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        replies: list[bytes] = []

        def talk(write: Callable[[bytes], object], flush: Callable[[], None], read: Callable[[int], bytes]) -> None:
            with suppress(OSError):  # it was killed
                write(line)
                flush()
                replies.append(read(_REPLY_BYTES))

        # In a thread of its own: on Windows nothing else lets one wait for a pipe and look at something else meanwhile.
        args = process.stdin.write, process.stdin.flush, process.stdout.readline
        talking = threading.Thread(target=talk, args=args, name="glimp template", daemon=True)
        usual = threading.stack_size(_STACK_BYTES)  # 8 MB may not be left beside models
        try:
            talking.start()
        except RuntimeError as error:
            process.kill()
            raise GlimpError(
                "no thread can be started for chat templates: memory, or the number of threads, is limited",
                hint="close other programs, or raise the limits that `ulimit -a` shows",
            ) from error
        finally:
            threading.stack_size(usual)
        end = monotonic() + seconds
        try:
            while talking.is_alive():
                talking.join(_LOOK_SECONDS)
                if talking.is_alive():
                    self._check(process, end, seconds)
        except BaseException:
            process.kill()
            talking.join()
            raise
        with suppress(msgspec.DecodeError, IndexError):
            return msgspec.json.decode(replies[0], type=_Reply)
        process.kill()  # it has gone, or talks nonsense
        if self._is_cancelled:  # what ended this process may have been meant for both
            raise _cancelled()
        raise _Failed(f"the process that rendered it was {apart.ending(process.wait())}")

    @property
    def _is_cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    def _check(self, process: subprocess.Popen[bytes], end: float, seconds: float) -> None:
        """Raise what there is to be raised while a template is being rendered."""
        if self._is_cancelled:
            raise _cancelled()
        if monotonic() > end:
            raise _Failed(f"it takes longer than {seconds:g} seconds")
        with suppress(psutil.Error):  # it has just ended
            if psutil.Process(process.pid).memory_info().rss > MEMORY_BYTES:
                raise _Failed("it takes too much memory")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):  # what was not sent cannot be sent any more
                    pipe.close()


def _cancelled() -> CancelledError:
    return CancelledError("cancelled while the chat template was rendered")


def _unusable(why: str) -> ModelUnreadableError:
    return ModelUnreadableError(
        f"the model's chat template cannot be rendered: {why}", hint="give another template with --chat-template FILE"
    )
