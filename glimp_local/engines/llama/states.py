"""What an engine holds, in a file: its tokens, the cache computed for them, and the snapshots it can go back to.

The file is llama.cpp's own of one sequence, which needs no second copy in memory, and behind it a record of what it is.
llama.cpp aborts the process on a file that is cut short or of another model, and computes nonsense on one that is
damaged: so it gets only what the record says is whole and of this model.
"""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from glimp_local.engines.llama import binding
from glimp_local.engines.llama.binding import lib
from glimp_local.errors import CacheError
from glimp_local.models.gguf.header import part_paths
from glimp_local.settings import EngineOptions

Snapshot = tuple[int, ctypes.Array[ctypes.c_uint8]]
"""A length, and what brings the parts of the cache that cannot be cut back to it."""

_FOOT = struct.Struct("<8sQI")
"""The end of the file: a word, the length of llama.cpp's part, and the CRC-32 of all before this number."""
_WORD = b"glimp 1\n"
_CRC_BYTES = 4
_BLOCK = 1 << 20
_HEAD_BYTES, _TOKEN_BYTES = 12, 4  # of llama.cpp's part
_RECORD_BYTES = 1024  # at most, without the snapshots


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a state."""

    depends_on: dict[str, str]
    """All that has to be the same where it is read (`depends_on`)."""
    tokens: int
    snapshots: list[tuple[int, bytes]]


def depends_on(model: Path, identity: str, options: EngineOptions) -> dict[str, str]:
    """Return all that a state depends on, except what llama.cpp checks itself. Raises OSError.

    The time at which the model's file was changed counts, too: a change may be too small for the identity to notice.
    """
    return {
        "model": identity,
        "written": str(max(part.stat().st_mtime_ns for part in part_paths(model))),
        "llama-cpp-python": binding.RELEASE,
        "cache_type": "f16" if options.cache_type == "auto" else options.cache_type,
        "swa_full": "true" if options.swa_full else "false",
    }


def size_bytes(context: Any, ids: Sequence[int], snapshots: Sequence[Snapshot]) -> int:
    """Give the most bytes that `write`'s file will have."""
    own: int = lib.llama_state_seq_get_size(context, 0)
    return own + _HEAD_BYTES + _TOKEN_BYTES * len(ids) + sum(len(state) for _, state in snapshots) + _RECORD_BYTES


def write(
    path: Path, context: Any, ids: Sequence[int], snapshots: Sequence[Snapshot], depends_on: dict[str, str]
) -> int:
    """Write a file; return its size in bytes. Raises CacheError or OSError; then it may be there in part."""
    tokens = (lib.llama_token * len(ids))(*ids)
    with binding.collected_errors() as errors:
        end: int = lib.llama_state_seq_save_file(context, os.fsencode(path), 0, tokens, len(ids))
    # llama.cpp does not look whether the last block it wrote came through.
    if not end or path.stat().st_size != end:
        raise CacheError(f"{path} cannot be written: {_reason(errors, 'there is no room on the disk')}")
    record = Record(depends_on, len(ids), [(length, bytes(state)) for length, state in snapshots])
    with path.open("r+b") as file:
        file.seek(end)
        file.write(msgspec.msgpack.encode(record))
        file.write(_FOOT.pack(_WORD, end, 0)[:-_CRC_BYTES])
        size = file.tell()
        file.seek(0)
        file.write(struct.pack("<I", _crc(file, size)))  # which has read up to there
        return size + _CRC_BYTES


def read(
    path: Path, context: Any, room: int, depends_on: dict[str, str], former: Callable[[], str]
) -> tuple[list[int], list[Snapshot]]:
    """Read a file into an empty context with room for this many tokens; return the tokens and the snapshots.

    `former` returns what an earlier glimp, whose files are read, too, told the model by.

    Raises CacheError or OSError where it is not whole, or does not fit; then the context stays empty.
    """
    with path.open("rb") as file:
        record, end = _record(path, file)
    if "written" not in record.depends_on:  # its identity counted the time of change
        depends_on = {**depends_on, "model": former()}
        del depends_on["written"]
    if difference := _difference(record.depends_on, depends_on):
        raise CacheError(f"{path} is of {difference}")
    if record.tokens > room:
        raise CacheError(
            f"{path} holds {record.tokens:,} tokens, more than the context ({room:,})",
            hint="give it more room with --ctx",
        )
    memory, tokens, count = lib.llama_get_memory(context), (lib.llama_token * room)(), ctypes.c_size_t()
    with binding.collected_errors() as errors:
        done: int = lib.llama_state_seq_load_file(context, os.fsencode(path), 0, tokens, room, ctypes.byref(count))
    if done != end or lib.llama_memory_seq_pos_max(memory, 0) + 1 != record.tokens:
        lib.llama_memory_clear(memory, True)
        raise CacheError(f"{path} cannot be taken up: {_reason(errors, 'it is damaged')}")
    snapshots = [(length, (ctypes.c_uint8 * len(state)).from_buffer_copy(state)) for length, state in record.snapshots]
    return tokens[: record.tokens], snapshots


def _record(path: Path, file: BinaryIO) -> tuple[Record, int]:
    """Give the record, and the length of llama.cpp's part, of a file that is whole."""
    try:
        file.seek(-_FOOT.size, os.SEEK_END)
        word, end, crc = _FOOT.unpack(file.read())
        size = file.tell()
        file.seek(0)
        if word != _WORD or crc != _crc(file, size - _CRC_BYTES):
            raise CacheError(f"{path} is damaged")
        file.seek(end)
        return msgspec.msgpack.decode(file.read(size - _FOOT.size - end), type=Record), end
    except (OSError, msgspec.MsgspecError) as error:
        raise CacheError(f"{path} is damaged") from error


def _crc(file: BinaryIO, size: int) -> int:
    """Compute the CRC-32 of the next `size` bytes."""
    found = 0
    while size and (block := file.read(min(size, _BLOCK))):
        found, size = zlib.crc32(block, found), size - len(block)
    return found


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Say what a state is of, where it is not of what is wanted."""
    names = [name for name in wanted if found.get(name) != wanted[name]]
    if "model" in names:
        return "another model"
    if "written" in names:
        return "the model's file as it was before somebody wrote to it"
    return ", ".join(f"{name} {found.get(name)}, not {wanted[name]}" for name in names)


def _reason(errors: Sequence[str], otherwise: str) -> str:
    """Give what llama.cpp said first, without the names of its functions."""
    return errors[0].rpartition(": ")[2] if errors else otherwise
