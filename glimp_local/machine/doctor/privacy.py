"""A text that can be shown to strangers: without the home folder, other folders, names, addresses and secrets in it.

Of a server only the port is kept: `<server>:8000`.
Of a path outside the home folder and the system's own folders only the beginning is kept, and a file's name:
`/mnt/…/model.gguf` still says on which disk a file lies, and what it is.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_SYSTEM = {
    "usr",
    "lib",
    "lib64",
    "bin",
    "sbin",
    "etc",
    "proc",
    "sys",
    "dev",
    "nix",
    "snap",
    "boot",
    "system",
    "library",
}
_SYSTEM |= {"windows", "program files", "program files (x86)", "applications"}
"""The first folder of paths that say nothing of a user."""
_HOMES = {"home", "users"}
_NOBODYS = {"shared", "public", "default"}
"""Beside homes, and nobody's."""
_WORDS = """
    admin administrator ai app build cache ci config container data debian default desktop dev developer disk docker
    download downloads fedora gguf git github glimp gpu guest home hub huggingface jenkins laptop lib llama llm local
    localhost mac main model models nobody nvidia opt oracle owner pi private public python qwen raspberrypi rich root
    runner server service share shared snapshots src system test tester tmp ubuntu user username users var vagrant
    windows work worker workspace www
"""
_COMMON = frozenset(_WORDS.split())
"""Names of accounts and machines that are words of paths, too, and tell nobody from anybody else."""
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
"""Hosts that say nothing of a user."""
_SHORTEST_NAME = 3
"""One of fewer letters is a part of too much (n/a, q4)."""

_WORD = r"[^\s\\/:;,'\"`()<>|…]+"
_FOLDER = rf"{_WORD}(?: {_WORD}){{0,3}}(?=[\\/])"
"""Several words are one name where the path continues behind them."""
_BELOW = rf"(?:[\\/]+{_FOLDER})*(?:[\\/]+{_WORD})?"
_ROOT = r"[A-Za-z]:[\\/]+|\\\\|(?<!:)//(?!/)|/(?!/)"
_IN_URL = r"(?:(?<=file://)|(?<=file://localhost))/(?!/|[A-Za-z]:)|(?<=file:///)[A-Za-z]:/+"
_PATH = re.compile(rf"(?:(?<![\w~.…\\/>-])(?:{_ROOT})|{_IN_URL})(?:{_FOLDER}[\\/]+)*(?:{_WORD})?")
# Each begins where a word begins only: or a long word would be read again from each of its letters.
_IN_PATHS = re.compile(r"(?<![^\s'\"`()<>|,;])[^\s'\"`()<>|,;]*[\\/][^\s'\"`()<>|,;]*")
_SECRETS = (
    (re.compile(r"(?<![\w/\\.~-])~[^\W\d][\w.-]*"), "~<name>"),
    # Name and password of a proxy, say; there may be a slash in it, or an @.
    (re.compile(r"\b\w+://[^\s/:@]*(?::\S{0,300})?@"), "…@"),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(\.[\w-]+)+"), "<e-mail>"),
    (re.compile(r"\b(hf|api|sk|ghp|gho|github_pat)[_-][\w-]{16,}"), "<token>"),
)


def without_names(value: Any, paths: Iterable[str] = (), hosts: Iterable[str] = ()) -> Any:
    """Take folders, names, addresses and secrets out of every text in a value of lists, dictionaries and plain values.

    `paths` are some that are known to stand in it: what a folder is called may look like the end of a path. `hosts` are
    the machines of servers that are known to.
    """
    return _cleaned(value, _cleaner(_home_folders(), _names(), _with_parents(paths), _host_patterns(hosts)))


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {_cleaned(key, clean): _cleaned(inner, clean) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, clean) for inner in value]
    return clean(value) if isinstance(value, str) else value


