"""A hub of our own with the built-in pair on it, and `glimp models` as scripts use it there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.commands import Result, invoke
from tests.support.hub_server import COMMIT, Content, Hub

BUILTIN = Path(__file__).parents[2] / "glimp_local" / "builtin"
REPO = "maker/tiny-GGUF"
SMALL, LARGE = f"{REPO}/tiny-Q8_0.gguf", f"{REPO}/tiny-Q4_K_M.gguf"

# Between tries the program waits for seconds: a test need not.
_QUICK = """
from glimp_local.models.hub import partial
partial.WAITS_SECONDS = (0.01,) * 5
from glimp_local.cli import main
main()
"""


def fill(hub: Hub) -> None:
    """Put the built-in pair on the hub."""
    hub.put(REPO, "tiny-Q8_0.gguf", Content((BUILTIN / "small.gguf").read_bytes()))
    hub.put(REPO, "tiny-Q4_K_M.gguf", Content((BUILTIN / "large.gguf").read_bytes()))


def pair(hub: Hub, name: str = "tiny", **changed: Any) -> str:
    """Write a pair of these files in TOML, pinned."""
    lines = [f"[pairs.{name}]", 'licence = "MIT"']
    for model, file in (("small", "tiny-Q8_0.gguf"), ("large", "tiny-Q4_K_M.gguf")):
        content = hub.files[REPO][file]
        keys = {
            "repo": REPO,
            "revision": COMMIT,
            "file": file,
            "size_bytes": content.size_bytes,
            "sha256": content.sha256,
        } | (changed if model == "large" else {})
        lines += [f"[pairs.{name}.{model}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def command(*arguments: str | Path) -> list[str]:
    """Give the command that does so in a process of its own."""
    return [sys.executable, "-c", _QUICK, "models", *map(str, arguments)]


def models(*arguments: str | Path, stdin: str = "", **environment: str) -> Result:
    """Run `glimp models` in this process."""
    waits = (0.01,) * 5
    with (
        patch("glimp_local.models.hub.partial.WAITS_SECONDS", waits),
        patch("glimp_local.models.hub.pull.WAITS_SECONDS", waits),
    ):
        return invoke("models", *arguments, stdin=stdin.encode(), **environment)


def cache(home: Path, repo: str = REPO) -> Path:
    """Give the folder that a repository has in the hub's cache."""
    return home / "hub" / "hub" / f"models--{repo.replace('/', '--')}"


def blobs(home: Path) -> Path:
    """Give the folder of the files' contents."""
    return cache(home) / "blobs"


def partials(home: Path, repo: str = REPO) -> list[Path]:
    """Give what is left of downloads that did not end."""
    return sorted((cache(home, repo) / "blobs").glob("*.incomplete"))


def link(home: Path, file: str = "tiny-Q8_0.gguf", commit: str = COMMIT) -> Path:
    """Give the path by which the cache names a file."""
    return blobs(home).parent / "snapshots" / commit / file


def listed(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    """Give what `glimp models list --json` says."""
    result = models("list", "--json", *arguments, **environment)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def the_pair(name: str = "tiny") -> dict[str, Any]:
    """Give what the list says of one pair."""
    (found,) = [pair for pair in listed()["pairs"] if pair["name"] == name]
    return dict(found)
