"""Keys put into a models.toml: what is there stays, whatever way it is spelled."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from glimp_local.errors import ConfigError
from glimp_local.models.catalogue import load_catalogue, merge
from glimp_local.models.models_toml import put

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


THRESHOLD = {"threshold": 0.25}
THREADS = {"small": {"options": {"threads": 1, "threads_batch": 2}}, "large": {"options": {"threads": 2}}}


@pytest.mark.parametrize("settings", [THRESHOLD, THREADS])
@pytest.mark.parametrize(
    "before",
    [
        "",
        "pairs.mine.threshold = 1.0\n",
        "pairs = {mine = {share = 0.1}}\n",
        "[pairs]\nmine = {share = 0.1}\n",
        "[pairs.mine]\nsmall = {path = 'a.gguf'} # the small one\n",
        '[pairs."mine"]\r\nshare = 0.1 # windows\r\n',
        '[pairs.other]\nshare = 0.1\n\n[pairs.mine.large]\npath = "b.gguf"\n',
        "[pairs.mine.large.options]\nthreads = 8\n[pairs.other]\nshare = 0.1\n[pairs.mine.large]\npath = 'b.gguf'\n",
    ],
)
def test_any_spelling_of_the_tables_is_kept_valid(tmp_path: Path, before: str, settings: dict[str, Any]) -> None:
    file = tmp_path / "models.toml"
    file.write_bytes(before.encode())
    put(file, "mine", settings)
    after = file.read_bytes().decode()
    assert tomllib.loads(after) == merge(tomllib.loads(before), {"pairs": {"mine": settings}})
    assert comments(after) == comments(before)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def test_a_file_that_cannot_be_added_to_stays_as_it_is_and_the_lines_to_add_are_said(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    before = "[pairs.mine]\nsmall.path = 'a.gguf'\nsmall.options.gpu_layers = 0\nlarge.path = 'b.gguf'\n"
    file.write_text(before)
    with pytest.raises(ConfigError, match="cannot be added to") as caught:
        put(file, "mine", THREADS)
    assert file.read_text() == before
    lines = str(caught.value.hint).removeprefix("put it in yourself, under [pairs.mine]: ").split("; ")
    file.write_text(before + "\n".join(lines))
    pair = load_catalogue(file).pair("mine")
    assert pair.small is not None
    assert (pair.small.options.threads, pair.small.options.threads_batch, pair.small.options.gpu_layers) == (1, 2, 0)


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINE.encode())
    put(file, "mine", {"threshold": 0.5})
    assert file.read_bytes() == b"\xef\xbb\xbf" + MINE.replace("0.9", "0.5").encode()
    assert load_catalogue(file).pairs["mine"].threshold == 0.5


@pytest.mark.parametrize("before", ["a = " + "[" * 100_000, "[pairs." + ".".join("a" * 900) + "]", "#" * 2_000_000])
def test_a_file_that_is_too_deep_or_too_large_stays_as_it_is(tmp_path: Path, before: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(before)
    with pytest.raises(ConfigError, match=re.escape(str(file))):
        put(file, "mine", THRESHOLD)
    assert file.read_text() == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "models.toml"
    real.write_text(MINE)
    link.symlink_to(real)
    put(link, "mine", {"threshold": 0.5})
    assert link.is_symlink()
    assert "threshold = 0.5" in real.read_text()


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, link: bool) -> None:
    pipe = file = tmp_path / "pipe"
    os.mkfifo(pipe)
    if link:
        file = tmp_path / "models.toml"
        file.symlink_to(pipe)
    with pytest.raises(ConfigError, match="no regular file"):
        put(file, "mine", THRESHOLD)
    assert pipe.is_fifo()
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        put(tmp_path / "file" / "models.toml", "mine", {"threshold": 0.5})
