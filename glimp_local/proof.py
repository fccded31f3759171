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
import secrets
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from glimp_local import apart, hardware, private, rebuilding
from glimp_local.errors import BindingError
from glimp_local.places import data_folder

_SECONDS = 180.0
"""The first use of a GPU may compile its programs."""
_KEPT = 16
"""Verdicts that are kept: several builds and machines may share a data folder."""


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

    @property
    def choice(self) -> Choice | None:
        """The first choice that works; None if none does."""
        return next((attempt.choice for attempt in self.attempts if attempt.failure is None), None)

    @property
    def failure(self) -> str | None:
        """How the first choice failed; None if it works."""
        return self.attempts[0].failure


class _Kept(msgspec.Struct):
    """The file of verdicts, by key, the newest one last."""

    verdicts: dict[str, Verdict] = {}


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


def prove() -> Verdict | None:
    """Try llama.cpp out; None if it did not start or could not be tried, so that nothing is known.

    Takes about half a second where all is well.
    """
    gpus, features = tuple[str, ...](), ""
    attempts: list[Attempt] = []
    choices = [Choice(), Choice(extra_buffers=False)]
    while choices:
        choice = choices.pop(0)
        with tempfile.TemporaryDirectory(prefix="glimp-") as folder:
            ending = apart.run("glimp_local.proving", msgspec.json.encode(choice).decode(), folder, seconds=_SECONDS)
        said = _read(ending.output)
        if not said:
            return None  # it did not even start
        if not attempts:
            gpus, features = said[0].gpus, said[0].features
            if gpus:
                choices += [Choice(gpu=False), Choice(extra_buffers=False, gpu=False)]
        if any(record.done for record in said):
            attempts.append(Attempt(choice, None))
            break
        failure = next((record.failure for record in said if record.failure), None)
        if failure is None and (ending.signal in {None, "SIGKILL"} and not ending.timed_out):
            return None
        trying = [record.trying for record in said if record.trying]
        where = f" while multiplying {trying[-1]} matrices" if trying else ""
        words = f": {ending.last_words}" if ending.last_words and failure is None else ""
        attempts.append(Attempt(choice, f"{failure or ending.how}{where}{words}"))
    return Verdict(tuple(attempts), gpus, features)


def _read(output: bytes) -> list[Said]:
    said = []
    for line in output.splitlines():
        with suppress(msgspec.DecodeError):  # some library's own words
            said.append(msgspec.json.decode(line, type=Said))
    return said


@cache
def settle() -> tuple[Choice, str | None]:
    """Return the load options to use in this process, and what is to be said of them if they were chosen just now.

    Raises BindingError if llama.cpp crashes whatever it is given.
    """
    from glimp_local.engine import binding  # noqa: PLC0415 - loads llama.cpp

    verdict, is_new = known(), False
    if verdict is None or verdict.gpus != tuple(binding.gpus()):
        verdict, is_new = prove(), True
        if verdict is None:  # nothing is known, and nothing speaks against it
            return Choice(), None
        keep(verdict)
    choice = verdict.choice
    if choice is None:
        raise BindingError(
            f"llama.cpp crashes on this machine, with every option tried: {verdict.failure}",
            hint=rebuilding.portable_command(verdict.features),
        )
    if not choice.gpu:
        binding.leave_gpus_alone()
    return choice, describe(verdict) if is_new else None


def describe(verdict: Verdict) -> str | None:
    """Say what was chosen, why, and what to do about it; None if the first choice works."""
    choice = verdict.choice
    if verdict.failure is None or choice is None:
        return None
    if not choice.gpu:
        return f"llama.cpp crashes on this machine's GPU ({verdict.failure}), so all work is on the CPU"
    kernels = "AMX kernels crash" if "AMX_INT8" in verdict.features else "fastest kernels crash"
    return (
        f"llama.cpp's {kernels} on this machine ({verdict.failure}), so models are loaded without them, and prompts "
        f"are read more slowly; to build llama.cpp without them: {rebuilding.portable_command(verdict.features)}"
    )


def lost_speed() -> tuple[float, float] | None:
    """Measure how many times as fast a build with sound repacking kernels would be: for prompts, and for one token.

    On matrices that the AMX kernels do not touch. None if those kernels crash, too.
    """
    found = []
    for extra_buffers in (True, False):
        choice = msgspec.json.encode(Choice(extra_buffers=extra_buffers, gpu=False)).decode()
        with tempfile.TemporaryDirectory(prefix="glimp-") as folder:
            ending = apart.run("glimp_local.proving", choice, folder, "--pace", seconds=_SECONDS)
        try:
            found.append(msgspec.json.decode(ending.output.strip().rpartition(b"\n")[2], type=Paces))
        except msgspec.DecodeError:
            return None
    fast, slow = found
    return slow.prompt_seconds / fast.prompt_seconds, slow.token_seconds / fast.token_seconds


# The verdicts on the disk.


def _file() -> Path:
    return data_folder() / "proof.json"


def known() -> Verdict | None:
    """Read the verdict on this build and this machine; None if there is none."""
    return _kept().verdicts.get(_key())


def keep(verdict: Verdict) -> None:
    """Keep a verdict; where that cannot be written, it is found again the next time."""
    kept, key = _kept(), _key()
    kept.verdicts.pop(key, None)
    kept.verdicts[key] = verdict
    kept.verdicts = dict(list(kept.verdicts.items())[-_KEPT:])
    file = _file()
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        private.make_folder(file.parent)
        private.make_file(partial)
        partial.write_bytes(msgspec.json.encode(kept))
        partial.replace(file)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _kept() -> _Kept:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=_Kept)
    except (OSError, ValueError, RecursionError):
        return _Kept()


@cache
def _key() -> str:
    """Hash all that a verdict depends on: the binding's release, its libraries, the processor, the system's kernel."""
    parts = [rebuilding.RELEASE, platform.machine(), platform.release(), hardware.processor(), hardware.instructions()]
    found = importlib.util.find_spec("llama_cpp")
    if found is not None and found.origin is not None:
        for library in sorted(Path(found.origin).parent.glob("lib/*")):
            with suppress(OSError):
                about = library.stat()
                parts.append(f"{library.name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
