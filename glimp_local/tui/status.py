"""The chat's status line, and what it says of its files."""

from __future__ import annotations

from pathlib import Path

from glimp_local import units
from glimp_local.errors import GlimpError
from glimp_local.events import Stats
from glimp_local.pair import Pair
from glimp_local.routing import MODELS, Model
from glimp_local.session.turn import Activity
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


def working(activity: Activity | None, *, thinks: bool) -> str:
    """Return what the models are doing; between two things that take long, what it all is."""
    match activity:
        case Activity(model, "reads", tokens, of):
            done = f", {units.share(tokens / of)}" if tokens else ""
            return f"{LETTERS[model]} reading {of:,} tokens{done}"
        case Activity(model, "writes", tokens, tokens_per_second=speed):
            pace = "" if speed is None else f", {units.speed(speed)}"
            return f"{LETTERS[model]} writing, {tokens:,} token{'' if tokens == 1 else 's'}{pace}"
        case _:
            return "thinking" if thinks else "writing"


def finished(stats: Stats) -> str:
    """Say what a run took, and how fast each model was."""
    paces = [
        f"{LETTERS[model]} {units.speed(found.tokens_per_second)}"
        for model, found in (("small", stats.small), ("large", stats.large))
        if found is not None and found.tokens
    ]
    steps = f"{stats.steps} step{'' if stats.steps == 1 else 's'}, {units.share(stats.share_steps)} large"
    # What matters most comes first: a narrow terminal cuts the end.
    return " · ".join([*paces, steps, f"{stats.tokens:,} tokens", units.duration(stats.seconds)])


def size(text: str, measured: tuple[int, int] | None) -> str:
    """Return how long a text is, in lines and in the tokens of the model that has least room for it."""
    lines = text.count("\n") + 1
    said = f"{lines:,} line{'' if lines == 1 else 's'}"
    if measured is None:
        return f"{said}, {units.file_size(len(text.encode()))}"
    tokens, context = measured
    fits = "" if tokens < context else ": too long, it needs a larger --ctx or another pair"
    return f"{said}, {tokens:,} tokens of {context:,}{fits}"


def failed(error: GlimpError) -> str:
    """Say what went wrong, and what can be done about it."""
    return f"{error}. {error.hint[:1].upper()}{error.hint[1:]}" if error.hint else str(error)


def saving(path: Path, error: OSError | None) -> str:
    """Say that the conversation cannot be written to its file, or that it can again."""
    if error is None:
        return f"All of the conversation is saved again, in {path}."
    return f"{path} cannot be written ({error.strerror}). You can continue; it is saved once that is possible."


def moving(size_bytes: int, *, to_disk: bool) -> str:
    """Say that caches are being written to the disk, or read from there."""
    size = units.file_size(size_bytes)
    return f"keeping the caches on the disk, {size}" if to_disk else f"reading the caches from the disk, {size}"


def taken_up(tokens: dict[Model, int]) -> str:
    """Say how much need not be read again."""
    found = ", ".join(f"{LETTERS[model]} {tokens[model]:,} tokens" for model in MODELS if model in tokens)
    return f"Read from the disk: {found}."
