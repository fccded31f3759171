"""Headers of GGUF files: those of real models as the `gguf` package reads them, damaged ones refused in words."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from glimp_local.errors import ModelMissingError, ModelUnreadableError
from glimp_local.models.gguf.header import Array, Header, part_names, read_header
from glimp_local.models.gguf.tensor_types import TENSOR_TYPES
from tests.support import headers
from tests.support.headers import ARCHITECTURE, Key, Matrix, gguf_bytes, number, string, strings, text, u32, u64

BUILTIN = Path(__file__).parents[3] / "glimp_local" / "builtin"
SMALL = gguf_bytes(
    [ARCHITECTURE, number("llama.block_count", 2), Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["a", "b"]))],
    [Matrix("one", (32, 2)), Matrix("two", (32,), kind=2, offset=256)],
    data=256 + 18,
)
"""A whole model in 500 bytes: two keys and an array, two tensors."""

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write_


def refused(path: Path) -> str:
    """Read a header that cannot be read; give the message."""
    with pytest.raises(ModelUnreadableError) as caught:
        read_header(path)
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_number_types_are_those_of_the_installed_llama_cpp() -> None:
    ggml = ctypes.CDLL(llama_cpp._ggml.libggml._name)
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    known = {
        kind: (ggml.ggml_type_name(kind).decode().upper(), ggml.ggml_blck_size(kind), ggml.ggml_type_size(kind))
        for kind in range(llama_cpp.GGML_TYPE_COUNT)
        if ggml.ggml_blck_size(kind)  # the others were removed
    }
    assert {kind: (type_.name.upper(), *type_[1:]) for kind, type_ in TENSOR_TYPES.items()} == known


@pytest.mark.parametrize("name", ["small", "sliding-window", "recurrent", "hybrid", "padded", "builtin"])
def test_a_header_is_what_the_gguf_package_reads(tiny: Path, name: str) -> None:
    path = BUILTIN / "small.gguf" if name == "builtin" else tiny / f"{name}.gguf"
    _like_the_gguf_package(read_header(path), gguf.GGUFReader(path))


def _like_the_gguf_package(header: Header, reader: gguf.GGUFReader) -> None:
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert list(header.metadata) == list(fields)
    for name, value in header.metadata.items():
        expected = fields[name].contents()
        if isinstance(value, Array):
            found = header.array(name)
            assert [item.decode() if isinstance(item, bytes) else item for item in found] == expected, name
        else:
            assert value == expected, name
    assert [(one.name, list(one.shape), one.type, one.size_bytes) for one in header.tensors] == [
        (one.name, one.shape.tolist(), one.tensor_type.name, one.n_bytes) for one in reader.tensors
    ]


def test_real_models_are_read_in_a_moment(real_pair: tuple[Path, Path]) -> None:
    for path in real_pair:
        began = time.perf_counter()
        header = read_header(path)
        tokens = header.array("tokenizer.ggml.tokens")
        assert time.perf_counter() - began < 2
        assert len(tokens) > 40_000
        assert header.size_bytes == path.stat().st_size
        assert 0.95 < sum(one.size_bytes for one in header.tensors) / header.size_bytes < 1


def test_numbers_are_found_by_the_architecture_s_own_keys(write: Write) -> None:
    per_layer = Key(
        "llama.attention.head_count_kv", headers.ARRAY, u32(headers.U32) + u64(3) + u32(0) + u32(8) + u32(2)
    )
    header = read_header(write(gguf_bytes([ARCHITECTURE, number("llama.block_count", 2), per_layer])))
    assert header.number("block_count") == 2
    assert header.number("attention.head_count_kv") == 8
    assert header.number("expert_count", 0) == 0
    with pytest.raises(ModelUnreadableError, match="expert_count' is None, expected a number"):
        header.number("expert_count")


@pytest.mark.parametrize(
    "key",
    [
        text("llama.block_count", "\x1b]0;many\x07"),
        Key("llama.block_count", headers.F32, u32(0)),
        Key("llama.block_count", headers.I32, u32(2**32 - 1)),
        Key("llama.block_count", headers.U64, u64(2**32)),
        Key("llama.block_count", headers.BOOL, b"\1"),
        Key("llama.block_count", headers.ARRAY, strings(["two"])),
    ],
)
def test_a_number_of_another_type_is_refused(write: Write, key: Key) -> None:
    header = read_header(write(gguf_bytes([ARCHITECTURE, key])))
    with pytest.raises(ModelUnreadableError, match="expected a number") as caught:
        header.number("block_count")
    assert str(caught.value).isprintable()


def test_a_header_without_architecture_says_so_when_it_is_asked(write: Write) -> None:
    header = read_header(write(gguf_bytes([number("general.architecture", 1)])))
    with pytest.raises(ModelUnreadableError, match="names no architecture"):
        header.number("block_count")


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_read(write: Write, version: int) -> None:
    assert read_header(write(gguf_bytes(version=version))).architecture == "llama"


@pytest.mark.parametrize(
    ("version", "words"),
    [(0, "GGUF version 0"), (1, "GGUF version 1"), (4, "GGUF version 4"), (3 << 24, "for a big-endian machine")],
)
def test_other_versions_are_named_in_words(write: Write, version: int, words: str) -> None:
    assert words in refused(write(gguf_bytes(version=version)))


def test_a_file_that_the_gguf_package_writes_for_a_big_endian_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big-endian.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "big-endian" in refused(path)


def test_a_model_cut_short_at_any_byte_is_refused(write: Write) -> None:
    header = read_header(write(SMALL))
    assert [one.size_bytes for one in header.tensors] == [256, 18]
    for length in range(len(SMALL)):
        message = refused(write(SMALL[:length]))
        assert ("no GGUF" if length < 4 else "cut short") in message, length


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "begins with b'<!DO'"),
        (gguf_bytes(key_count=2**60), "speaks of 1,152,921,504,606,846,976 keys"),
        (gguf_bytes(tensor_count=2**64 - 1), "speaks of 1 keys"),
        (gguf_bytes(key_count=100_000), "cut short"),
        (gguf_bytes([Key(b"", headers.STRING, string(b"", 2**63))]), "cut short"),
        (gguf_bytes([Key("a", headers.ARRAY, u32(headers.U32) + u64(2**62))]), "cut short"),
        (gguf_bytes([Key("a", headers.ARRAY, strings([], count=2**61))]), "cut short"),
        (gguf_bytes([Key("a", headers.ARRAY, u32(headers.STRING) + u64(2) + u64(2**64 - 8) + u64(1))]), "cut short"),
        (gguf_bytes([Key("a", headers.ARRAY, u32(headers.ARRAY) + u64(1))]), "unknown kind 9"),
        (gguf_bytes([Key("a", 13, b"")]), "unknown kind 13"),
        (gguf_bytes([ARCHITECTURE, ARCHITECTURE]), "has the key 'general.architecture' twice"),
        (gguf_bytes([ARCHITECTURE, number("general.alignment", 0)]), "an alignment of 0"),
        (gguf_bytes([ARCHITECTURE, number("general.alignment", 48)]), "an alignment of 48"),
        (gguf_bytes([ARCHITECTURE, text("general.alignment", "\x1b[2J" * 100)]), "an alignment of '\\x1b[2J"),
        (gguf_bytes(tensors=[Matrix("\x1b[31m", (1,) * 5)], data=32), "'\\x1b[31m' of 5 dimensions"),
        (gguf_bytes(tensors=[Matrix("a", (2**32, 2**32, 2**32))], data=32), "a tensor 'a' of 4294967296 x"),
        (gguf_bytes(tensors=[Matrix("a", (2**63, 0))], data=32), "a tensor 'a' of 9223372036854775808 x 0"),
        (gguf_bytes(tensors=[Matrix("a", (33,), kind=2)], data=64), "rows of 33 are not whole blocks of Q4_0"),
        (gguf_bytes(tensors=[Matrix("a", (), kind=2)], data=64), "rows of 1 are not whole blocks of Q4_0"),
        (gguf_bytes(tensors=[Matrix("a", (32,), kind=4)], data=64), "number type 4, which glimp does not know"),
        (gguf_bytes(tensors=[Matrix("a", (1,), kind=10**9)], data=64), "number type 1000000000"),
        (gguf_bytes(tensors=[Matrix("a", (1,)), Matrix("a", (1,), offset=32)], data=64), "the tensor 'a' twice"),
        (gguf_bytes(tensors=[Matrix("a", (1,)), Matrix("b", (1,), offset=64)], data=96), "'b' at 64, expected at 32"),
        (gguf_bytes(tensors=[Matrix("a", (1,), offset=2**64 - 32)], data=32), "'a' at 18,446,744,073,709,551,584"),
        (gguf_bytes(tensors=[Matrix("a", (9,))], data=32), "cut short"),
    ],
)
def test_what_cannot_be_is_refused_at_once_and_in_words(write: Write, content: bytes, words: str) -> None:
    path = write(content)
    tracemalloc.start()
    began = time.perf_counter()
    assert words in refused(path)
    assert time.perf_counter() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_header_longer_than_any_model_s_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "endless.gguf"
    path.write_bytes(gguf_bytes([Key("a", headers.ARRAY, u32(headers.U32) + u64(2**32))]))
    os.truncate(path, 2**35)  # holes: it takes no room
    assert "a header of more than" in refused(path)


def test_text_that_is_no_utf_8_is_read(write: Write) -> None:
    tokens = Key("tokenizer.ggml.tokens", headers.ARRAY, strings([b"\xff", b"\xfe"]))
    header = read_header(write(gguf_bytes([text("general.architecture", b"\xffama"), tokens])))
    assert header.architecture == "\ufffdama"
    assert header.array("tokenizer.ggml.tokens") == [b"\xff", b"\xfe"]


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="no such file"):
        read_header(tmp_path / "none.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of Unix")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    assert "is no regular file" in refused(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read_is_refused(write: Write) -> None:
    path = write(SMALL)
    path.chmod(0)
    assert "Permission denied" in refused(path)


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "round.gguf"
    path.symlink_to(path)
    assert "cannot be read" in refused(path)


def test_a_file_that_loses_its_end_while_it_is_read_is_refused(tmp_path: Path) -> None:
    tokens = Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["token"] * 200_000))
    path, content = tmp_path / "model.gguf", gguf_bytes([ARCHITECTURE, tokens])
    path.write_bytes(content)
    header = read_header(path)
    os.truncate(path, 100_000)
    with pytest.raises(ModelUnreadableError, match="cut short"):
        header.array("tokenizer.ggml.tokens")

    def cut_and_mend() -> None:
        while not done.is_set():
            os.truncate(path, 1000)
            path.write_bytes(content)

    done = threading.Event()
    thread = threading.Thread(target=cut_and_mend)
    thread.start()
    try:
        for _ in range(100):
            try:
                assert read_header(path).architecture == "llama"
            except ModelUnreadableError as error:
                assert "cut short" in str(error) or "it is empty" in str(error)  # noqa: PT017 - either way will do
    finally:
        done.set()
        thread.join()


def test_a_text_that_becomes_endless_after_the_header_was_read_is_refused(write: Write) -> None:
    content = gguf_bytes([ARCHITECTURE, Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["a", "b"]))])
    path = write(content)
    header = read_header(path)
    path.write_bytes(content.replace(u64(1) + b"a", u64(2**64 - 1) + b"a"))
    with pytest.raises(ModelUnreadableError, match="was changed while it was read"):
        header.array("tokenizer.ggml.tokens")


def split_model(folder: Path) -> list[Path]:
    """Write a model in three files, as the gguf package splits it; give their paths."""
    writer = gguf.GGUFWriter(folder / "split.gguf", "llama", split_max_tensors=2)
    writer.add_block_count(7)
    for i in range(5):
        writer.add_tensor(f"tensor{i}", np.zeros((i + 1, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("split-*.gguf"))


def test_a_split_model_is_read_whole_from_its_first_file(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    assert len(paths) == 3
    header = read_header(paths[0])
    assert list(header.parts) == paths
    assert header.size_bytes == sum(path.stat().st_size for path in paths)
    assert [one.name for one in header.tensors] == [f"tensor{i}" for i in range(5)]
    assert header.number("block_count") == 7


def test_of_a_split_model_the_first_file_is_asked_for(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    with pytest.raises(ModelUnreadableError, match="number 2 of 3 files") as caught:
        read_header(paths[1])
    assert caught.value.hint == f"name the first one: {paths[0].name}"


def test_a_split_model_that_lacks_a_file_is_missing_it(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    paths[2].unlink()
    with pytest.raises(ModelMissingError, match=paths[2].name):
        read_header(paths[0])


def test_a_split_model_with_a_file_in_another_s_place_is_refused(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    paths[2].write_bytes(paths[1].read_bytes())
    assert "is not the file number 3 its name says" in refused(paths[0])


def test_a_split_model_whose_name_was_changed_is_refused(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    renamed = paths[0].rename(tmp_path / "renamed.gguf")
    assert "its name does not say which" in refused(renamed)


def test_the_names_of_all_files_come_from_the_first() -> None:
    assert part_names("a.gguf") == ["a.gguf"]
    assert part_names("a-00001-of-00002.gguf") == ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]


def test_reading_a_header_imports_neither_llama_cpp_nor_numpy() -> None:
    code = "import sys, glimp_local.models.gguf.header; print({'llama_cpp', 'numpy', 'gguf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
