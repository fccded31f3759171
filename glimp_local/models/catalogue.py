"""The pairs glimp knows: the packaged models.toml and, over it, the user's, read, merged and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.errors import ConfigError, UsageError
from glimp_local.inputs import path_of, read_limited
from glimp_local.models.checking import check_settings, checked, did_you_mean
from glimp_local.paths import PACKAGE, packaged_file, user_file
from glimp_local.settings import PairConfig

BYTE_ORDER_MARK = "\ufeff"
_MOST_BYTES = 1_000_000
"""Of a models.toml: thousands of pairs take less."""
_MOST_DOTS = 1000
"""In a line: what parses a dotted key takes minutes for a very long one."""
_VOID = {
    "path": ("repo", "revision", "file", "size_bytes", "sha256"),
    "repo": ("path", "revision", "file", "size_bytes", "sha256"),
    "file": ("size_bytes", "sha256"),
}
"""Keys of a model that another `path`, `repo` or `file` above them makes void."""


class Catalogue(msgspec.Struct, frozen=True):
    """All pairs known, which one is used when none is named, and which file says so."""

    pairs: dict[str, PairConfig]
    default: str
    """Empty where no file names one: then `machine/choice.py` finds the best one that is there."""
    origins: dict[str, dict[str, Any]]
    """For each pair, the file that each key comes from which a file sets: in the shape of the pair's table."""
    default_from: Path | None
    """None where no file names one."""

    def pair(self, name: str) -> PairConfig:
        """Find a pair by name; raises UsageError with the names that are close."""
        if name in self.pairs:
            return self.pairs[name]
        raise UsageError(f"there is no pair {name!r}{did_you_mean(name, self.pairs)}", hint=_known(self.pairs))


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """Read the packaged models.toml and over it `extra`, or the user's own where there is one.

    Raises ConfigError naming the file, the key and what was expected.
    """
    if extra is not None and not extra.exists():
        raise ConfigError(f"{extra}: no such file", hint="--models and GLIMP_MODELS want the path of a models.toml")
    files = [packaged_file(), extra or user_file()]
    merged: dict[str, Any] = {}
    origins: dict[str, dict[str, Any]] = {}
    default, default_from = "", None
    for file in files:
        if file.exists():
            tables, named = _read(file)
            if named:
                default, default_from = named, file
            for name, table in tables.items():
                merged[name] = merge(merged.get(name, {}), table)
                origins[name] = merge(origins.get(name, {}), _all_from(file, table))
    pairs = {name: checked(table, PairConfig, files[-1], f"pairs.{name}") for name, table in merged.items()}
    for name, pair in pairs.items():
        _check_pair(name, pair, files[-1])
    if default and default not in pairs:
        unknown = f"{default_from}: default = {default!r} is no pair{did_you_mean(default, pairs)}"
        raise ConfigError(unknown, hint=_known(pairs))
    return Catalogue(pairs, default, origins, default_from)


def _all_from(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Give a table with the file in the place of each value: merged like the values, it says where they come from."""
    return {key: _all_from(file, value) if isinstance(value, dict) else file for key, value in table.items()}


def _check_pair(name: str, pair: PairConfig, file: Path) -> None:
    """Raise ConfigError where a pair's keys, right one by one, are not enough together."""
    for role, source in (("small", pair.small), ("large", pair.large)):
        if source is None and pair.policy in {"small", "large"} - {role}:
            continue  # the one model is used alone
        if source is None or not (source.url or source.path or (source.repo and source.file)):
            raise ConfigError(
                f"{file}: pairs.{name}.{role} names no model: expected `path`, `repo` and `file`, or `url`"
            )


def _read(file: Path) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Read one models.toml, every key and type in it checked, its paths made absolute."""
    try:
        raw = parse_toml(read_toml(file), file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if unknown := raw.keys() - {"default", "pairs"}:
        key = min(unknown)
        raise ConfigError(
            f"{file}: unknown key `{key}`{did_you_mean(key, ['default', 'pairs'])}; expected `default` or [pairs.NAME]"
        )
    default = checked(raw.get("default"), str | None, file, "default")
    tables = checked(raw.get("pairs", {}), dict[str, dict[str, Any]], file, "pairs")
    base = PACKAGE if file == packaged_file() else file.parent
    for name, table in tables.items():
        checked(table, PairConfig, file, f"pairs.{name}")
        for holder, key in (
            (table.get("small", {}), "path"),
            (table.get("large", {}), "path"),
            (table.get("small", {}), "key_file"),
            (table.get("large", {}), "key_file"),
            (table, "chat_template"),
        ):
            if key in holder:
                try:
                    holder[key] = str(base / path_of(holder[key]))
                except UsageError as error:
                    raise ConfigError(f"{file}: pairs.{name}: {key} = {error}", hint=error.hint) from error
    return tables, default


def read_toml(file: Path) -> str:
    """Read the text of a models.toml, a byte order mark included; raises ConfigError, and OSError."""
    try:
        return read_limited(file, _MOST_BYTES, str(file)).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint="save it as UTF-8") from error
    except UsageError as error:
        raise ConfigError(str(error), hint="a models.toml takes a few kilobytes: name another one") from error


def parse_toml(text: str, file: Path) -> dict[str, Any]:
    """Parse the text of a models.toml; raises ConfigError for one that is not valid."""
    lines = text.splitlines()
    if deep := next((number for number, line in enumerate(lines, 1) if line.count(".") > _MOST_DOTS), None):
        raise ConfigError(f"{file}: line {deep} has more than {_MOST_DOTS:,} dots: no key is nested as deep")
    try:
        # Editors on Windows begin a file with a mark that TOML does not know.
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:  # a number that is too long is no TOMLDecodeError
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: its tables or lists are nested too deep", hint="expected [pairs.NAME]") from error


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one table over another, key by key."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            # Another file makes what is pinned of the first one void.
            void = next((keys for named, keys in _VOID.items() if named in value), ())
            merged[key] = merge({k: v for k, v in merged[key].items() if k not in void}, value)
        else:
            merged[key] = value
    return merged


def override(config: PairConfig, settings: dict[str, Any]) -> PairConfig:
    """Return the configuration with some keys changed, checked like a models.toml; raises ConfigError."""
    return check_settings(merge(msgspec.to_builtins(config), msgspec.to_builtins(settings)))


def _known(pairs: Iterable[str]) -> str:
    return f"known pairs: {', '.join(sorted(pairs))}"
