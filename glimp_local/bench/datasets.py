"""Data sets of the hub: which ones are known, and how their files are read."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from rich.filesize import decimal

from glimp_local.errors import GlimpError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.models.hub.datasets import snapshot


class DataSet(msgspec.Struct, frozen=True):
    """A data set of the hub."""

    repo: str
    pattern: str
    """Of the files with the problems, as the hub matches them: `*` goes through folders, too."""
    problems: int
    licence: str


DATA_SETS = {
    "gsm8k": DataSet("openai/gsm8k", "main/test*.parquet", 1319, "MIT"),
    "math500": DataSet("HuggingFaceH4/MATH-500", "test*.jsonl", 500, "MIT, as MATH"),
    "aime24": DataSet("HuggingFaceH4/aime_2024", "data/train*.parquet", 30, "not stated; problems by the MAA"),
    "aime25": DataSet("math-ai/aime25", "*test*.jsonl", 30, "Apache-2.0; problems by the MAA"),
}
MOST_BYTES = 100_000_000
"""Of a file of problems, all of which are in memory at once: ten times the largest data set above."""
_TOO_MANY = "split the file, or take --limit problems of it: head -n 1000 FILE"
_BATCH_ROWS = 1000
_COLUMNS = ("problem", "question", "answer", "id", "unique_id")


def find(name: str, *, download: bool) -> list[Path]:
    """Give the files of a data set, in order; with `download`, fetch what is missing or newer.

    Raises UsageError where it is not on this machine and may not be fetched; GlimpError where fetching fails.
    """
    data_set = DATA_SETS[name]
    folder = snapshot(data_set.repo, data_set.pattern, download=download)
    if folder is None:
        raise _missing(name, data_set)
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and fnmatchcase(path.relative_to(folder).as_posix(), data_set.pattern)
    ]
    if not paths and download:
        raise GlimpError(f"{data_set.repo} holds no file {data_set.pattern} (any more)")
    if not paths:
        raise _missing(name, data_set)
    return paths


def rows(path: Path) -> list[bytes]:
    """Read a file's rows as JSON, without the ends of lines; raises OSError where it cannot be read.

    A Parquet file gives the columns that a problem is made of. Raises UsageError for more than `MOST_BYTES`.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    return read_limited(path, MOST_BYTES, str(path), hint=_TOO_MANY).split(b"\n")


def _parquet(path: Path) -> list[bytes]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - heavy, and not installed by default
    except ImportError as error:
        raise GlimpError(
            f"{path.name} is a Parquet file, and pyarrow is not installed", hint="pip install 'glimp-local[bench]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in _COLUMNS]
            found, size_bytes = [], 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    found.append(msgspec.json.encode(row))
                    size_bytes += len(found[-1])
                # Compressed, a row that comes over and over again takes no room in the file.
                if size_bytes > MOST_BYTES:
                    raise UsageError(f"{path} holds more than {decimal(MOST_BYTES)} of problems", hint=_TOO_MANY)
            return found
    except ArrowException as error:
        raise UsageError(f"{path}: this is not a Parquet file that can be read: {error}") from error


def _missing(name: str, data_set: DataSet) -> UsageError:
    return UsageError(
        f"{name} ({data_set.repo}, {data_set.problems:,} problems, licence: {data_set.licence}) is not on this machine",
        hint="--download fetches it",
    )
