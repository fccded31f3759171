"""A text that can be shown to strangers: without the home folder, names, addresses and secrets in it."""

from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path
from typing import Any

_NOBODYS = r"(?:shared|public|default)(?:[\\/\s]|$)"
_WORD = r"[^\s\\/:;,'\"`()<>|]+"
_NAME = rf"(?:{_WORD}(?: {_WORD}){{0,3}}(?=[\\/])|{_WORD})"
"""Several words are one name where the path goes on behind them."""
_SECRETS = (
    # Home folders of others.
    (re.compile(rf"([\\/](?:home|users)[\\/]+)(?!{_NOBODYS}){_NAME}", re.IGNORECASE), r"\1<name>"),
    (re.compile(r"(?<![\w/\\.~-])~[^\W\d][\w.-]*"), "~<name>"),
    # Name and password of a proxy, say; there may be a slash in it, or an @.
    (re.compile(r"\w+://[^\s/:@]*(?::\S*)?@"), "…@"),
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "<e-mail>"),
    (re.compile(r"\b(hf|api|sk|ghp|gho|github_pat)[_-][\w-]{16,}"), "<token>"),
)


def without_names(value: Any) -> Any:
    """Take names, addresses and secrets out of every text in a value of lists, dictionaries and plain values."""
    return _cleaned(value, _home_folders(), _names())


def _cleaned(value: Any, homes: list[str], names: list[str]) -> Any:
    if isinstance(value, dict):
        return {_cleaned(key, homes, names): _cleaned(inner, homes, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, homes, names) for inner in value]
    if not isinstance(value, str):
        return value
    for home in homes:
        value = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", value)
    for name in names:  # as a folder only: a name may be a word, too
        value = re.sub(rf"(?<=[/\\]){re.escape(name)}(?=[/\\\s:]|$)", "<name>", value)
    for secret, instead in _SECRETS:
        value = secret.sub(instead, value)
    return value


def _home_folders() -> list[str]:
    """Give the home folder as it is called and as it is reached; the longest first."""
    try:
        home = Path.home()
    except RuntimeError:
        return []
    return sorted({str(path) for path in (home, home.resolve()) if path != Path(path.anchor)}, key=len, reverse=True)


def _names() -> list[str]:
    """Give the names of the user and of this machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # an unknown user id, on each system in its own way
        user = ""
    return [name for name in (user, platform.node()) if name]
