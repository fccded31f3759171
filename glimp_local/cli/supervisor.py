"""The small process in front of the one that computes: it outlives a crash, puts the terminal right and says so.

llama.cpp, or the system where memory is short, can end a process at any moment. So a command that loads models does
its work in a child. The parent waits, and ends as the child does: with its exit code, or by the same signal. It stops
when the child is stopped, so that Ctrl-Z and `fg` work, and passes on the signals that no key has sent to both.
The child ends with its parent. Windows, which has no fork, does without all this.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from glimp_local import crash_notes

_EXECUTES = os.uname().sysname == "Darwin"
"""Does the child execute the program again? Metal does not work in a child that was only forked; elsewhere that is
enough, and takes 2 ms in place of 60."""
_HANDED_OVER = "GLIMP_SUPERVISED"
"""A child that executes the program again finds its ends of the two pipes in this variable."""

_KEYS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP}
_PASSED_ON = _KEYS | {signal.SIGHUP, signal.SIGTERM}
_AWAITED = _PASSED_ON | {signal.SIGCHLD, signal.SIGALRM}
_CRASHES = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGKILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}

_WAKING_SECONDS = 0.2
"""After this time in the foreground again the child is awake, too, or has to be woken."""
_ORPHAN_SECONDS = 10
"""A child whose parent is gone ends in order within this time, or without."""

_RPC = "ggml-rpc.cpp"
"""Where llama.cpp gives up for the sake of an RPC server."""

_SCREEN_LEFT = (
    b"\x1b\\"  # ends whatever sequence was cut short
    b"\x1b[?2026l"  # a frame that was not finished is shown
    b"\x1b[?2048l\x1b[?2004l"  # reports of the window's size, bracketed paste
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # the mouse
    b"\x1b]22;default\x07"  # the shape of its pointer
    b"\x1b[<u"  # kitty's keyboard protocol: before the alternate screen is left
    b"\x1b[?1049l\x1b[?1004l"  # the alternate screen, reports of the focus
    b"\x1b[?7h\x1b[?25h\x1b[0m"  # lines wrap, the cursor is shown, no colours
)
"""Switches off whatever Textual's driver switches on; what is off already stays off."""
_LINE_LEFT = b"\x1b[0m\x1b[?25h\n"
"""The status line of the other commands hides the cursor."""


