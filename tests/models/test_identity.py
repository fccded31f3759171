"""The identity of a model: the same for a copy, another one for anything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from glimp_local.models.identity import identity, is_of_before

MIB = 1 << 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(os.urandom(MIB))
    return path


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_copy_by_another_name_at_another_time_is_the_same_model(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(model, tmp_path / "copy.gguf"))
    os.utime(copy, (1, 1))
    assert identity(copy) == identity(model)


@pytest.mark.parametrize("at", [0, 300_000, MIB - 1])
def test_any_byte_of_a_small_file_counts(model: Path, at: int) -> None:
    before = identity(model)
    flip(model, at)
    assert identity(model) != before
    flip(model, at)
    assert identity(model) == before


def test_of_a_large_file_the_front_counts_to_the_byte_and_whatever_spans_more_than_a_gap(tmp_path: Path) -> None:
    path, size = tmp_path / "large.gguf", 4 << 30
    with path.open("wb") as file:
        file.truncate(size)  # it takes no room on the disk
    before = identity(path)
    gap = (size - 16 * MIB) // 255
    for at in (0, 16 * MIB - 1, size - 1):
        flip(path, at)
        assert identity(path) != before, at
        flip(path, at)
    assert identity(path) == before
    with path.open("r+b") as file:
        file.seek(1_234_567_890)
        file.write(b"x" * gap)
    assert identity(path) != before


def test_a_file_that_grew_by_nothing_but_zeros_is_another_model(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    found = set()
    for size in (64 * MIB, 64 * MIB + 1):
        with path.open("wb") as file:
            file.truncate(size)
        found.add(identity(path))
    assert len(found) == 2


def test_all_files_of_a_split_model_count(tmp_path: Path) -> None:
    first, second = (tmp_path / f"x-0000{number}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(b"GGUF")
    second.write_bytes(b"GGUF 2")
    before = identity(first)
    flip(second, 5)
    assert identity(first) != before


def test_what_an_earlier_glimp_told_files_apart_by_is_known_as_such(model: Path) -> None:
    assert is_of_before("0" * 64)
    assert not is_of_before(identity(model))
    assert not is_of_before(None)
