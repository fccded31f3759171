"""`glimp config`: where files are, and which of them each value comes from."""

from __future__ import annotations

import json
import operator
import tomllib
from pathlib import Path

import msgspec
import pytest

from glimp_local.models.catalogue import load_catalogue
from glimp_local.models.origins import settings
from glimp_local.paths import packaged_file, user_file
from glimp_local.settings import PairConfig
from tests.support.commands import Glimp

QWEN = "qwen3-0.6b-4b"


@pytest.fixture
def mine() -> Path:
    file = user_file()
    file.parent.mkdir(parents=True)
    file.write_text(
        f'default = "{QWEN}"\n[pairs."{QWEN}"]\nthreshold = 0.7\nsampling = {{top_k = 5}}\n'
        f'[pairs."{QWEN}".small]\npath = "a.gguf"\n[pairs."{QWEN}".large.options]\nthreads = 3\ntensor_split = [1, 2]\n'
    )
    return file


def test_each_value_is_told_with_the_file_that_set_it_last(mine: Path) -> None:
    found = {setting.key: setting for setting in settings(load_catalogue(), QWEN)}
    of_mine = {key for key, setting in found.items() if setting.origin == mine}
    assert of_mine == {
        *("threshold", "sampling.top_k", "small.path", "large.options.threads", "large.options.tensor_split"),
    }
    of_the_package = {key for key, setting in found.items() if setting.origin == packaged_file()}
    assert of_the_package == {
        *("description", "licence"),
        *(f"large.{key}" for key in ("repo", "revision", "file", "size_bytes", "sha256")),
    }
    assert found["small.repo"].value is None  # another path makes void what was pinned
    assert found["share"] == type(found["share"])("share", 0.25, None)


def test_every_value_is_the_one_that_counts(mine: Path) -> None:
    assert mine.exists()
    catalogue = load_catalogue()
    for name, pair in catalogue.pairs.items():
        for setting in settings(catalogue, name):
            assert setting.value == operator.attrgetter(setting.key)(pair)


@pytest.mark.parametrize("flags", [[], ["--all"]])
@pytest.mark.parametrize("pair", [QWEN, "builtin", None])
def test_what_is_printed_is_a_models_toml_that_says_the_same(
    glimp: Glimp, mine: Path, pair: str | None, flags: list[str]
) -> None:
    result = glimp("config", "show", *([pair] if pair else []), *flags)
    assert result.code == 0, result.err
    tables = tomllib.loads(result.out)["pairs"]
    name = pair or load_catalogue().default
    before = load_catalogue().pair(name)
    assert set(tables) == {name}
    assert msgspec.convert(tables[name], PairConfig) == before
    assert ("share = 0.25" in result.out) == bool(flags)
    if name == QWEN:
        (line,) = [line for line in result.out.splitlines() if line.startswith("threshold")]
        assert line.endswith(f"# {mine}")


def test_it_is_said_what_chose_the_pair(glimp: Glimp, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(glimp("config", "show", "--json").out)["chosen_by"] == str(mine)
    found = json.loads(glimp("config", "show", "builtin", "--json").out)
    assert (found["pair"], found["chosen_by"]) == ("builtin", "argument")
    monkeypatch.setenv("GLIMP_PAIR", "builtin")
    found = json.loads(glimp("config", "show", "--json").out)
    assert (found["pair"], found["chosen_by"]) == ("builtin", "environment")
    assert {"key": "max_answer", "value": 64, "origin": str(packaged_file())} in found["settings"]
    assert {"key": "share", "value": 0.25, "origin": None} in found["settings"]


def test_another_file_counts_in_the_place_of_mine(glimp: Glimp, mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[pairs.builtin]\nthreshold = 0.1\n")
    out = glimp("config", "show", "--models", other).out
    assert f"# {other}" in out
    assert str(mine) not in out


def test_a_broken_file_and_an_unknown_pair_are_said_in_words(glimp: Glimp, mine: Path) -> None:
    result = glimp("config", "show", "qwen3-0.6b-4")
    assert (result.code, "did you mean 'qwen3-0.6b-4b'" in result.err) == (2, True)
    mine.write_text("[pairs.builtin]\ntreshold = 1\n")
    result = glimp("config", "show")
    assert (result.code, result.out) == (2, "")
    assert f"{mine}: pairs.builtin: unknown key `treshold`" in result.err


def test_the_places_are_printed_together_or_alone(glimp: Glimp, home: Path) -> None:
    out = glimp("config", "path").out
    assert f"models    {user_file()} (not there yet): your models.toml" in out
    assert f"{packaged_file()}: the one it lies over" in out
    assert glimp("config", "path", "models").out == f"{user_file()}\n"
    assert json.loads(glimp("config", "path", "--json").out) == {
        "models_file": str(user_file()),
        "packaged_models_file": str(packaged_file()),
        "data_folder": str(home / "data" / "glimp"),
        "hub_cache": str(home / "hub" / "hub"),
    }
