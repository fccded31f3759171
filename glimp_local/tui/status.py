"""The chat's status line, and what it says of its files."""

from __future__ import annotations

from pathlib import Path

from glimp_local import units
from glimp_local.events import Stats
from glimp_local.pair import Pair
from glimp_local.routing import MODELS, Model
from glimp_local.text import one_line
from glimp_local.tui.steps import LETTERS

_BAR = 20


def loading(model: Model, path: Path, fraction: float) -> str:
    """Say how far a model's file is loaded."""
    bar = "━" * round(fraction * _BAR) + "╺" * (_BAR - round(fraction * _BAR))
    return (
        f"loading {model} {bar} {units.share(fraction)} · {one_line(path.name)}, {units.file_size(path.stat().st_size)}"
    )


def loaded(pair: Pair) -> str:
    """Say which models there are, and where they run."""
    return one_line(_loaded(pair))


def _loaded(pair: Pair) -> str:
    backends = [(LETTERS[model], pair.backends[model]) for model in MODELS if model in pair.backends]
    devices = {backend.where for _, backend in backends}
    if len(devices) == 1:
        return " · ".join(
            [pair.name, devices.pop(), ", ".join(f"{letter} {backend.name}" for letter, backend in backends)]
        )
    return " · ".join([pair.name, *(f"{letter} {backend.where}, {backend.name}" for letter, backend in backends)])


def finished(stats: Stats) -> str:
    """Say what a run took."""
    return (
        f"{stats.steps} steps, {units.share(stats.share_steps)} large · {stats.tokens:,} tokens, "
        f"{units.share(stats.share_tokens)} large · {units.duration(stats.seconds)}"
    )


def saving(path: Path, error: OSError | None) -> str:
    """Say that the conversation cannot be written to its file, or that it can again."""
    if error is None:
        return f"All of the conversation is saved again, in {path}."
    return f"{path} cannot be written ({error.strerror}). The conversation goes on; it is saved once it can be."


def moving(size_bytes: int, *, to_disk: bool) -> str:
    """Say that caches are being written to the disk, or read from there."""
    size = units.file_size(size_bytes)
    return f"keeping the caches on the disk, {size}" if to_disk else f"taking the caches up from the disk, {size}"


def taken_up(tokens: dict[Model, int]) -> str:
    """Say how much need not be read again."""
    found = ", ".join(f"{LETTERS[model]} {tokens[model]:,} tokens" for model in MODELS if model in tokens)
    return f"Taken up from the disk: {found}."
