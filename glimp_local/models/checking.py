"""Settings held to their types, and how a mistake in them is worded: the file, the key, what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from glimp_local.errors import ConfigError
from glimp_local.settings import MAX_DRAFT, MAX_THREADS, EngineOptions, ModelSource, PairConfig, SamplingSettings

_TABLES = (PairConfig, ModelSource, EngineOptions, SamplingSettings)
_KEYS = [key for table in _TABLES for key in table.__struct_fields__]
_OPTIONS = "[pairs.NAME.small.options] or [pairs.NAME.large.options]"


def checked(value: Any, kind: Any, file: Path, where: str) -> Any:
    """Check a TOML value against a type; raise ConfigError with the file, the key and what was expected."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = where + path.rstrip("`")
        if message.startswith("Object contains unknown field `"):
            unknown = message.split("`")[1]
            raise ConfigError(f"{file}: {key}: unknown key `{unknown}`{_belongs(unknown)}") from error
        if key.endswith(".draft"):
            message = f'expected "auto", "off" or a number from 1 to {MAX_DRAFT}'
        elif key.endswith((".threads", ".threads_batch")):
            message = f'expected "auto" or a number from 1 to {MAX_THREADS}'
        raise ConfigError(f"{file}: {key}: {message[:1].lower()}{message[1:]}{_choices(message, key)}") from error


def check_settings(settings: dict[str, Any]) -> PairConfig:
    """Check settings of a pair given by a program; raises ConfigError like a models.toml."""
    pair: PairConfig = checked(settings, PairConfig, Path("settings"), "pair")
    return pair


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the known word that is close to an unknown one, as the end of a sentence; nothing if none is."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _choices(message: str, key: str) -> str:
    """List what a key with a fixed set of words may be."""
    if not message.startswith("Invalid enum value"):
        return ""
    name = key.rpartition(".")[2]
    kinds = (get_type_hints(table).get(name) for table in _TABLES)
    return f"; expected one of: {', '.join(next(filter(None, map(_words, kinds)), []))}"


def _words(kind: Any) -> list[str]:
    """Collect the words of the literals in a type."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for inner in get_args(kind) for word in _words(inner)]


def _belongs(unknown: str) -> str:
    """Say where a key belongs that is unknown in its table, or which one may be meant."""
    places = {PairConfig: "[pairs.NAME]", ModelSource: "[pairs.NAME.small] or .large", EngineOptions: _OPTIONS}
    table = next((table for table in places if unknown in table.__struct_fields__), None)
    return did_you_mean(unknown, _KEYS) if table is None else f": it belongs into {places[table]}"
