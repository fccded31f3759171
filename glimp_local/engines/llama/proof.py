"""Does llama.cpp compute on this machine, or does one of its kernels end the process? Tried before a model is loaded.

A kernel may crash although the build is right for the processor: a virtual machine that announces instructions and
does not allow them, a GPU driver that does not fit. So before the first model is loaded with this build on this
machine, small matrices of the usual number types are multiplied in a process of its own, through the load options of
the real models. If that process dies, safer options are tried in order, and the first that work are used from then on.
The verdict is kept in the data folder, under a key of everything that it depends on.

Importing this module loads nothing of llama.cpp: `proving` is what runs in that process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from glimp_local import apart, hardware
from glimp_local.engines.llama import release
from glimp_local.engines.llama.findings import Findings
from glimp_local.errors import BindingError

_SECONDS = 180.0
"""The first use of a GPU may compile its programs."""


class Choice(msgspec.Struct, frozen=True):
    """Load options that are tried."""

    extra_buffers: bool = True
    """May llama.cpp keep matrices in an order of its own, for its fastest kernels?"""
    gpu: bool = True
    """May it use a GPU?"""


class Attempt(msgspec.Struct, frozen=True):
    """What became of one choice."""

    choice: Choice
    failure: str | None
    """How the process ended, and on which matrices; None if it computed."""


class Verdict(msgspec.Struct, frozen=True):
    """What was found."""

    attempts: tuple[Attempt, ...]
    """In the order in which they were made."""
    gpus: tuple[str, ...]
    """llama.cpp's GPUs at that time."""
    features: str
    """What the build was compiled with, the processor's instructions above all."""
    is_certain: bool = True
    """Was the choice tried to its end, and are failures no matter of time? Else it is for now alone."""

    @property
    def choice(self) -> Choice | None:
        """The first choice that works; None if none does."""
        return next((attempt.choice for attempt in self.attempts if attempt.failure is None), None)

    @property
    def failure(self) -> str | None:
        """How the first choice failed; None if it works."""
        return self.attempts[0].failure


class Said(msgspec.Struct):
    """A line of the process that tries."""

    gpus: tuple[str, ...] = ()
    features: str = ""
    trying: str | None = None
    done: bool = False
    failure: str | None = None
    """Why llama.cpp did not compute."""
    unknown: str | None = None
    """Why it could not be tried."""


class Paces(msgspec.Struct):
    """What the process that measures says: seconds of a prompt and of a token."""

    prompt_seconds: float
    token_seconds: float


def prove(cancel: threading.Event | None = None) -> Verdict | None:
    """Try llama.cpp out; None if it did not start or could not be tried, so that nothing is known.

    Takes about half a second if all is well. Raises CancelledError if `cancel` is set meanwhile.
    """
    gpus, features, is_certain = tuple[str, ...](), "", True
    attempts: list[Attempt] = []
    choices = [Choice(), Choice(extra_buffers=False)]
    while choices:
        choice = choices.pop(0)
        ending = _run(choice, cancel=cancel)
        said = [] if ending is None else _read(ending.output)
        if said and not attempts:
            gpus, features = said[0].gpus, said[0].features
            if gpus:
                choices += [Choice(gpu=False), Choice(extra_buffers=False, gpu=False)]
        if any(record.done for record in said):
            attempts.append(Attempt(choice, None))
            break
        failure = next((record.failure for record in said if record.failure), None)
        if ending is None or not said or not (failure or ending.crashed or ending.timed_out):
            if not attempts:
                return None
            # What was tried before crashed for certain: this one may do.
            attempts.append(Attempt(choice, None))
            is_certain = False
            break
        is_certain = is_certain and not ending.timed_out
        trying = [record.trying for record in said if record.trying]
        where = f" while multiplying {trying[-1]} matrices" if trying else ""
        words = f": {ending.last_words}" if ending.last_words and failure is None else ""
        attempts.append(Attempt(choice, f"{failure or ending.how}{where}{words}"))
    return Verdict(tuple(attempts), gpus, features, is_certain)


def _run(choice: Choice, *more: str, cancel: threading.Event | None = None) -> apart.Ending | None:
    """Try one choice; None if there is no folder for the models."""
    try:
        with tempfile.TemporaryDirectory(prefix="glimp-", ignore_cleanup_errors=True) as folder:
            spelled = msgspec.json.encode(choice).decode()
            return apart.run(
                "glimp_local.engines.llama.proving", spelled, folder, *more, seconds=_SECONDS, cancel=cancel
            )
    except OSError:
        return None


