"""Data sets of the hub: which ones are known, and how their files are read."""

from __future__ import annotations

import csv
import io
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from glimp_local import units
from glimp_local.bench.choices import shuffled
from glimp_local.errors import GlimpError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.models.hub.datasets import page, snapshot


class DataSet(msgspec.Struct, frozen=True):
    """A data set of the hub."""

    repo: str
    pattern: str
    """Of the files with the problems, as the hub matches them: `*` goes through folders, too."""
    problems: int
    licence: str
    is_gated: bool = False
    """Does the hub give it only to accounts that have accepted its terms?"""


DATA_SETS = {
    "gsm8k": DataSet("openai/gsm8k", "main/test*.parquet", 1319, "MIT"),
    "math500": DataSet("HuggingFaceH4/MATH-500", "test*.jsonl", 500, "MIT, as MATH"),
    "aime24": DataSet("HuggingFaceH4/aime_2024", "data/train*.parquet", 30, "not stated; problems by the MAA"),
    "aime25": DataSet("math-ai/aime25", "*test*.jsonl", 30, "Apache-2.0; problems by the MAA"),
    "gpqa-diamond": DataSet("Idavidrein/gpqa", "gpqa_diamond.csv", 198, "CC BY 4.0", is_gated=True),
}
MOST_BYTES = 100_000_000
"""Of a file of problems, all of which are in memory at once: ten times the largest data set above."""
_TOO_MANY = "split the file, or take --limit problems of it: head -n 1000 FILE"
_BATCH_ROWS = 1000
_COLUMNS = ("problem", "question", "choices", "answer", "id", "unique_id")
_GPQA = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
"""The columns of GPQA's files, in which the right choice always comes first."""


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

    A Parquet or CSV file gives the columns that a problem is made of; the choices of GPQA's files are shuffled, always
    in the same way. Raises UsageError for more than `MOST_BYTES`.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    content = read_limited(path, MOST_BYTES, str(path), hint=_TOO_MANY)
    return _csv(path, content) if path.suffix == ".csv" else content.split(b"\n")


def _csv(path: Path, content: bytes) -> list[bytes]:
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        found = [b""]  # the head: a row's number is the one that a spreadsheet shows
        for row in table:
            kept: dict[str, object] = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
            if all(isinstance(row.get(name), str) for name in _GPQA):
                question, right, *wrong = (row[name].strip() for name in _GPQA)
                choices = shuffled(question, [right, *wrong])
                kept |= {"question": question, "choices": choices, "answer": right, "id": row.get("Record ID")}
            found.append(msgspec.json.encode(kept))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: this is not UTF-8", hint="save the file as UTF-8") from error
    except csv.Error as error:
        raise UsageError(f"{path}: this is not a CSV file that can be read: {error}") from error
    return found


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
                    raise UsageError(
                        f"{path} holds more than {units.file_size(MOST_BYTES)} of problems", hint=_TOO_MANY
                    )
            return found
    except ArrowException as error:
        raise UsageError(f"{path}: this is not a Parquet file that can be read: {error}") from error


def _missing(name: str, data_set: DataSet) -> UsageError:
    terms = f", if the terms at {page(data_set.repo)} are accepted with the account of your token"
    return UsageError(
        f"{name} ({data_set.repo}, {data_set.problems:,} problems, licence: {data_set.licence}) is not on this machine",
        hint=f"--download fetches it{terms if data_set.is_gated else ''}",
    )
