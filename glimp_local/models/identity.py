"""What tells one model from all others, wherever its file is and whatever it is called.

The one key of what is kept about a model: its caches, the entropies it has shown, the runs of a bench.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glimp_local.models.gguf.header import part_paths

_PREFIX = "gguf-"
_HEAD_BYTES, _CHUNK_BYTES = 1 << 24, 1 << 20
"""What stands before the weights is shorter in every model we know: a vocabulary of 262,144 tokens takes half of it."""
_SAMPLES, _SAMPLE_BYTES = 256, 1 << 14


def identity(model: Path) -> str:
    """Return what tells a GGUF from others: `gguf-` and a hash of its size, its first 16 MiB and 256 samples of 16 KiB.

    Of a model in several files, all are looked at. At most 20 MiB of a file are read, so that 40 GB cost no more than
    4 GB; a file of up to 20 MiB is read as a whole. Name, place and time of change do not count: a copy has the same
    identity.

    What stands in front (architecture, vocabulary, chat template, names and types of the tensors) cannot change
    unnoticed, nor can weights that were quantised, trained or merged again: they differ nearly everywhere. A change of
    weights in place that leaves the size alone is seen if it spans 1/255 of the file, 160 MB of 40 GB. Something that
    must not survive a smaller one has to look at the time of change besides, as caches do. Raises OSError.
    """
    found = hashlib.sha256()
    for part in part_paths(model):
        with part.open("rb") as file:
            size = file.seek(0, 2)
            found.update(f"{size} ".encode())
            file.seek(0)
            for _ in range(_HEAD_BYTES // _CHUNK_BYTES):
                found.update(file.read(_CHUNK_BYTES))
            behind = size - _HEAD_BYTES
            if behind <= _SAMPLES * _SAMPLE_BYTES:
                found.update(file.read())
                continue
            for number in range(_SAMPLES):
                file.seek(_HEAD_BYTES + (behind - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                found.update(file.read(_SAMPLE_BYTES))
    return _PREFIX + found.hexdigest()


def former_identity(model: Path) -> str:
    """Return what an earlier glimp told a GGUF by: a hash of its size, its time of change and 256 samples of 16 KiB.

    Caches that were kept then are found by it. Raises OSError.
    """
    about = model.stat()
    found = hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode())
    with model.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, about.st_size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            found.update(file.read(_SAMPLE_BYTES))
    return found.hexdigest()


def is_of_before(found: object) -> bool:
    """Is it what an earlier glimp told model files apart by? Nobody can say whether it is of the same model."""
    return isinstance(found, str) and not found.startswith(_PREFIX)
