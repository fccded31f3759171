"""How fast this machine multiplies: seconds for a byte of weights, by number type and batch size, measured once.

What a model will cost before it is here follows from them (`machine/speed.py`). They are measured by llama.cpp itself,
on models of random numbers that are written for it, in a process of its own (`rating`): a second or two for each number
type. Of tiny models every detail of their shape matters, so such a file is measured itself. All is kept in the data
folder under a key of everything it depends on.

Importing this module loads nothing of llama.cpp.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from glimp_local import apart
from glimp_local.engines.llama import proof
from glimp_local.engines.llama.findings import Findings
from glimp_local.engines.llama.proof_models import WRITABLE
from glimp_local.models.identity import identity

SIZES = (1, 4, 8, 16, 64)
"""Tokens in the batches that are measured."""
WIDTHS = (512, 1536)
"""Of the narrow and of the wide model."""
CELLS = 256
"""Cells of the cache that attention looks at even at the beginning."""
HELD, HELD_SIZES = 704, (1, 64)
"""Tokens behind which some batches are measured again: what attention costs."""
_SECONDS = 60.0


class Request(msgspec.Struct, frozen=True):
    """What the process measures."""

    names: tuple[str, ...]
    """Number types, or files."""
    are_files: bool
    gpu: bool
    """On the GPUs, all of them; else on the CPU alone."""
    threads: int
    extra_buffers: bool
    attention: bool
    """Measure what attention costs, too: it is the same with every number type."""


class Rate(msgspec.Struct, frozen=True):
    """What computing with one number type, or with one model, costs by the number of tokens in a batch (SIZES)."""

    narrow_seconds: dict[int, float]
    """For a byte of a narrow model's weights, with all that its layers cost besides."""
    wide_seconds: dict[int, float]
    """The same of a wide one."""
    cell_seconds: dict[int, float]
    """For a number in the cache of a layer, beyond that of the first CELLS tokens: of batches of HELD_SIZES."""


class Rated(msgspec.Struct, frozen=True):
    """A line of the process that measures."""

    name: str
    """The number type, or the file."""
    rate: Rate


KEPT = Findings[dict[str, dict[str, Rate]]]("rates.json", "rates", dict[str, dict[str, Rate]], most=16)
"""By machine, then by device, then by number type."""


class Rates:
    """The rates of this machine's devices, measured as they are asked for; `on_measuring` hears it before the first."""

    def __init__(
        self, cancel: threading.Event | None = None, *, on_measuring: Callable[[], None] = lambda: None
    ) -> None:
        self._cancel = cancel
        self._on_measuring = on_measuring
        self._kept: dict[str, dict[str, Rate]] | None = None
        self.failure: str | None = None
        """Why something could not be measured; then nothing more is."""

    def of(self, types: Iterable[str], *, gpu: bool, threads: int) -> dict[str, Rate]:
        """Return the rates of number types, measuring those that are not known: some may be missing.

        Raises BindingError where llama.cpp cannot be used, CancelledError where `cancel` is set meanwhile.
        """
        names = {type_name: type_name for type_name in set(types) & WRITABLE}
        return self._of(names, are_files=False, gpu=gpu, threads=threads)

    def of_file(self, path: Path, *, gpu: bool, threads: int) -> Rate | None:
        """Return the rates of a model by itself, measuring it if they are not known.

        Raises what `of` raises, and OSError where the file cannot be read.
        """
        key = identity(path)
        return self._of({key: str(path)}, are_files=True, gpu=gpu, threads=threads).get(key)

    def _of(self, names: Mapping[str, str], *, are_files: bool, gpu: bool, threads: int) -> dict[str, Rate]:
        """Return rates by key; `names` are what the process measures, by key."""
        if self._kept is None:
            self._kept = KEPT.read().get(proof.machine_key(), {})
        known = self._kept.setdefault("GPU" if gpu else f"CPU, {threads} threads", {})
        missing = {} if self.failure else {key: name for key, name in sorted(names.items()) if key not in known}
        if missing:
            choice = proof.settle(self._cancel)
            self._on_measuring()
            self._on_measuring = lambda: None
            cells = next((rate.cell_seconds for rate in known.values()), None)
            attention = are_files or cells is None
            found = self._measure(
                Request(tuple(missing.values()), are_files, gpu, threads, choice.extra_buffers, attention)
            )
            for key, name in missing.items():
                if name in found:
                    cells = found[name].cell_seconds or cells or {}
                    known[key] = msgspec.structs.replace(found[name], cell_seconds=cells)
            KEPT.keep(proof.machine_key(), self._kept)
        return {key: known[key] for key in names if key in known}

    def _measure(self, request: Request) -> dict[str, Rate]:
        try:
            with tempfile.TemporaryDirectory(prefix="glimp-", ignore_cleanup_errors=True) as folder:
                spelled = msgspec.json.encode(request).decode()
                ending = apart.run(
                    "glimp_local.engines.llama.rating", spelled, folder, seconds=_SECONDS, cancel=self._cancel
                )
        except OSError as error:
            self.failure = f"there is no folder for the models to measure with: {error}"
            return {}
        found: dict[str, Rate] = {}
        for line in ending.output.splitlines():
            with suppress(msgspec.DecodeError):  # some library's own words
                rated = msgspec.json.decode(line, type=Rated)
                found[rated.name] = rated.rate
        if len(found) < len(request.names):
            self.failure = ending.last_words or ending.how
        return found
