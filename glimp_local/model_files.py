"""Where a model's GGUF is on this machine: at a path, or in Hugging Face's own cache.

Never touches the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glimp_local.config import ModelSource
from glimp_local.errors import ModelMissingError
from glimp_local.routing import Model


def find_all(sources: Mapping[Model, ModelSource]) -> dict[Model, Path]:
    """Give the paths of several models; what is missing is said together, with the commands that download it."""
    found, missing = {}, []
    for model, source in sources.items():
        try:
            found[model] = find(source)
        except ModelMissingError as error:
            missing.append(error)
    if missing:
        hints = [error.hint or "" for error in missing]
        raise ModelMissingError("; ".join(map(str, missing)), hint=" && ".join(dict.fromkeys(hints)))
    return found


def find(source: ModelSource) -> Path:
    """Give the path of a model's file.

    In the hub's cache the pinned revision is taken, else any other one in which the file has the listed size. Raises
    ModelMissingError with the command that downloads it.
    """
    if source.path is not None:
        path = Path(source.path).expanduser()
        if not path.exists():
            raise ModelMissingError(f"{path}: no such file", hint="check the path")
        return path
    assert source.repo is not None  # the catalogue holds no source without a path or a repository
    assert source.file is not None
    found = [path for path in _cached(source.repo, source.file) if _fits(path, source)]
    pinned = [path for path in found if source.revision in path.parts]
    if not found:
        raise ModelMissingError(
            f"{source.repo}/{source.file} ({_size(source)}) is not on this machine",
            hint=download_command(source),
        )
    return (pinned or found)[0]


def download_command(source: ModelSource) -> str:
    """Give the command that puts a model into the hub's cache."""
    revision = f" --revision {source.revision}" if source.revision else ""
    return f"hf download {source.repo} {source.file}{revision}"


def _cached(repo: str, file: str) -> list[Path]:
    from huggingface_hub import constants  # noqa: PLC0415 - not needed for a model given by its path

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    return sorted(snapshots.glob(f"*/{file}"))


def _fits(path: Path, source: ModelSource) -> bool:
    return source.revision in path.parts or source.size_bytes in (None, path.stat().st_size)


def _size(source: ModelSource) -> str:
    return f"{source.size_bytes / 1e9:.1f} GB" if source.size_bytes else "size not listed"
