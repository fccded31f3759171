"""Where glimp's files are. None of them need exist."""

from __future__ import annotations

from pathlib import Path

import msgspec

from glimp_local.models.hub import cache
from glimp_local.paths import data_folder, packaged_file, user_file


class Places(msgspec.Struct, frozen=True):
    """Files and folders, as absolute paths."""

    models_file: Path
    """The user's models.toml, or the one that --models or GLIMP_MODELS names in its place."""
    packaged_models_file: Path
    """The models.toml it lies over."""
    data_folder: Path
    """Conversations and entropies."""
    hub_cache: Path
    """Where huggingface-hub keeps the models it downloads."""


def places(models_file: Path | None = None) -> Places:
    """Give all places; `models_file` is a models.toml in place of the user's own."""
    return Places(
        models_file=(models_file or user_file()).absolute(),
        packaged_models_file=packaged_file(),
        data_folder=data_folder(),
        hub_cache=cache.root().absolute(),
    )
