"""The settings that can be changed within the chat: which they are, how they are read from a text, what a change does.

Knows nothing of widgets. Types and limits are those of `settings.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from glimp_local.pair import Pair
from glimp_local.routing import MODELS, Model, Policy, PolicyName, Random, Share, Threshold
from glimp_local.settings import RunSettings, SamplingSettings

_SAMPLING = "sampling."
_MOST = 2**31
"""llama.cpp's numbers end there."""


class Field(NamedTuple):
    """One setting."""

    key: str
    """As in models.toml, with the name of its table before it: `sampling.temperature`."""
    label: str
    what: str
    """What it does, in half a line."""


GROUPS: dict[str, tuple[Field, ...]] = {
    "Who writes a step": (
        Field("policy", "Policy", "who decides"),
        Field("threshold", "Threshold", "nats; above it the large model writes"),
        Field("share", "Share", "of the steps for the large model (policies share, random)"),
        Field("answer_by", "Answer by", "who writes the answer"),
    ),
    "Sampling": (
        Field("sampling.temperature", "Temperature", "0 takes the likeliest token"),
        Field("sampling.top_k", "Top k", "keep the k likeliest tokens; 0 keeps all"),
        Field("sampling.top_p", "Top p", "keep the likeliest that reach this probability; 1 keeps all"),
        Field("sampling.min_p", "Min p", "drop tokens below this share of the likeliest; 0 drops none"),
        Field("sampling.repeat_penalty", "Repeat penalty", "divides the logits of recent tokens; 1 is off"),
        Field("sampling.presence_penalty", "Presence penalty", "subtracted from those logits; 0 is off"),
        Field("sampling.frequency_penalty", "Frequency penalty", "the same for each time; 0 is off"),
    ),
    "At most, in tokens": (
        Field("max_thought", "Thought", "then it is closed and the answer written"),
        Field("max_answer", "Answer", "of the whole reply, for a pair that does not think"),
        Field("max_step", "Step", "a longer one is cut there"),
    ),
}
FIELDS = {field.key: field for fields in GROUPS.values() for field in fields}
_STEPWISE = ("policy", "threshold", "share")
"""What counts from the next step; all else does from the next question."""
_KINDS = {
    **get_type_hints(RunSettings, include_extras=True),
    **{_SAMPLING + key: kind for key, kind in get_type_hints(SamplingSettings, include_extras=True).items()},
}


def choices(key: str) -> tuple[str, ...]:
    """Return the words a setting may be; empty for a number."""
    kind = _KINDS[key]
    return get_args(kind) if get_origin(kind) is Literal else ()


def value_of(settings: RunSettings, key: str) -> Any:
    """Return a setting's value."""
    if key.startswith(_SAMPLING):
        return getattr(settings.sampling, key.removeprefix(_SAMPLING))
    return getattr(settings, key)


def shown(settings: RunSettings, key: str) -> str:
    """Return a setting's value as it is written into a field."""
    value = value_of(settings, key)
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return str(value) if isinstance(value, float) and float(short) != value else short


def read(key: str, text: str) -> Any:
    """Return the value that a text is for a setting; raises ValueError, which says what is expected."""
    kind = _KINDS[key]
    try:
        value = msgspec.convert(text.strip(), kind, strict=False)
    except msgspec.ValidationError as error:
        comma = ", without a comma" if "," in text else ""
        raise ValueError(f"expected {_expected(kind)}{comma}") from error
    if not isinstance(value, str) and not abs(value) < _MOST:
        raise ValueError(f"expected {_expected(kind)}, and less than {text.strip()}")
    return value


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of: {', '.join(get_args(kind))}"
    base, *rest = get_args(kind)
    (meta,) = [each for each in rest if isinstance(each, msgspec.Meta)]
    what = "a whole number" if base is int else "a number"
    if meta.ge is not None and meta.le is not None:
        return f"{what} from {meta.ge:g} to {meta.le:g}"
    if meta.gt is not None:
        return f"{what} above {meta.gt:g}"
    return f"{what}, {meta.ge:g} or more"


def replaced(settings: RunSettings, values: dict[str, Any]) -> RunSettings:
    """Return settings with other values, by their keys."""
    sampling = {key.removeprefix(_SAMPLING): value for key, value in values.items() if key.startswith(_SAMPLING)}
    own = {key: value for key, value in values.items() if not key.startswith(_SAMPLING)}
    return msgspec.structs.replace(settings, **own, sampling=msgspec.structs.replace(settings.sampling, **sampling))


def in_force(settings: RunSettings, policy: Policy) -> RunSettings:
    """Return settings with what a policy has been moved to."""
    match policy:
        case Threshold(threshold_nats=nats):
            return msgspec.structs.replace(settings, policy=policy.name, threshold=nats)
        case Share(share=share) | Random(share=share):
            return msgspec.structs.replace(settings, policy=policy.name, share=share)
    return msgspec.structs.replace(settings, policy=policy.name)


def obstacle(policy: PolicyName, pair: Pair, drafting_obstacle: str | None) -> str | None:
    """Return why a policy cannot be used with a pair as it is loaded; None if it can."""
    needed: tuple[Model, ...] = (policy,) if policy in {"small", "large"} else MODELS
    if missing := [model for model in needed if model not in pair.backends]:
        return (
            f"needs the {missing[0]} model, which is not loaded: start the chat without --policy {pair.config.policy}"
        )
    if policy in {"threshold", "share"} and not pair.backends["small"].can_glimpse:
        return f"{pair.backends['small'].name} does not tell how sure it is"
    if policy == "speculative" and drafting_obstacle is not None:
        return f"the small model cannot draft for the large one: {drafting_obstacle}"
    return None


def decides_otherwise(before: RunSettings, after: RunSettings) -> bool:
    """Is another policy wanted, or another threshold or share?"""
    return any(value_of(before, key) != value_of(after, key) for key in _STEPWISE)


def differing(before: RunSettings, after: RunSettings) -> dict[str, Any]:
    """Return what differs, by its key, as it is afterwards."""
    return {key: value_of(after, key) for key in FIELDS if value_of(before, key) != value_of(after, key)}


def as_table(values: dict[str, Any]) -> dict[str, Any]:
    """Return values by their keys as a table of models.toml."""
    table: dict[str, Any] = {}
    for key, value in values.items():
        if key.startswith(_SAMPLING):
            table.setdefault("sampling", {})[key.removeprefix(_SAMPLING)] = value
        else:
            table[key] = value
    return table


def in_words(before: RunSettings, after: RunSettings) -> Iterator[str]:
    """Return what changes and when, a sentence each; nothing if nothing does."""
    changed = differing(before, after)
    for when, keys in (
        ("step", [key for key in changed if key in _STEPWISE]),
        ("question", [key for key in changed if key not in _STEPWISE]),
    ):
        if keys:
            said = ", ".join(f"{FIELDS[key].label.lower()} {shown(after, key)}" for key in keys)
            yield f"From the next {when}: {said}."
