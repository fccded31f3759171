"""Keys put into a models.toml: what is there stays, whatever way it is spelled."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from glimp_local.errors import ConfigError
from glimp_local.models_toml import put

MINE = """\
# My models.
default = "mine"   # not the built-in one

[pairs.mine]
threshold = 0.9  # guessed
share = 0.2

[pairs.mine.small]
path = 'a.gguf'

# The large one.
[pairs.mine.large]
path = "b.gguf"
"""


def test_comments_and_order_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(MINE)
    file.chmod(0o640)
    put(file, "mine", {"threshold": 0.1234})
    assert file.read_text() == MINE.replace("threshold = 0.9  # guessed", "threshold = 0.1234  # guessed")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.glob("models*")] == ["models.toml"]
    put(file, "builtin", {"threshold": 0.5})
    assert file.read_text().startswith(MINE.replace("0.9", "0.1234"))
    assert tomllib.loads(file.read_text())["pairs"]["builtin"] == {"threshold": 0.5}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "pairs.mine.threshold = 1.0\n",
        "pairs = {mine = {share = 0.1}}\n",
        "[pairs]\nmine = {share = 0.1}\n",
        '[pairs."mine"]\r\nshare = 0.1 # windows\r\n',
        '[pairs.other]\nshare = 0.1\n\n[pairs.mine.large]\npath = "b.gguf"\n',
    ],
)
def test_any_spelling_of_the_tables_is_kept_valid(tmp_path: Path, before: str) -> None:
    file = tmp_path / "models.toml"
    file.write_bytes(before.encode())
    put(file, "mine", {"threshold": 0.25})
    after = tomllib.loads(file.read_bytes().decode())
    assert after["pairs"]["mine"]["threshold"] == 0.25
    wanted = tomllib.loads(before)
    wanted.setdefault("pairs", {}).setdefault("mine", {})["threshold"] = 0.25
    assert after == wanted


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "models.toml"
    real.write_text(MINE)
    link.symlink_to(real)
    put(link, "mine", {"threshold": 0.5})
    assert link.is_symlink()
    assert "threshold = 0.5" in real.read_text()


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        put(tmp_path / "file" / "models.toml", "mine", {"threshold": 0.5})
