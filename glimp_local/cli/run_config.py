"""What `glimp config` shows."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import tomlkit

from glimp_local.cli.terminal import write, write_json
from glimp_local.machine.choice import default_pair
from glimp_local.machine.locations import places
from glimp_local.models.catalogue import Catalogue, load_catalogue
from glimp_local.models.origins import Setting, settings
from glimp_local.paths import packaged_file

_COLUMN = 40
_BEST = "best"


class Shown(msgspec.Struct, frozen=True):
    """What `glimp config show --json` prints."""

    pair: str
    chosen_by: str
    """What names this pair: `argument`, `environment`, or the models.toml whose default it is; `best` where none does,
    and it is the best one on this machine."""
    settings: list[Setting]


def show_places(place: str | None, models_file: Path | None, *, as_json: bool) -> None:
    """Print all places, or one of them."""
    found = places(models_file)
    if as_json:
        write_json(msgspec.json.encode(found, enc_hook=str))
        return
    paths = {
        "models": (found.models_file, "your models.toml"),
        "packaged": (found.packaged_models_file, "the one it lies over"),
        "data": (found.data_folder, "conversations and entropies"),
        "hub": (found.hub_cache, "models downloaded from the hub"),
    }
    if place is not None:
        write(f"{paths[place][0]}\n")
        return
    for name, (path, what) in paths.items():
        there = "" if path.exists() else " (not there yet)"
        write(f"{name:<9} {path}{there}: {what}\n")


def show_settings(pair: str | None, models_file: Path | None, *, everything: bool, as_json: bool) -> None:
    """Print a pair's settings and where they come from."""
    catalogue = load_catalogue(models_file)
    name = pair or default_pair(catalogue)
    catalogue.pair(name)  # says so where there is none of that name
    found = settings(catalogue, name)
    chosen_by = str(catalogue.default_from or _BEST)
    if pair is not None:
        source = click.get_current_context().get_parameter_source("pair")
        chosen_by = "environment" if source is click.core.ParameterSource.ENVIRONMENT else "argument"
    if as_json:
        write_json(msgspec.json.encode(Shown(name, chosen_by, found), enc_hook=str))
        return
    lines = [_default(catalogue, name, chosen_by), "", f"[{tomlkit.key(['pairs', name]).as_string()}]"]
    lines += [_line(setting) for setting in found if everything or setting.origin]
    if not everything:
        lines += ["", "# All else is as it is by default: glimp config show --all prints that, too."]
    write("\n".join(lines) + "\n")


def _default(catalogue: Catalogue, name: str, chosen_by: str) -> str:
    if chosen_by == "argument":
        return f"# The pair {name}, as asked for. The default is {default_pair(catalogue)}."
    if chosen_by == "environment":
        return f"# The pair {name}, for the sake of GLIMP_PAIR. The default is {default_pair(catalogue)}."
    if chosen_by == _BEST:
        return f"# The pair {name}: no models.toml names a default, and it is the best one on this machine."
    return _commented(f"default = {_toml(name)}", _called(catalogue.default_from))


def _line(setting: Setting) -> str:
    if setting.value is None:
        return f"# {setting.key} is not set"
    return _commented(f"{setting.key} = {_toml(setting.value)}", _called(setting.origin))


def _commented(line: str, comment: str) -> str:
    return f"{line:<{_COLUMN}} # {comment}"


def _toml(value: object) -> str:
    text: str = tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()
    return text


def _called(origin: Path | None) -> str:
    if origin is None:
        return "default"
    return "packaged models.toml" if origin == packaged_file() else str(origin)
