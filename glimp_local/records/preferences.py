"""What the chat remembers from one run to the next about how it looks: one small file in the data folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from glimp_local import private
from glimp_local.errors import ConfigError
from glimp_local.paths import data_folder
from glimp_local.records import lines

_HINT = "theme and panel begin as they are without it; the next change writes it again"


class Preferences(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the chat looks. What a later version added is ignored."""

    theme: str | None = None
    """A name of Textual's; None for the default."""
    panel: bool = True
    """Is the side panel shown?"""


def file() -> Path:
    """Return the path of the file; it need not exist."""
    return data_folder() / "chat.json"


def read() -> Preferences:
    """Return what is remembered; raises ConfigError for a file that cannot be read."""
    path = file()
    try:
        with lines.open_file(path) as stream:
            return msgspec.json.decode(stream.read(), type=Preferences)
    except FileNotFoundError:
        return Preferences()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    except (lines.NoFileError, ValueError, RecursionError) as error:  # a bad byte, or a nest of brackets
        raise ConfigError(f"{path} cannot be read: {error}", hint=_HINT) from error


def keep(preferences: Preferences) -> None:
    """Remember; raises OSError if the file cannot be written, and it is as it was then."""
    private.write_whole(file(), msgspec.json.encode(preferences) + b"\n")
