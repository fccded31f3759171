"""The KV caches of saved conversations, kept on the disk so that a long one goes on without a prefill.

They lie beside the conversation, in a folder of its name: one file for each small and each large model that took part.
All together they take no more than they are allowed: those used longest ago are given up first. What an engine's file
promises is in `engines/llama/states.py`. A folder is written by whoever holds the conversation's lock; only giving up
goes beyond it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from glimp_local import private, units
from glimp_local.errors import CacheError

if TYPE_CHECKING:
    from glimp_local.engines.protocol import KeepsState
    from glimp_local.routing import Model

_FOLDER = ".caches"
_FILE, _PARTIAL = ".state", ".partial"


def keep(conversation: Path, keepers: Mapping[Model, KeepsState], *, limit_bytes: float) -> None:
    """Write what the engines hold, in place of what was kept for them; older caches make room for it.

    `limit_bytes` is the most that all kept caches may take. Raises CacheError where what they hold takes more, which
    changes nothing, and where it cannot be written; then nothing half written is left, nor what was kept before (two of
    them may not fit).
    """
    wanted = sum(keeper.state_bytes for keeper in keepers.values())
    if wanted > limit_bytes:
        sizes = f"take {units.file_size(wanted)}, and {units.file_size(limit_bytes)} are allowed"
        what = f"the caches of this conversation {sizes}: they are not kept"
        raise CacheError(what, hint="allow more with --keep-caches")
    folder = conversation.with_suffix(_FOLDER)
    partial = folder / _PARTIAL
    try:
        for model, keeper in keepers.items():
            _file(folder, model, keeper).unlink(missing_ok=True)
        partial.unlink(missing_ok=True)  # of a process that was killed
        _give_up(conversation.parent, limit_bytes - wanted)
        private.make_folder(folder)
        for model, keeper in keepers.items():
            private.make_file(partial)
            keeper.save_state(partial)
            partial.replace(_file(folder, model, keeper))
    except OSError as error:
        raise CacheError(f"the caches cannot be kept in {folder}: {error.strerror}") from error
    finally:
        sweep(conversation)


def take_up(conversation: Path, model: Model, keeper: KeepsState) -> int:
    """Let an engine hold what was kept for it as this model; return how many tokens, 0 where nothing was kept.

    Raises CacheError where it cannot be used; then the engine holds nothing.
    """
    try:
        folder = conversation.with_suffix(_FOLDER)
        if not folder.is_dir():
            return 0
        file = _file(folder, model, keeper)
        former = folder / f"{model}-{keeper.former_identity[:16]}{_FILE}"
        if not file.exists() and former.exists():
            former.rename(file)
        tokens = keeper.load_state(file)
        os.utime(file)
    except FileNotFoundError:
        return 0
    except (CacheError, OSError) as error:
        hint = error.hint if isinstance(error, CacheError) else None
        raise CacheError(f"the {model} model has to read the conversation again: {error}", hint=hint) from error
    return tokens


def sweep(conversation: Path) -> None:
    """Remove what is half written of a conversation's caches."""
    with suppress(OSError):
        (conversation.with_suffix(_FOLDER) / _PARTIAL).unlink()


def kept_bytes(conversation: Path) -> int:
    """Give what the kept caches of a conversation take."""
    return sum(size for _, size in _files(conversation.with_suffix(_FOLDER)))


def remove(conversation: Path) -> None:
    """Remove the kept caches of a conversation."""
    folder = conversation.with_suffix(_FOLDER)
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _file(folder: Path, model: Model, keeper: KeepsState) -> Path:
    return folder / f"{model}-{keeper.identity[-16:]}{_FILE}"


def _files(folder: Path) -> list[tuple[float, int]]:
    """Give time of use and size of what is in a folder; nothing where it is gone."""
    try:
        return [(about.st_mtime, about.st_size) for file in os.scandir(folder) if (about := file.stat())]
    except OSError:
        return []


def _give_up(conversations: Path, limit_bytes: float) -> None:
    """Remove the caches of whole conversations, the one used longest ago first, until the others take no more."""
    # What a link leads to is somebody else's.
    folders = (folder for folder in conversations.glob("*" + _FOLDER) if not folder.is_symlink())
    kept = {folder: files for folder in folders if (files := _files(folder))}
    taken = sum(size for files in kept.values() for _, size in files)
    for folder, files in sorted(kept.items(), key=lambda item: max(item[1])):
        if taken <= limit_bytes:
            return
        shutil.rmtree(folder)
        taken -= sum(size for _, size in files)
