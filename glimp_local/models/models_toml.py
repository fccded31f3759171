"""Keys put into a models.toml that somebody wrote: all else in it stays as it is, comments and order, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit

from glimp_local.errors import ConfigError
from glimp_local.models.catalogue import BYTE_ORDER_MARK, merge, parse_toml, read_toml


def put(file: Path, pair: str, settings: Mapping[str, Any]) -> None:
    """Put keys of a pair (`{"small": {"options": {"threads": 2}}}`) into a models.toml, made where there is none.

    Raises ConfigError where it cannot be read or written, or is no regular file; it is as it was then.
    """
    changes = {"pairs": {pair: settings}}
    try:
        target = file.resolve()  # a link stays one
        if target.exists() and not target.is_file():
            # What is put in its place must not take a device's, or a pipe's.
            raise ConfigError(f"{file} is no regular file", hint="name the models.toml to write into with --models")
        before = read_toml(target) if target.exists() else ""
        mark = BYTE_ORDER_MARK if before.startswith(BYTE_ORDER_MARK) else ""
        after = mark + _changed(before.removeprefix(mark), changes, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        try:
            partial.write_bytes(after.encode("utf-8"))
            if target.exists():
                shutil.copymode(target, partial)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)  # of a full disk, say
            raise
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:  # tomlkit's own errors are ValueErrors
        hint = f"put it in yourself, under [pairs.{pair}]: {'; '.join(_lines(settings))}"
        raise ConfigError(f"{file} cannot be added to: {error}", hint=hint) from error


def _changed(text: str, changes: Mapping[str, Any], file: Path) -> str:
    before = parse_toml(text, file)
    document = tomlkit.parse(text)
    _lay_over(document, changes)
    changed = tomlkit.dumps(document)
    # tomlkit loses its way where tables are spelled with dots below a header.
    if parse_toml(changed, file) != merge(before, dict(changes)):
        raise ValueError("its tables are spelled in a way this program cannot follow")
    return changed


def _lay_over(table: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and key in table:
            _lay_over(table[key], value)
        else:
            table[key] = value


def _lines(settings: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Give each key with its tables before it, as a line of TOML."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{above}{key}.")
        else:
            yield f"{above}{key} = {value}"
