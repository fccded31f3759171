"""Data sets of the hub: which ones are known, where they lie in its cache, how their files are read.

Touches the network only when it is told to download.
"""

from __future__ import annotations

import errno
import json
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from glimp_local import units
from glimp_local.errors import GlimpError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.models.hub import cache as hub_cache


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
_NO_LISTING = (AttributeError, KeyError, TypeError, RecursionError, json.JSONDecodeError)
"""What the client raises for an answer of another shape."""
_COLUMNS = ("problem", "question", "answer", "id", "unique_id")


def find(name: str, *, download: bool) -> list[Path]:
    """Give the files of a data set, in order; with `download`, fetch what is missing or newer.

    Raises UsageError where it is not on this machine and may not be fetched; GlimpError where fetching fails.
    """
    data_set = DATA_SETS[name]
    folder = _snapshot(name, data_set, download=download)
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
                    raise UsageError(
                        f"{path} holds more than {units.file_size(MOST_BYTES)} of problems", hint=_TOO_MANY
                    )
            return found
    except ArrowException as error:
        raise UsageError(f"{path}: this is not a Parquet file that can be read: {error}") from error


def _snapshot(name: str, data_set: DataSet, *, download: bool) -> Path:
    hub_cache.settings()  # raises UsageError where the library could not be loaded
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415 - not needed for a file

    constants.HF_HUB_DISABLE_TELEMETRY = True  # nothing but the data set is asked for
    try:
        folder = snapshot_download(
            data_set.repo, repo_type="dataset", allow_patterns=data_set.pattern, local_files_only=not download
        )
    except errors.LocalEntryNotFoundError as error:
        if not download:
            raise _missing(name, data_set) from error
        if constants.HF_HUB_OFFLINE:
            raise UsageError(
                f"{data_set.repo} is to be downloaded, but HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE"
            ) from error
        cause = error.__cause__
        raise _failed(data_set, cause if isinstance(cause, Exception) else error) from error
    except Exception as error:  # those of the client's HTTP library, too, and which one that is depends on its version
        raise _failed(data_set, error) from error
    return Path(folder)


def _missing(name: str, data_set: DataSet) -> UsageError:
    return UsageError(
        f"{name} ({data_set.repo}, {data_set.problems:,} problems, licence: {data_set.licence}) is not on this machine",
        hint="--download fetches it",
    )


def _failed(data_set: DataSet, error: Exception) -> GlimpError:
    from huggingface_hub import errors  # noqa: PLC0415 - as above

    repo = data_set.repo
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.GatedRepoError) or status in {401, 403}:
        return GlimpError(
            f"the hub gives {repo} only to who is logged in and was granted access ({status})",
            hint="hf auth login",
        )
    if status == 404:  # noqa: PLR2004 - known by its number
        return GlimpError(f"the hub has no data set {repo} (any more), or not all of its files (404)")
    if isinstance(error, OSError) and (error.errno == errno.ENOSPC or error.filename is not None):
        where = f"{error.filename}: " if error.filename is not None else ""
        return GlimpError(
            f"{repo} could not be kept: {where}{(error.strerror or str(error)).lower()}",
            hint="make room, or set HF_HOME to a folder that can be written",
        )
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, _NO_LISTING):
        said = "what the hub answers is no list of files"
    return GlimpError(
        f"{repo} could not be downloaded: {said if status is None else f'the hub answers {status}'}",
        hint="check the connection, and give the same command again",
    )