def _read(output: bytes) -> list[Said]:
    said = []
    for line in output.splitlines():
        with suppress(msgspec.DecodeError):  # some library's own words
            said.append(msgspec.json.decode(line, type=Said))
    return said


_settled: list[tuple[Choice, str | None]] = []
"""What is used in this process, and what is still to be said of it; empty until it was settled."""


def settle(cancel: threading.Event | None = None) -> Choice:
    """Return the load options to use in this process, tried out if that is not known yet.

    Raises BindingError if llama.cpp crashes whatever it is given, CancelledError if `cancel` is set meanwhile.
    """
    if not _settled:
        _settled.append(_choose(cancel))
    return _settled[0][0]


def take_news() -> str | None:
    """Return what is to be said of a choice that was made just now, once; None if there is nothing to say."""
    if not _settled:
        return None
    choice, news = _settled[0]
    _settled[0] = choice, None
    return news


def chosen() -> Choice | None:
    """Return the load options of this process, or those that are known; None if nothing is."""
    if _settled:
        return _settled[0][0]
    verdict = known()
    return None if verdict is None else verdict.choice


def forget() -> None:
    """Settle it again the next time."""
    _settled.clear()


def _choose(cancel: threading.Event | None) -> tuple[Choice, str | None]:
    from glimp_local.engines.llama import binding  # noqa: PLC0415 - loads llama.cpp

    verdict, is_new = known(), False
    if verdict is None or verdict.gpus != tuple(binding.gpus()):
        verdict, is_new = prove(cancel), True
        if verdict is None:  # nothing is known, and nothing speaks against it
            return Choice(), None
        if verdict.is_certain:
            keep(verdict)
    choice = verdict.choice
    if choice is None:
        raise BindingError(
            f"llama.cpp crashes on this machine, with every option tried: {verdict.failure}",
            hint=f"{release.portable_command(verdict.features)}; then glimp doctor tries again",
        )
    if not choice.gpu:
        binding.leave_gpus_alone()
    return choice, describe(verdict) if is_new and choice.gpu else None


def describe(verdict: Verdict) -> str | None:
    """Say what was chosen, why, and what to do about it; None if the first choice works."""
    choice = verdict.choice
    if verdict.failure is None or choice is None:
        return None
    if not choice.gpu:
        return f"llama.cpp crashes on this machine's GPU ({verdict.failure}), so all work is on the CPU"
    kernels = "fastest kernels, AMX's among them, crash" if "AMX_INT8" in verdict.features else "fastest kernels crash"
    return (
        f"llama.cpp's {kernels} on this machine ({verdict.failure}), so models are loaded without them, and prompts "
        f"are read more slowly; to build llama.cpp without them: {release.portable_command(verdict.features)}"
    )


def lost_speed() -> tuple[float, float] | None:
    """Measure how many times as fast repacked weights are: to read prompts with, and to write a token.

    On a type that llama.cpp repacks on most processors, and that its AMX kernels do not touch. None if it crashes, too.
    """
    found = []
    for extra_buffers in (True, False):
        ending = _run(Choice(extra_buffers=extra_buffers, gpu=False), "--pace")
        try:
            found.append(msgspec.json.decode(ending.output.strip().rpartition(b"\n")[2] if ending else b"", type=Paces))
        except msgspec.DecodeError:
            return None
    fast, slow = found
    return slow.prompt_seconds / fast.prompt_seconds, slow.token_seconds / fast.token_seconds


# The verdicts on the disk.

_verdicts = Findings[Verdict]("proof.json", "verdicts", Verdict, most=16)  # several builds and machines may share them


def known() -> Verdict | None:
    """Read the verdict on this build and this machine; None if there is none."""
    return _verdicts.read().get(machine_key())


def keep(verdict: Verdict) -> None:
    """Keep a verdict; where that cannot be written, it is found again the next time."""
    _verdicts.keep(machine_key(), verdict)


@cache
def machine_key() -> str:
    """Hash what a finding depends on: the binding's release, its libraries, the processor, the system's kernel."""
    parts = [release.RELEASE, platform.machine(), platform.release(), hardware.processor(), hardware.instructions()]
    found = importlib.util.find_spec("llama_cpp")
    if found is not None and found.origin is not None:
        for library in sorted(Path(found.origin).parent.glob("lib/*")):
            with suppress(OSError):
                about = library.stat()
                parts.append(f"{library.name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