def supervise(command: str) -> None:
    """Return in the process that is to do the work; its parent never returns. Call it before any thread is started."""
    if (handed_over := os.environ.pop(_HANDED_OVER, None)) is not None:
        _begin(*map(int, handed_over.split(",")))
        return
    modes = _terminal_modes()
    notes, notes_end = os.pipe()
    alive, alive_end = os.pipe()  # nothing is written: what is read is that the parent has closed it
    for end in (notes, notes_end):
        os.set_blocking(end, False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)  # none may come between the fork and the waiting
    on_child = signal.signal(signal.SIGCHLD, lambda *_: None)  # only a signal that somebody wants can be waited for
    child = _fork()
    if child:
        os.close(notes_end)
        os.close(alive)
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)  # the child stops for these, and its parent with it
        _end(*_follow(child, notes), command, modes)
    signal.signal(signal.SIGCHLD, on_child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if child is None:
        for end in (notes, notes_end, alive, alive_end):
            os.close(end)
        return
    os.close(notes)
    os.close(alive_end)
    if _EXECUTES:
        for end in (notes_end, alive):
            os.set_inheritable(end, True)
        os.environ[_HANDED_OVER] = f"{notes_end},{alive}"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program
    _begin(notes_end, alive)


def _fork() -> int | None:
    try:
        return os.fork()
    except OSError as error:
        sys.stderr.write(
            f"glimp: cannot start a second process ({error.strerror}), so nothing will tidy up after a crash\n"
        )
        return None


# In the child.


def _begin(notes: int, alive: int) -> None:
    for end in (notes, alive):
        os.set_inheritable(end, False)
    crash_notes.open_to(notes)
    with suppress(RuntimeError):  # no thread can be started: it will soon be said why
        threading.Thread(target=_end_with_parent, args=(alive,), name="glimp parent", daemon=True).start()


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


# In the parent.


def _terminal_modes() -> list[Any] | None:
    if not os.isatty(0):
        return None
    return termios.tcgetattr(0)


def _follow(child: int, pipe: int) -> tuple[int, dict[str, str]]:
    """Wait for the end of the child, passing signals on; return how it ended, and its notes."""
    notes: dict[str, str] = {}
    asleep = False
    while True:
        found = 1
        while found:
            found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            notes |= crash_notes.read_notes(pipe)
            if found and os.WIFSTOPPED(status):
                asleep = True
                os.kill(os.getpid(), signal.SIGSTOP)  # the shell shows its prompt
                # Here both are awake again, unless only this process was woken.
                signal.setitimer(signal.ITIMER_REAL, _WAKING_SECONDS)
            elif found and os.WIFCONTINUED(status):
                asleep = False
            elif found:
                return os.waitstatus_to_exitcode(status), notes
        number, by_key = _next_signal()
        if number == signal.SIGALRM and asleep:
            os.kill(child, signal.SIGCONT)
        elif number in _PASSED_ON and not by_key:
            os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    """Wait for a signal; say whether it came from the keyboard, in which case the child has it already."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(_AWAITED)
        number, is_from_kernel = info.si_signo, info.si_code > 0
    else:  # macOS does not say
        number = signal.sigwait(_AWAITED)
        is_from_kernel = os.isatty(0) and _is_in_foreground()
    return number, is_from_kernel and number in _KEYS  # of a hang-up, the kernel may tell this process alone


def _is_in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True  # a terminal that has no jobs


def _end(code: int, notes: dict[str, str], command: str, modes: list[Any] | None) -> NoReturn:
    """End as the child did; where it crashed, or was killed, put the terminal right and say so first."""
    if code < 0:
        _put_right(modes, screen=bool(notes.get("screen")))
        if -code not in _CRASHES:
            _die_of(-code)
        code = _report(-code, notes, command)
    os._exit(code)


def _put_right(modes: list[Any] | None, *, screen: bool) -> None:
    with suppress(OSError, termios.error):  # a terminal that was hung up
        if not screen:
            if os.isatty(2):
                os.write(2, _LINE_LEFT)
        elif modes is not None and _is_in_foreground():  # the terminal is not another program's
            os.write(1, _SCREEN_LEFT)
            termios.tcsetattr(0, termios.TCSANOW, modes)
            termios.tcflush(0, termios.TCIFLUSH)  # reports of the mouse that nobody has read


def _die_of(number: int) -> NoReturn:
    """End this process by a signal, so that the shell sees what happened; a dump of it would replace the child's."""
    import resource  # noqa: PLC0415 - hardly ever needed

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _report(number: int, notes: dict[str, str], command: str) -> int:
    """Say what happened; return the exit code."""
    from glimp_local.errors import CrashError  # noqa: PLC0415 - hardly ever needed
    from glimp_local.text import harmless  # noqa: PLC0415 - only now

    name = signal.Signals(number).name
    doing = notes.get("doing")
    when = f"while {doing}" if doing else f"before glimp {command} loaded a model"
    if number == signal.SIGKILL:
        what = f"the system ended the process ({name}) {when}: most likely memory ran out"
        to_do = "close other programs, or try a smaller pair or context: glimp plan shows what fits"
    else:
        what = f"{'llama.cpp' if doing else 'something'} ended the process ({name}) {when}"
        to_do = "glimp doctor examines this machine and its build of llama.cpp"
        if doing and doing.startswith("loading "):
            to_do = f"the file may be damaged: glimp models verify checks what was downloaded; {to_do}"
    said = notes.get("said", "")
    if (servers := notes.get("server")) and _RPC in said:  # llama.cpp gives up if one breaks off
        what = f"the connection to the RPC server {servers} was lost {when}"
        to_do = f"see whether its machine is on and the server (ggml-rpc-server) runs, then run glimp {command} again"
    elif said:
        place, _, reason = said.partition(": ")
        what += f": {place.rpartition('/')[2]}: {reason}"
    error = CrashError(what, hint="; ".join(filter(None, (notes.get("kept"), to_do))))
    with suppress(OSError):
        sys.stderr.write(harmless(f"glimp: {error}\nhint: {error.hint}\n"))
        sys.stderr.flush()
    return error.exit_code