def _host_patterns(hosts: Iterable[str]) -> list[re.Pattern[str]]:
    """Return what finds servers' machines; one whose name is a plain word only where it stands for a machine."""
    found = []
    for host in sorted(hosts, key=len, reverse=True):
        if host.lower() in _THIS_MACHINE:
            continue
        name = rf"\[?(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)\]?"
        is_word = not re.search(r"[.:]", host)
        found.append(re.compile(rf"(?<=//){name}|{name}(?=:\d|')" if is_word else name, re.IGNORECASE))
    return found


def _cleaner(
    homes: list[str], names: list[str], paths: list[str], hosts: list[re.Pattern[str]]
) -> Callable[[str], str]:
    # A word of a name alone: jane is in jane-private and Jane.old, and not in janet.
    inside = [re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W\d_])", re.IGNORECASE) for name in names]
    # With the blanks that may be in it.
    whole = [re.compile(rf"(?<=[/\\]){re.escape(name)}(?=[/\\\s:]|$)", re.IGNORECASE) for name in names]

    def without(match: re.Match[str]) -> str:
        text = match[0]
        for name in inside:
            text = name.sub("<name>", text)
        return text

    def clean(text: str) -> str:
        for host in hosts:
            text = host.sub("<server>", text)
        for home in homes:
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
        for path in paths:
            text = re.sub(rf"{re.escape(path)}(?![\w.-]){_BELOW}", lambda match: _shortened(match[0]), text)
        text = _PATH.sub(lambda match: _shortened(match[0]), text)
        for secret, instead in _SECRETS:
            text = secret.sub(instead, text)
        for name in whole:
            text = name.sub("<name>", text)
        return _IN_PATHS.sub(without, text)

    return clean


def _shortened(path: str) -> str:
    """Keep the beginning of a path, and a file's name."""
    found = re.match(_ROOT, path)
    if found is None:
        return path
    root, separator = found[0], found[0][-1]
    *folders, last = re.split(r"[\\/]+", path[found.end() :])
    whole = [*folders, last]
    if whole[0].lower() in _SYSTEM:
        return path
    if (root == "\\\\" or ":" in root) and whole[0].lower() not in _HOMES:
        kept = []  # a machine's name; or the drive says enough
    elif "home" in whole[:2]:  # /var/home, too
        kept = whole[: whole.index("home") + 1]
    else:
        kept = whole[:1]
    inner = whole[len(kept) :]
    if inner and inner[0] and kept and kept[-1].lower() in _HOMES:
        kept.append(inner[0] if inner[0].lower() in _NOBODYS else "<name>")
        inner = inner[1:]
    if not inner:
        return root + separator.join(kept)
    is_file = "." in last.strip(".")
    hidden = inner[:-1] if is_file or not last else inner
    return root + separator.join([*kept, *(["…"] if hidden else []), *([last] if is_file or not last else [])])


def _with_parents(paths: Iterable[str]) -> list[str]:
    """Give paths with the folders that they are in; the longest first."""
    found = {str(each) for path in paths for each in (Path(path), *Path(path).parents)}
    return sorted((path for path in found if not re.fullmatch(_ROOT, path)), key=len, reverse=True)


def _home_folders() -> list[str]:
    """Give the home folder as it is called and as it is reached; the longest first."""
    try:
        home = Path.home()
    except RuntimeError:
        return []
    return sorted({str(path) for path in (home, home.resolve()) if path != Path(path.anchor)}, key=len, reverse=True)


def _names() -> list[str]:
    """Give the names of the user, also of the one who became root, and of this machine; but not those of anybody."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # an unknown user id, on each system in its own way
        user = ""
    home = next((Path(folder).name for folder in _home_folders()), "")
    machine = platform.node()
    found = dict.fromkeys((user, os.environ.get("SUDO_USER", ""), home, machine, machine.partition(".")[0]))
    return sorted(
        (name for name in found if len(name) >= _SHORTEST_NAME and name.lower() not in _COMMON), key=len, reverse=True
    )
