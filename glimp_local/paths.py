"""Where glimp's own files are. None but the package need exist."""

from __future__ import annotations

from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).parent
"""The package's folder, as installed or in a checkout."""
BUILTIN_FOLDER = PACKAGE / "builtin"
"""The folder of the built-in pair."""


def user_file() -> Path:
    """Return the path of the user's models.toml; it need not exist."""
    return platformdirs.user_config_path("glimp", appauthor=False) / "models.toml"


def packaged_file() -> Path:
    """Return the path of the packaged models.toml: inside the package when installed, above it in a checkout."""
    inside = PACKAGE / "models.toml"
    return inside if inside.exists() else PACKAGE.parent / "models.toml"


def data_folder() -> Path:
    """Return the folder of what glimp keeps for the user."""
    return platformdirs.user_data_path("glimp", appauthor=False)
