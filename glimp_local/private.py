"""Folders and files that are nobody's business but their owner's: 0700 and 0600, whatever the umask.

On Windows a user's data folder is private by itself, and nothing is changed there.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from glimp_local.paths import data_folder

_POSIX = os.name == "posix"
_OTHERS = 0o077


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into, and close those of glimp's data folder above it, too.

    Folders that are there already lose what they allow others. Raises OSError.
    """
    ours = data_folder()
    chain = [folder, *(above for above in folder.parents if above == ours or above.is_relative_to(ours))]
    chain[-1].parent.mkdir(parents=True, exist_ok=True)
    for each in reversed(chain):
        try:
            each.mkdir(0o700 if _POSIX else 0o777)
        except FileExistsError:
            if not each.is_dir():
                raise
            close_to_others(each)
        else:
            if _POSIX:
                with suppress(OSError):  # a disk that knows no owners
                    each.chmod(0o700)


def make_file(path: Path, *, new: bool = False) -> None:
    """Make an empty file that only its owner can read, or close one that is there; raises OSError.

    With `new`, one that is there is a FileExistsError.
    """
    flags = (
        os.O_WRONLY
        | os.O_CREAT
        | (os.O_EXCL if new else 0)
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_NONBLOCK", 0)
    )
    descriptor = os.open(path, flags, 0o600)
    try:
        if _POSIX:
            with suppress(OSError):  # a disk that knows no owners
                os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Put content into a file of ours at once, its folders made where they are not there.

    Raises OSError; then the file is as it was.
    """
    make_folder(path.parent)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        make_file(partial)
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def close_to_others(path: Path) -> None:
    """Take away what a file or folder of ours allows others; what a link points to is somebody else's."""
    if not _POSIX or (path.is_symlink() and path != data_folder()):
        return
    with suppress(OSError):
        mode = path.stat().st_mode & 0o7777
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
